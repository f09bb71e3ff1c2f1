"""R2 against scikit-learn, on the whole and in resamples of subjects."""

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score

from cxrssl.stats.explained import score_r2
from cxrssl.stats.resample import draw_subject_counts


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
    assert (score.lo, score.hi) == pytest.approx(tuple(np.quantile(by_hand, [0.025, 0.975])))
    assert score.num_rarer == 20


def test_a_mean_explains_nothing_and_a_bad_guess_less() -> None:
    values = np.arange(10.0)[:, None]
    assert score_r2(np.full((10, 1), 4.5), values, np.arange(10), num_resamples=10).value == 0
    assert score_r2(-values, values, np.arange(10), num_resamples=10).value < -1


def test_values_that_do_not_differ_have_no_r2() -> None:
    values = np.full((10, 1), 0.1)
    score = score_r2(values, values, np.arange(10), num_resamples=10)
    assert math.isnan(score.value)
    assert score.mark == "not defined"
