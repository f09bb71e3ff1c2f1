"""Curves on a grid against slow, obvious ones, and against the metrics that they belong to."""

from __future__ import annotations

import numpy as np
import pytest

from cxrssl.core.errors import DataError
from cxrssl.stats.metrics import Floats, auroc, average_precision
from cxrssl.stats.roc import GRID_G, CurveKind, curve_resampled

ONCE = np.ones((1, 6), np.uint16)
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.1])
LABELS = np.array([1, 0, 1, 1, 0, 0])


def _draw(num: int = 60, seed: int = 1) -> tuple[Floats, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, num)
    scores = np.round(labels + generator.normal(0, 1.5, num), 1)  # some are equal
    return scores, labels, generator.integers(0, 3, (7, num)).astype(np.uint16)


def test_roc_of_six_films_by_hand() -> None:
    """Thresholds at (0, 1/3), (1/3, 1/3), (1/3, 2/3), (2/3, 1) for the two of one score, (1, 1)."""
    grid = np.array([0.0, 1 / 6, 1 / 3, 0.5, 2 / 3, 1.0])
    found = curve_resampled("roc", SCORES, LABELS, ONCE, grid_G=grid)
    np.testing.assert_allclose(found, [[1 / 3, 1 / 3, 2 / 3, 5 / 6, 1, 1]])


def test_precision_of_six_films_by_hand() -> None:
    grid = np.array([0.0, 1 / 3, 0.4, 2 / 3, 0.7, 1.0])
    found = curve_resampled("pr", SCORES, LABELS, ONCE, grid_G=grid)
    np.testing.assert_allclose(found, [[1, 1, 2 / 3, 2 / 3, 3 / 5, 3 / 5]])


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_resample_is_the_curve_of_repeated_films(kind: CurveKind) -> None:
    scores, labels, counts = _draw()
    found = curve_resampled(kind, scores, labels, counts)
    for row, count in zip(found, counts, strict=True):
        repeated = np.repeat(scores, count), np.repeat(labels, count)
        alone = curve_resampled(kind, *repeated, np.ones((1, int(count.sum())), np.uint16))
        np.testing.assert_allclose(row, alone[0])


def test_area_under_fine_curves_is_the_metric() -> None:
    scores, labels, _ = _draw(200)
    once, fine = np.ones((1, 200), np.uint16), np.linspace(0, 1, 20_001)
    roc = curve_resampled("roc", scores, labels, once, grid_G=fine)[0]
    precision = curve_resampled("pr", scores, labels, once, grid_G=fine)[0]
    assert np.trapezoid(roc, fine) == pytest.approx(auroc(scores, labels), abs=1e-3)
    assert precision[1:].mean() == pytest.approx(average_precision(scores, labels), abs=1e-3)


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_films_that_are_not_scored_have_no_part(kind: CurveKind) -> None:
    scores, labels, counts = _draw()
    more = np.append(scores, [9.0, -9.0]), np.append(labels, [-1, -1])
    wide = np.concatenate([counts, np.ones((7, 2), np.uint16)], axis=1)
    np.testing.assert_array_equal(curve_resampled(kind, *more, wide), curve_resampled(kind, scores, labels, counts))


def test_folds_are_averaged_by_their_pairs_and_positives() -> None:
    """Fold 0: 1 with, 1 without, well ranked. Fold 1: 2 with, 1 without, badly ranked."""
    scores, labels = np.array([2.0, 1.0, 1.0, 1.1, 2.0]), np.array([1, 0, 1, 1, 0])
    folds, once = np.array([0, 0, 1, 1, 1]), np.ones((1, 5), np.uint16)
    grid = np.array([0.5])
    np.testing.assert_allclose(curve_resampled("roc", scores, labels, once, folds, grid), [[1 / 3]])
    np.testing.assert_allclose(curve_resampled("pr", scores, labels, once, folds, grid), [[(1 + 2 * 0.5) / 3]])


@pytest.mark.parametrize("kind", ["roc", "pr"])
@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_without_a_scored_film_there_is_no_curve(kind: CurveKind, labels: list[int]) -> None:
    num = len(labels)
    found = curve_resampled(kind, np.arange(num, dtype=float), np.array(labels), np.ones((2, num), np.uint16))
    assert found.shape == (2, len(GRID_G))
    assert np.isnan(found).all()


def test_resample_without_a_class_has_no_roc_curve() -> None:
    counts = np.array([[1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]], np.uint16)
    found = curve_resampled("roc", SCORES, LABELS, counts)
    assert np.isnan(found[0]).all()
    assert not np.isnan(found[1]).any()


def test_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        curve_resampled("roc", [np.nan, 1.0], [0, 1], np.ones((1, 2), np.uint16))
