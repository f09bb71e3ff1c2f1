"""Calibration against scikit-learn's unpenalised regression and isotonic map, and against planted answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from cxrssl.stats.calibration import Isotonic, fit_isotonic, fit_platt, is_off, score_calibration, sigmoid
from cxrssl.stats.resample import draw_subject_counts

NO_PENALTY = 1e12


def draw_films(shift: float = 0.0, factor: float = 1.0, num: int = 1200, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return log odds that are `shift` too high and `factor` too extreme, labels and subjects of two films each."""
    rng = np.random.default_rng(seed)
    true = rng.normal(-1, 1.2, num)
    labels = (rng.random(num) < sigmoid(true)).astype(int)
    return factor * true + shift, labels, np.arange(num) // 2


def fit_reference(logits: Any, labels: Any, weights: Any) -> tuple[float, float]:
    model = LogisticRegression(C=NO_PENALTY, tol=1e-12, max_iter=2000)
    model.fit(logits[:, None], labels, sample_weight=weights)
    return float(model.intercept_[0]), float(model.coef_[0, 0])


def test_slope_and_its_interval_are_those_of_a_loop_of_unpenalised_regressions() -> None:
    logits, labels, subjects = draw_films(0.7, 1.5, 300)
    found = score_calibration(logits, labels, subjects, num_resamples=20, seed=5)
    assert found.slope.value == pytest.approx(fit_reference(logits, labels, np.ones(300))[1], abs=1e-5)
    samples = [fit_reference(logits, labels, c.astype(float))[1] for c in draw_subject_counts(subjects, 20, 5)]
    lo, middle, hi = np.quantile(samples, [0.025, 0.5, 0.975])
    value = found.slope.value
    assert (found.slope.lo, found.slope.hi) == pytest.approx((lo + value - middle, hi + value - middle), abs=1e-4)


def test_the_intercept_makes_the_mean_probability_true_in_each_resample() -> None:
    logits, labels, subjects = draw_films(-0.9, 1.0, 300)
    found = score_calibration(logits, labels, subjects, num_resamples=25, seed=1)
    assert sigmoid(logits + found.intercept.value).mean() == pytest.approx(labels.mean(), abs=1e-9)
    samples = []
    for counts in draw_subject_counts(subjects, 25, 1).astype(float):
        low, high = -8.0, 8.0
        for _ in range(60):
            middle = (low + high) / 2
            is_low = (counts * (sigmoid(logits + middle) - labels)).sum() < 0
            low, high = (middle, high) if is_low else (low, middle)
        samples.append(low)
    assert (found.intercept.lo, found.intercept.hi) == pytest.approx(
        tuple(np.quantile(samples, [0.025, 0.975])), abs=1e-7
    )


def test_a_planted_miscalibration_is_found_and_true_scores_are_not_accused() -> None:
    true = score_calibration(*draw_films(num=4000), num_resamples=100)
    assert not is_off(true.intercept)
    assert not is_off(true.slope, 1.0)
    off = score_calibration(*draw_films(1.0, num=4000), num_resamples=100)
    assert off.intercept.value == pytest.approx(-1.0, abs=0.15)
    assert is_off(off.intercept)
    extreme = score_calibration(*draw_films(factor=2.0, num=4000), num_resamples=100)
    assert extreme.slope.value == pytest.approx(0.5, abs=0.05)
    assert is_off(extreme.slope, 1.0)
    assert off.brier.value > true.brier.value


def test_platt_repairs_scores_of_other_films() -> None:
    platt = fit_platt(*draw_films(1.0, 2.0, 4000, seed=1)[:2])
    assert platt is not None
    logits, labels, subjects = draw_films(1.0, 2.0, 4000, seed=2)
    repaired = platt.intercept + platt.slope * logits
    found = score_calibration(repaired, labels, subjects, num_resamples=100)
    assert not is_off(found.intercept)
    assert not is_off(found.slope, 1.0)
    assert platt.apply(logits) == pytest.approx(sigmoid(repaired), abs=1e-12)


def test_platt_is_finite_for_a_perfect_ranking_and_none_for_a_reversed_one() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    logits = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    platt = fit_platt(logits, labels)
    assert platt is not None
    assert 0 < platt.slope < 10
    assert fit_platt(-logits, labels) is None
    assert fit_platt(np.ones(6), labels) is None


def test_the_isotonic_map_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    logits = np.round(rng.normal(size=300), 1)
    labels = (rng.random(300) < sigmoid(logits)).astype(int)
    reference = IsotonicRegression(out_of_bounds="clip").fit(logits, labels)
    asked = np.linspace(-5, 5, 201)
    assert fit_isotonic(logits, labels).apply(asked) == pytest.approx(reference.predict(asked), abs=1e-9)
    assert fit_isotonic(np.array([1.0, 2.0]), np.array([1, 0])) == Isotonic((1.0, 2.0), (0.5, 0.5))


def test_films_without_a_label_have_no_part() -> None:
    logits, labels, subjects = draw_films(0.5, 1.0, 200)
    more = (
        np.concatenate([logits, [9.0] * 50]),
        np.concatenate([labels, [-1] * 50]),
        np.concatenate([subjects, subjects[:50]]),
    )
    few, many = (score_calibration(*each, num_resamples=10) for each in ((logits, labels, subjects), more))
    assert few == many
    assert fit_platt(logits, labels) == fit_platt(*more[:2])
    assert fit_isotonic(logits, labels) == fit_isotonic(*more[:2])


def test_a_perfect_ranking_has_no_slope_and_one_class_neither() -> None:
    subjects = np.arange(40)
    logits = np.linspace(-2, 2, 40)
    perfect = score_calibration(logits, (logits > 0).astype(int), subjects, num_resamples=10)
    assert perfect.slope.mark == "not defined"
    assert perfect.intercept.mark == ""
    one = score_calibration(logits, np.zeros(40, int), subjects, num_resamples=10)
    assert (one.intercept.mark, one.slope.mark, one.brier.mark) == ("not defined", "not defined", "no interval")


def test_bins_hold_all_films_once_equal_scores_together_and_their_shares_are_counts() -> None:
    logits, labels, subjects = draw_films(0.0, 1.0, 500)
    bins = score_calibration(logits, labels, subjects, num_resamples=50).bins
    assert [each.num_films for each in bins] == [50] * 10
    assert sum(each.num_pos for each in bins) == labels.sum()
    lowest = np.argsort(logits)[:50]
    assert bins[0].mean_score == pytest.approx(sigmoid(logits[lowest]).mean())
    assert bins[0].observed.value == pytest.approx(labels[lowest].mean())
    assert bins[0].num_pos_subjects == len(set(subjects[lowest][labels[lowest] == 1].tolist()))
    equal = score_calibration(np.zeros(500), labels, subjects, num_resamples=5).bins
    assert [each.num_films for each in equal] == [500]


def test_scores_of_a_map_by_steps_have_a_brier_score_and_no_slope() -> None:
    logits, labels, subjects = draw_films(1.0, 1.0, 400)
    probs = fit_isotonic(logits, labels).apply(logits)
    found = score_calibration(logits, labels, subjects, probs_N=probs, num_resamples=20)
    assert found.slope.mark == found.intercept.mark == "not defined"
    assert found.brier.value == pytest.approx(np.square(probs - labels).mean())


def test_scores_at_the_ends_of_what_is_written_are_finite() -> None:
    logits = np.array([-500.0, 500.0, 500.0, -500.0] * 10)
    found = score_calibration(logits, np.array([0, 1, 0, 1] * 10), np.arange(40), num_resamples=10)
    assert found.brier.value == pytest.approx(0.5)
