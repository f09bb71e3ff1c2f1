"""Folds: by patient, spread evenly, no film scored by a probe that saw its patient, a pooled ranking without bias."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from cxrssl.core.errors import DataError
from cxrssl.evaluate.folds import assign_folds, cross_fit
from cxrssl.evaluate.probe import fit_linear_probe, prevalence_logit
from cxrssl.stats.metrics import auroc
from cxrssl.stats.scores import resample_metrics

STRENGTHS = (0.01, 0.1, 1.0)


def draw_cohort(seed: int, num_subjects: int = 60, num_features: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features, labels, subjects) of one to three films a subject; the second finding is rare."""
    rng = np.random.default_rng(seed)
    subject_N = np.repeat(np.arange(num_subjects), rng.integers(1, 4, num_subjects))
    x = rng.normal(size=(len(subject_N), num_features))
    common = x[:, 0] + rng.logistic(size=len(x)) > 0
    rare = x[:, 1] + rng.logistic(size=len(x)) > 3
    return x, np.stack([common, rare], axis=1).astype(np.int8), subject_N


def test_folds_are_by_group_and_spread_films_and_rare_findings() -> None:
    _, labels, subjects = draw_cohort(0)
    folds = assign_folds(labels, subjects, 5, seed=0)
    assert all(len(set(folds[subjects == each])) == 1 for each in set(subjects))
    films, rare = np.bincount(folds), np.bincount(folds[labels[:, 1] == 1], minlength=5)
    assert films.max() - films.min() <= 6
    assert rare.max() - rare.min() <= 3
    assert rare.min() > 0
    assert np.array_equal(folds, assign_folds(labels, subjects, 5, seed=0))
    assert not np.array_equal(folds, assign_folds(labels, subjects, 5, seed=1))


def test_fewer_subjects_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match="5 folds need as many subjects, and there are 2"):
        assign_folds(np.zeros((4, 1), np.int8), np.array([0, 0, 1, 1]), 5, seed=0)


def test_each_fold_is_scored_by_the_probe_of_the_others_at_the_strength_that_the_others_choose() -> None:
    x, labels, subjects = draw_cohort(1)
    folds = assign_folds(labels, subjects, 3, seed=0)
    made = cross_fit(x, labels, folds, subjects, STRENGTHS)
    for k in range(3):
        means = []
        for strength in STRENGTHS:
            areas = np.empty((2, 2))
            for row, j in enumerate(each for each in range(3) if each != k):
                seen, val = (folds != k) & (folds != j), folds == j
                probe = fit_linear_probe(x[seen], labels[seen], x[val], labels[val], [strength])
                logits = probe.predict_logits(x[val])
                areas[row] = [auroc(logits[:, finding], labels[val, finding]) for finding in range(2)]
            means.append(areas.mean())
        strength = STRENGTHS[int(np.argmax(means))]
        assert made.strength_K[k] == strength
        seen = folds != k
        probe = fit_linear_probe(x[seen], labels[seen], x[:0], labels[:0], [strength])
        expected = probe.predict_logits(x[~seen]) - prevalence_logit(labels[seen])
        np.testing.assert_allclose(made.logits_NL[~seen], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(made.mean_KD[k], x[seen].mean(axis=0))
    assert made.is_judged_L.all()


def test_features_that_say_nothing_rank_at_one_half_however_unlike_the_folds_are() -> None:
    labels = np.array([[1]] * 30 + [[0]] * 10 + [[1]] * 5 + [[0]] * 35 + [[1]] * 20 + [[0]] * 20, np.int8)
    folds = np.repeat([0, 1, 2], 40)
    x = np.ones((120, 3))
    made = cross_fit(x, labels, folds, np.arange(120))
    assert auroc(made.logits_NL[:, 0], labels[:, 0]) == 0.5
    biased = made.logits_NL + np.array([prevalence_logit(labels[folds != k]) for k in range(3)])[folds]
    assert auroc(biased[:, 0], labels[:, 0]) < 0.3, "what the log odds of each fold would do to the pooled ranking"


def test_shuffled_labels_rank_at_one_half() -> None:
    areas = []
    for seed in range(12):
        x, labels, subjects = draw_cohort(seed, 80)
        labels = np.random.default_rng(seed).permutation(labels)
        folds = assign_folds(labels, subjects, 4, seed)
        logits = cross_fit(x, labels, folds, subjects, (0.1,)).logits_NL
        areas.append(auroc(logits[:, 0], labels[:, 0]))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.04)


def test_a_view_that_says_nothing_ranks_at_one_half_within_folds_and_below_it_over_all() -> None:
    within: list[float] = []
    over: list[float] = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        view, labels = rng.integers(0, 2, (120, 1)).astype(float), rng.integers(0, 2, (120, 1)).astype(np.int8)
        folds = assign_folds(labels, np.arange(120), 5, seed)
        logits = cross_fit(view, labels, folds, np.arange(120), (1.0,)).logits_NL
        for found, each in ((within, folds), (over, None)):
            values, _ = resample_metrics(logits, labels, np.arange(120), ["a"], num_resamples=10, fold_N=each)
            found.append(values[0, 1])
    assert np.mean(within) == pytest.approx(0.5, abs=0.02)
    assert np.mean(over) < 0.485


def test_a_finding_that_one_fold_leaves_without_a_positive_is_scored_nowhere() -> None:
    x, labels, subjects = draw_cohort(2)
    folds = assign_folds(labels, subjects, 3, seed=0)
    labels[:, 1] = (np.arange(len(labels)) == np.flatnonzero(folds == 1)[0]).astype(np.int8)
    made = cross_fit(x, labels, folds, subjects, STRENGTHS)
    assert made.is_fitted_L.tolist() == [True, False]
    assert (made.logits_NL[:, 1] == 0).all()


def test_the_scored_fold_has_no_part_in_its_probe_or_its_strength() -> None:
    x, labels, subjects = draw_cohort(3)
    folds = assign_folds(labels, subjects, 4, seed=0)
    clean = cross_fit(x, labels, folds, subjects, STRENGTHS)
    for k in range(4):
        spoiled, wrong = x.copy(), labels.copy()
        spoiled[folds == k] *= 1e3
        wrong[folds == k] = 1 - wrong[folds == k]
        dirty = cross_fit(spoiled, wrong, folds, subjects, STRENGTHS)
        assert dirty.strength_K[k] == clean.strength_K[k]
        np.testing.assert_array_equal(dirty.mean_KD[k], clean.mean_KD[k])
        for other, _ in combinations(range(4), 2):
            assert other == k or not np.array_equal(dirty.mean_KD[other], clean.mean_KD[other])
