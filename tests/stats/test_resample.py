"""The bootstrap over subjects and its percentile intervals."""

import math

import numpy as np
import pytest

from cxrssl.core.errors import DataError
from cxrssl.stats.resample import Interval, draw_subject_counts, percentile_interval

SUBJECTS = np.array(["s3", "s1", "s1", "s2", "s3", "s1"])


def test_films_of_a_subject_are_drawn_together_and_as_many_subjects_as_there_are() -> None:
    counts = draw_subject_counts(SUBJECTS, 200, seed=0)
    assert counts.shape == (200, 6)
    assert counts.dtype == np.uint16
    for subject in ("s1", "s3"):
        films = counts[:, subject == SUBJECTS]
        assert (films == films[:, :1]).all()
    assert (counts[:, 0].astype(int) + counts[:, 1] + counts[:, 3] == 3).all()
    assert {0, 1, 2, 3} == set(counts[:, 3].tolist())
    assert counts[:, 3].mean() == pytest.approx(1.0, abs=0.2)


def test_draw_does_not_depend_on_the_order_of_films_or_the_number_of_resamples() -> None:
    order = np.random.default_rng(0).permutation(len(SUBJECTS))
    counts = draw_subject_counts(SUBJECTS, 50, seed=7)
    np.testing.assert_array_equal(counts[:, order], draw_subject_counts(SUBJECTS[order], 50, seed=7))
    np.testing.assert_array_equal(counts[:10], draw_subject_counts(SUBJECTS, 10, seed=7))
    np.testing.assert_array_equal(counts, draw_subject_counts(SUBJECTS.astype(object), 50, seed=7))
    assert (counts != draw_subject_counts(SUBJECTS, 50, seed=8)).any()


@pytest.mark.parametrize("subject_ids", [np.array([1.0, np.nan]), np.array(["a", None], dtype=object)])
def test_film_without_a_subject_is_refused(subject_ids: np.ndarray) -> None:
    with pytest.raises(DataError, match="1 of 2 films have no subject_id"):
        draw_subject_counts(subject_ids, 3, seed=0)


def test_percentile_interval_leaves_out_undefined_resamples_and_counts_the_others() -> None:
    samples = np.append(np.arange(101) / 100, [math.nan] * 9)
    interval = percentile_interval(0.5, samples, level=0.9)
    assert (interval.value, interval.num_defined) == (0.5, 101)
    assert (interval.lo, interval.hi) == pytest.approx((0.05, 0.95))
    assert interval.excludes_zero
    assert not percentile_interval(0.5, samples - 0.5).excludes_zero
    assert percentile_interval(-0.5, samples - 1.1).excludes_zero


def test_intervals_are_written_with_their_bounds_and_undefined_ones_in_words() -> None:
    assert Interval(0.7341, 0.7019, 0.7654, 10).to_text() == "0.734 [0.702, 0.765]"
    assert Interval(-0.01, -0.02, 0.01, 10).to_text(signed=True) == "-0.010 [-0.020, +0.010]"
    assert Interval(0.5, math.nan, math.nan, 0).to_text() == "0.500"
    assert Interval(math.nan, math.nan, math.nan, 0).to_text() == "not defined"


def test_interval_without_a_defined_resample_is_not_defined() -> None:
    interval = percentile_interval(math.nan, np.full(5, math.nan))
    assert interval.to_dict() == {"value": None, "lo": None, "hi": None, "num_defined": 0}
    assert not interval.excludes_zero
