"""Thresholds against a list of all of them, decisions against counting, intervals against a loop over resamples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve

from cxrssl.core.errors import UsageError
from cxrssl.stats.resample import draw_subject_counts
from cxrssl.stats.thresholds import Rule, fit_threshold, has_enough, parse_rule, score_decisions


def draw_films(num: int = 240, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    subjects = rng.integers(0, num // 3, num)
    labels = rng.choice([1, 0, 0, -1], num)
    return np.round(rng.normal(size=num) + labels, 1), labels, subjects


def test_a_subject_counts_once_however_many_films_it_has() -> None:
    """Nine films of one subject at 0.9 would make 0.9 the threshold that finds 90 % of films; it finds half of two."""
    scores, labels = np.array([0.9] * 9 + [0.5, 0.6, 0.1]), np.array([1] * 9 + [1, 0, 0])
    subjects = np.array(["a"] * 9 + ["b", "c", "d"])
    assert fit_threshold(scores, labels, subjects, Rule("sens", 0.9)) == (0.5, 1.0, 0.5)
    assert fit_threshold(scores, labels, subjects, Rule("sens", 0.5)) == (0.9, 0.5, 1.0)
    assert fit_threshold(scores, labels, subjects, Rule("spec", 0.5)) == (0.5, 1.0, 0.5)


def test_a_specificity_that_no_score_reaches_calls_no_film_positive() -> None:
    scores, labels, subjects = np.array([0.0, 1.0, 2.0]), np.array([1, 1, 0]), np.arange(3)
    threshold, sens, spec = fit_threshold(scores, labels, subjects, Rule("spec", 0.9))
    assert (threshold > 2.0, sens, spec) == (True, 0.0, 1.0)


def test_with_a_subject_a_film_youden_is_the_best_point_of_scikit_learns_curve() -> None:
    scores, labels, _ = draw_films()
    threshold, sens, spec = fit_threshold(scores, labels, np.arange(len(scores)), parse_rule("youden"))
    fpr, tpr, _ = roc_curve(labels[labels >= 0], scores[labels >= 0], drop_intermediate=False)
    assert sens + spec - 1 == pytest.approx((tpr - fpr).max(), abs=1e-12)
    assert sens == pytest.approx((scores[labels == 1] >= threshold).mean(), abs=1e-12)
    assert spec == pytest.approx((scores[labels == 0] < threshold).mean(), abs=1e-12)


def test_of_equal_points_youden_takes_the_most_sensitive() -> None:
    scores, labels = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 1, 0, 1])
    assert fit_threshold(scores, labels, np.arange(4), Rule("youden")) == (1.0, 1.0, 0.5)


def test_decisions_are_counts_and_their_intervals_those_of_a_loop_over_the_same_resamples() -> None:
    scores, labels, subjects = draw_films()
    called = scores >= 0.5
    (found,) = score_decisions(called[:, None], labels[:, None], subjects, num_resamples=60, seed=3)
    scored = labels >= 0
    tn, fp, fn, tp = confusion_matrix(labels[scored], called[scored]).ravel()
    wanted = tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn)
    shown = found.sensitivity, found.specificity, found.ppv, found.npv
    assert [each.value for each in shown] == pytest.approx(wanted, abs=1e-12)
    assert (found.num_called, found.num_scored) == (tp + fp, scored.sum())
    samples = []
    for counts in draw_subject_counts(subjects, 60, 3):
        drawn = np.repeat(np.arange(len(labels)), counts)
        drawn = drawn[labels[drawn] >= 0]
        tn, fp, fn, tp = confusion_matrix(labels[drawn], called[drawn], labels=[0, 1]).ravel()
        samples.append((tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn)))
    for interval, column in zip(shown, np.array(samples).T, strict=True):
        assert (interval.lo, interval.hi) == pytest.approx(tuple(np.quantile(column, [0.025, 0.975])), abs=1e-12)


def test_what_rests_on_nobody_is_not_defined_and_on_few_is_marked() -> None:
    labels, subjects = np.array([[1], [1], [0], [0], [0]]), np.array(["a", "b", "c", "d", "e"])
    (nobody,) = score_decisions(np.zeros((5, 1), bool), labels, subjects, num_resamples=20)
    assert (nobody.ppv.mark, nobody.npv.mark, nobody.npv.value) == ("not defined", "few", 0.6)
    assert nobody.sensitivity.mark == "no interval"  # 0 in every resample


def test_too_few_subjects_are_too_few_however_many_films() -> None:
    labels = np.array([1] * 40 + [0] * 40)
    assert has_enough(labels, np.arange(80))
    assert not has_enough(labels, np.concatenate([np.repeat(np.arange(9), 5)[:40], np.arange(100, 140)]))


@pytest.mark.parametrize("text", ["", "sens", "sens=", "sens=1", "spec=0", "sens=nan", "youden=1", "f1", "sens=high"])
def test_another_rule_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="is no rule for a threshold"):
        parse_rule(text)


def test_a_rule_has_one_name() -> None:
    assert [parse_rule(text).name for text in (" youden", "sens=0.90", "spec=.95")] == [
        "youden",
        "sens=0.9",
        "spec=0.95",
    ]
    assert math.isclose(parse_rule("spec=.95").at_least, 0.95)
