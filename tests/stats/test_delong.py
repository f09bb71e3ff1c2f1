"""Intervals from placement values: a published example, brute force, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxrssl.core.errors import DataError
from cxrssl.stats.delong import area_covariance, delong_difference, delong_interval
from cxrssl.stats.metrics import auroc
from cxrssl.stats.scores import compare_predictions, score_predictions

# Albumin, total protein, K-G score, and whether a patient with ovarian cancer and an obstructed bowel gained from
# surgery: those 43 of the 49 patients of DeLong, DeLong & Clarke-Pearson 1988 of whom all is known, as in the manual of
# SAS/STAT, PROC LOGISTIC, "Comparing Receiver Operating Characteristic Curves", which models the event 0.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def ovarian() -> tuple[np.ndarray, np.ndarray]:
    """Scores of albumin, K-G and total protein, higher for the event; labels of the event."""
    table = np.array(OVARIAN.split(), float).reshape(-1, 4)
    return np.stack([-table[:, 0], table[:, 2], -table[:, 1]], axis=1), (table[:, 3] == 0).astype(np.int8)


def draw_films(seed: int, num_subjects: int = 40, max_films: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of two models with ties, labels 1, 0 and -1, subjects with films of all kinds."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(num_subjects), rng.integers(1, max_films + 1, num_subjects))
    labels = rng.integers(-1, 2, len(ids))
    common = labels + np.repeat(rng.normal(size=num_subjects), np.bincount(ids))
    return np.round(common[:, None] + rng.normal(size=(len(ids), 2)), 1), labels, rng.permutation(1000)[ids]


def naive_covariance(scores: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Obuchowski's covariance from a loop over all pairs of films, one subject after another."""
    pos, neg = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    people = sorted(set(ids[labels >= 0].tolist()))
    v, w = ({person: np.zeros(scores.shape[1]) for person in people} for _ in range(2))
    for model in range(scores.shape[1]):
        wins = {
            (i, j): 1.0 if scores[i, model] > scores[j, model] else 0.5 if scores[i, model] == scores[j, model] else 0.0
            for i in pos
            for j in neg
        }
        area = sum(wins.values()) / len(wins)
        for i in pos:
            v[ids[i]][model] += sum(wins[i, j] for j in neg) / len(neg) - area
        for j in neg:
            w[ids[j]][model] += sum(wins[i, j] for i in pos) / len(pos) - area
    num_with, num_without, num = len(set(ids[pos].tolist())), len(set(ids[neg].tolist())), len(people)
    total = np.zeros((scores.shape[1], scores.shape[1]))
    for person in people:
        total += np.outer(v[person], v[person]) * num_with / (num_with - 1) / len(pos) ** 2
        total += np.outer(w[person], w[person]) * num_without / (num_without - 1) / len(neg) ** 2
        both = np.outer(v[person], w[person])
        total += (both + both.T) * num / (num - 1) / (len(pos) * len(neg))
    return total


def test_the_published_example_comes_out_as_published() -> None:
    """Areas, their standard errors, the contrasts with K-G and the chi-square of both, as the manual prints them."""
    scores, labels = ovarian()
    areas, covariance = area_covariance(scores, labels, np.arange(43))
    assert areas.round(4).tolist() == [0.7366, 0.7258, 0.6478]
    assert np.sqrt(np.diag(covariance)).round(4).tolist() == [0.0927, 0.1028, 0.1000]
    contrasts = np.array([[1, -1, 0], [0, -1, 1]])
    estimates, of_contrasts = contrasts @ areas, contrasts @ covariance @ contrasts.T
    assert estimates.round(4).tolist() == [0.0108, -0.0780]
    assert np.sqrt(np.diag(of_contrasts)).round(4).tolist() == [0.0953, 0.1046]
    assert estimates @ np.linalg.solve(of_contrasts, estimates) == pytest.approx(2.5340, abs=5e-5)
    albumin = delong_interval(scores[:, 0], labels, np.arange(43))
    assert (albumin.lo, albumin.hi) == pytest.approx((0.5549, 0.9182), abs=1e-4)
    gap = delong_difference(scores[:, 0], scores[:, 1], labels, np.arange(43))
    assert (gap.value, gap.lo, gap.hi) == pytest.approx((0.0108, -0.1761, 0.1976), abs=1e-4)
    assert (gap.num_rarer, gap.num_resamples, gap.mark) == (12, 0, "")


