"""ROC and precision-recall curves on a grid, on all films and in resamples of their subjects.

In: scores and labels of one finding, how often each film occurs in each resample. Out: float64 [R, G], nan where a
resample lacks a class.
Never: a threshold between films of one score, or films of different folds ranked together.

Suffix letters: N films, R resamples, K distinct scores from the highest down, G places of the grid.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from cxrssl.stats.metrics import Floats, Integers, check_finite

CurveKind = Literal["roc", "pr"]
NUM_PLACES = 101
GRID_G: Floats = np.linspace(0.0, 1.0, NUM_PLACES)
"""False positive rates of ROC, recalls of precision-recall."""


def curve_resampled(
    kind: CurveKind,
    scores_N: npt.ArrayLike,
    labels_N: npt.ArrayLike,
    counts_RN: Integers,
    fold_N: npt.NDArray[np.int64] | None = None,
    grid_G: Floats = GRID_G,
) -> Floats:
    """Return sensitivity at each false positive rate, or precision at each recall; labels 1, 0, -1 = not scored.

    The ROC curve is linear between thresholds, its upper end where it is upright. Precision is that of the first
    threshold that reaches the recall, so that its mean over recalls is average precision; at recall 0 it is that of
    the first threshold with a positive. With folds it is the mean over folds, weighted as their metrics are: by pairs
    of films with the finding and without it (ROC), by films with it (precision-recall).

    Shapes: [N], [N], [R, N], [N], [G] -> [R, G].
    Source: Fawcett 2006 (Pattern Recognit Lett 27:861), section 8.1, vertical averaging; Davis & Goadrich 2006 (ICML).
    Raises: DataError if a score is not finite.
    """
    scores_N, labels_N = np.asarray(scores_N, np.float64), np.asarray(labels_N)
    check_finite(scores_N)
    total_RG, weight_R1 = np.zeros((len(counts_RN), len(grid_G))), np.zeros((len(counts_RN), 1))
    for fold in np.unique(fold_N) if fold_N is not None else [None]:
        rows = np.flatnonzero((labels_N >= 0) & (True if fold is None else fold_N == fold))
        curve_RG, num_R = _trace(kind, scores_N[rows], labels_N[rows] == 1, counts_RN[:, rows], grid_G)
        total_RG += np.where(num_R[:, None] > 0, num_R[:, None] * curve_RG, 0.0)
        weight_R1 += num_R[:, None]
    return np.where(weight_R1 > 0, total_RG / np.maximum(weight_R1, 1), np.nan)


def _trace(
    kind: CurveKind, scores_N: Floats, is_pos_N: npt.NDArray[np.bool_], counts_RN: Integers, grid_G: Floats
) -> tuple[Floats, Floats]:
    """Return the curve of each resample [R, G] and its weight among folds [R]: 0 where it lacks a class."""
    order = np.argsort(-scores_N, kind="stable")
    last_K = np.flatnonzero(np.diff(scores_N[order], append=-np.inf))
    counts_RN = counts_RN[:, order].astype(np.int64)
    tp_RK = np.cumsum(counts_RN * is_pos_N[order], axis=1)[:, last_K]
    fp_RK = np.cumsum(counts_RN * ~is_pos_N[order], axis=1)[:, last_K]
    if not len(last_K):
        return np.zeros((len(counts_RN), len(grid_G))), np.zeros(len(counts_RN))
    pos_R, neg_R = tp_RK[:, -1], fp_RK[:, -1]
    if kind == "pr":
        return _find_precisions(tp_RK, fp_RK, grid_G), pos_R.astype(np.float64)
    return _find_sensitivities(tp_RK, fp_RK, grid_G), (pos_R * neg_R).astype(np.float64)


def _find_precisions(tp_RK: Integers, fp_RK: Integers, grid_G: Floats) -> Floats:
    """Return the precision of the first threshold with so many of the positives, and with one at least."""
    wanted_RG = np.maximum(1, np.ceil(grid_G * tp_RK[:, -1:] - 1e-9)).astype(np.int64)
    at_RG = np.minimum(_search(tp_RK, wanted_RG, "left"), tp_RK.shape[1] - 1)
    tp_RG, fp_RG = np.take_along_axis(tp_RK, at_RG, axis=1), np.take_along_axis(fp_RK, at_RG, axis=1)
    return np.asarray(tp_RG / np.maximum(tp_RG + fp_RG, 1), np.float64)


def _find_sensitivities(tp_RK: Integers, fp_RK: Integers, grid_G: Floats) -> Floats:
    """Return the sensitivity at each false positive rate, on the line between the thresholds beside it."""
    zero = np.zeros((len(tp_RK), 1), np.int64)
    tp_RK, fp_RK = np.concatenate([zero, tp_RK], axis=1), np.concatenate([zero, fp_RK], axis=1)
    allowed_RG = grid_G * fp_RK[:, -1:] + 1e-9
    at_RG = _search(fp_RK, np.floor(allowed_RG).astype(np.int64), "right") - 1
    next_RG = np.minimum(at_RG + 1, tp_RK.shape[1] - 1)
    low, high = (np.take_along_axis(fp_RK, each, axis=1) for each in (at_RG, next_RG))
    start, end = (np.take_along_axis(tp_RK, each, axis=1) for each in (at_RG, next_RG))
    share = np.clip((allowed_RG - low) / np.maximum(high - low, 1), 0.0, 1.0)
    return np.asarray((start + share * (end - start)) / np.maximum(tp_RK[:, -1:], 1), np.float64)


def _search(rows_RK: Integers, wanted_RG: Integers, side: Literal["left", "right"]) -> npt.NDArray[np.int64]:
    """Return for each row, which ascends, where the wanted values would be put in."""
    num = rows_RK.shape[1]
    apart = (int(rows_RK.max(initial=0)) + int(wanted_RG.max(initial=0)) + 2) * np.arange(len(rows_RK))[:, None]
    found = np.searchsorted((rows_RK + apart).ravel(), (wanted_RG + apart).ravel(), side)
    return np.asarray(found.reshape(wanted_RG.shape) - num * np.arange(len(rows_RK))[:, None], np.int64)
