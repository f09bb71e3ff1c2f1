"""The bootstrap over subjects and its percentile intervals."""

import math

import numpy as np
import pytest

from cxrssl.core.errors import DataError
from cxrssl.stats.resample import Interval, count_subjects, draw_subject_counts, percentile_interval

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
    interval = percentile_interval(0.5, samples, 30, level=0.9)
    assert (interval.value, interval.num_defined) == (0.5, 101)
    assert (interval.lo, interval.hi) == pytest.approx((0.05, 0.95))
    assert interval.excludes_zero
    assert (interval.num_resamples, interval.num_rarer, interval.mark) == (110, 30, "")
    assert not percentile_interval(0.5, samples - 0.5, 30).excludes_zero
    assert percentile_interval(-0.5, samples - 1.1, 30).excludes_zero


def test_intervals_are_written_with_their_bounds_and_undefined_ones_in_words() -> None:
    assert Interval(0.7341, 0.7019, 0.7654, 10).to_text() == "0.734 [0.702, 0.765]"
    assert Interval(-0.01, -0.02, 0.01, 10).to_text(signed=True) == "-0.010 [-0.020, +0.010]"
    assert Interval(-1e-17, -0.02, -1e-4, 10).to_text(signed=True) == "+0.000 [-0.020, -0.000]"
    assert Interval(0.5, math.nan, math.nan, 0).to_text() == "0.500 no interval"
    assert Interval(math.nan, math.nan, math.nan, 0).to_text() == "not defined"


def test_interval_without_a_defined_resample_is_not_defined() -> None:
    interval = percentile_interval(math.nan, np.full(5, math.nan), 0)
    values = {"value": None, "lo": None, "hi": None, "num_defined": 0, "num_resamples": 5, "num_rarer": 0}
    assert interval.to_dict() == {**values, "mark": "not defined"}
    assert not interval.excludes_zero


@pytest.mark.parametrize("num_rarer", [0, 1])
def test_below_two_subjects_of_a_class_there_is_no_interval(num_rarer: int) -> None:
    interval = percentile_interval(0.573, np.linspace(0.5, 0.6, 100), num_rarer)
    assert (interval.to_text(), interval.mark) == ("0.573 no interval", "no interval")
    assert not interval.excludes_zero
    assert (interval.to_dict()["lo"], interval.to_dict()["mark"]) == (None, "no interval")


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_resamples_that_do_not_differ_give_no_interval(value: float) -> None:
    samples = np.append(np.full(99, value), [math.nan])
    assert percentile_interval(value, samples, 50).to_text() == f"{value:.3f} no interval"


def test_few_subjects_and_resamples_in_which_it_is_not_defined_are_marked_at_the_number() -> None:
    samples = np.linspace(0, 1, 1000)
    samples[:373] = math.nan
    few = percentile_interval(0.7, samples, 9)
    assert few.to_text() == "0.700 [0.389, 0.984]* 627/1,000"
    assert few.to_text(signed=True) == "+0.700 [+0.389, +0.984]* 627/1,000"
    assert (few.mark, few.to_dict()["mark"]) == ("few", "few")
    enough = percentile_interval(0.7, samples, 10)
    assert (enough.to_text(), enough.mark) == ("0.700 [0.389, 0.984] 627/1,000", "")


def test_subjects_are_counted_by_class_and_one_may_be_in_both() -> None:
    labels = np.array([[1, -1], [1, 0], [0, 0], [0, 0], [-1, 1], [0, -1]])
    pos, neg = count_subjects(labels, SUBJECTS)
    assert (pos.tolist(), neg.tolist()) == ([2, 1], [2, 2])
    pos, neg = count_subjects(labels[:0], SUBJECTS[:0])
    assert (pos.tolist(), neg.tolist()) == ([0, 0], [0, 0])