@pytest.mark.parametrize("seed", range(5))
def test_fast_placements_equal_a_loop_over_pairs(seed: int) -> None:
    scores, labels, ids = draw_films(seed)
    areas, covariance = area_covariance(scores, labels, ids)
    np.testing.assert_allclose(covariance, naive_covariance(scores, labels, ids), rtol=0, atol=1e-12)
    assert areas.tolist() == pytest.approx([auroc(each, labels) for each in scores.T], abs=1e-12)


def test_with_one_film_a_subject_it_is_the_covariance_of_placement_values() -> None:
    scores, labels, _ = draw_films(9)
    pos, neg = scores[labels == 1], scores[labels == 0]
    wins = (pos[:, None] > neg) + 0.5 * (pos[:, None] == neg)
    expected = np.cov(wins.mean(axis=1).T) / len(pos) + np.cov(wins.mean(axis=0).T) / len(neg)
    _, covariance = area_covariance(scores, labels, np.arange(len(labels)))
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-12)


def test_order_of_films_and_those_not_scored_change_nothing() -> None:
    scores, labels, ids = draw_films(3)
    before = delong_difference(scores[:, 0], scores[:, 1], labels, ids)
    order = np.random.default_rng(0).permutation(len(labels))
    after = delong_difference(scores[order, 0], scores[order, 1], labels[order], ids[order])
    assert (after.value, after.lo) == pytest.approx((before.value, before.lo), abs=1e-12)
    kept = labels >= 0
    assert delong_difference(scores[kept, 0], scores[kept, 1], labels[kept], ids[kept]).hi == pytest.approx(
        before.hi, abs=1e-12
    )


def test_it_agrees_with_the_bootstrap_on_films_of_the_same_subjects() -> None:
    scores, labels, ids = draw_films(4, num_subjects=600)
    made = score_predictions(scores[:, :1], labels[:, None], ids, ["a"], num_resamples=1000).findings["a"].auroc
    checked = delong_interval(scores[:, 0], labels, ids)
    assert checked.value == pytest.approx(made.value, abs=1e-12)
    assert (checked.lo, checked.hi) == pytest.approx((made.lo, made.hi), abs=0.004)
    gap = compare_predictions(scores[:, :1], scores[:, 1:], labels[:, None], ids, ["a"], num_resamples=1000)
    difference = delong_difference(scores[:, 0], scores[:, 1], labels, ids)
    assert (difference.lo, difference.hi) == pytest.approx(
        (gap.findings["a"].auroc.lo, gap.findings["a"].auroc.hi), abs=0.004
    )


def test_films_of_one_person_that_are_alike_make_it_wider() -> None:
    ids = np.repeat(np.arange(100), 3)
    labels, scores = (ids < 40).astype(np.int8), np.random.default_rng(0).normal(size=100)[ids]
    clustered, apart = (delong_interval(scores, labels, each) for each in (ids, np.arange(300)))
    once = delong_interval(scores[::3], labels[::3], ids[::3])
    assert (clustered.lo, clustered.hi) == pytest.approx((once.lo, once.hi), abs=1e-12)
    assert clustered.hi - clustered.lo > 1.7 * (apart.hi - apart.lo)


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, -1]])
def test_one_class_is_not_defined(labels: list[int]) -> None:
    assert delong_interval([0.1, 0.2, 0.3], labels, np.arange(3)).mark == "not defined"


def test_one_subject_of_a_class_and_a_perfect_ranking_have_no_interval() -> None:
    alone = delong_interval([0.9, 0.8, 0.1, 0.2, 0.85], [1, 1, 0, 0, 0], np.array([7, 7, 1, 2, 3]))
    assert (alone.mark, alone.num_rarer) == ("no interval", 1)
    perfect = delong_interval([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0], np.arange(4))
    assert (perfect.value, perfect.mark) == (1.0, "no interval")
    assert math.isnan(delong_difference([1, 2, 3, 4], [1, 2, 3, 4], [0, 1, 0, 1], np.arange(4)).lo)


def test_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        delong_interval([0.1, math.nan], [0, 1], np.arange(2))
