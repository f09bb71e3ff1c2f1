"""R2 against scikit-learn, on the whole and in resamples of subjects."""

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score

from cxrssl.stats.explained import _r2, score_r2
from cxrssl.stats.resample import draw_subject_counts, explain_marks


def test_r2_and_its_interval_equal_those_of_films_that_are_written_out() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 3)) * [1, 5, 0.2] + 7
    predicted = values + rng.normal(size=values.shape)
    subjects = np.repeat(np.arange(20), 3)
    score = score_r2(predicted, values, subjects, num_resamples=40, seed=3)
    assert score.value == pytest.approx(r2_score(values, predicted, multioutput="variance_weighted"))
    by_hand = []
    for counts in draw_subject_counts(subjects, 40, 3):
        rows = np.repeat(np.arange(60), counts)
        by_hand.append(r2_score(values[rows], predicted[rows], multioutput="variance_weighted"))
    lo, middle, hi = np.quantile(by_hand, [0.025, 0.5, 0.975])
    assert (score.lo, score.hi) == pytest.approx((lo + score.value - middle, hi + score.value - middle))
    assert (score.method, score.num_rarer) == ("centred percentile", 20)


def test_an_r2_that_percentiles_leave_out_lies_in_its_interval() -> None:
    rng = np.random.default_rng(1)
    record = rng.normal(size=(15, 5)) @ rng.normal(size=(5, 400))
    values = record + 9 * rng.normal(size=record.shape)
    score = score_r2(record, values, np.arange(15), num_resamples=200)
    resamples = _r2(np.square(values - record).sum(axis=1), values, draw_subject_counts(np.arange(15), 200, 0))
    assert score.value > resamples.max(), "which percentiles leave out"
    assert score.lo < score.value < score.hi


@pytest.mark.parametrize(("num_values", "few_below"), [(1, 30), (20, 150)])
def test_r2_is_marked_below_more_subjects_than_auroc(num_values: int, few_below: int) -> None:
    rng = np.random.default_rng(2)
    for num_subjects in (few_below - 1, few_below):
        values = rng.normal(size=(num_subjects, num_values))
        predicted = values + rng.normal(size=values.shape)
        score = score_r2(predicted, values, np.arange(num_subjects), num_resamples=50)
        assert score.mark == ("few" if num_subjects < few_below else "")
        assert score.to_text().endswith("*") is (num_subjects < few_below)
        assert score.to_dict()["few_below"] == few_below
    assert explain_marks([score]) == []
    few = score_r2(predicted[1:], values[1:], np.arange(few_below - 1), num_resamples=50)
    of = "a number" if num_values == 1 else "features"
    assert explain_marks([few]) == [
        f"*: fewer than {few_below} subjects behind an R2 of {of}; the interval is too narrow."
    ]


def test_a_mean_explains_nothing_and_a_bad_guess_less() -> None:
    values = np.arange(10.0)[:, None]
    assert score_r2(np.full((10, 1), 4.5), values, np.arange(10), num_resamples=10).value == 0
    assert score_r2(-values, values, np.arange(10), num_resamples=10).value < -1


def test_values_that_do_not_differ_have_no_r2() -> None:
    values = np.full((10, 1), 0.1)
    score = score_r2(values, values, np.arange(10), num_resamples=10)
    assert math.isnan(score.value)
    assert score.mark == "not defined"
