"""AUROC and average precision of scores against labels, on all films or on many resamples of them.

In: scores and labels of one finding, integer multiplicities for resamples. Out: float64, nan where the metric is not
defined. Never: a 0.5 or 0 in place of "not defined"; a row left out other than those labelled -1 (not scored).

Suffix letters: N films, M scored films, P films with the finding, G groups of tied scores that hold a positive,
R resamples, L findings, V distinct values.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrssl.core.errors import DataError

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]

MAX_CHUNK_BYTES = 64 * 2**20


def auroc(scores_N: npt.ArrayLike, labels_N: npt.ArrayLike) -> float:
    """Area under the ROC curve: P(positive scores above negative) + P(equal) / 2; nan if a class is absent.

    Source: Hanley & McNeil 1982 (Radiology 143:29): the area is the Mann-Whitney U / (num_pos num_neg).
    Raises: DataError if a score is not finite.
    """
    return float(auroc_resampled(scores_N, labels_N, _each_once(labels_N))[0])


def auroc_of_counts(pos_VL: Integers, neg_VL: Integers) -> Floats:
    """AUROC of each finding from the numbers of films with it and without it at each value, values ascending.

    Shapes: [V, L], [V, L] -> [L]; nan where a class is absent.
    """
    twice_below_VL = 2 * np.cumsum(neg_VL, axis=0) - neg_VL
    return _area(pos_VL, twice_below_VL, pos_VL.sum(axis=0), neg_VL.sum(axis=0), axis=0)


def average_precision(scores_N: npt.ArrayLike, labels_N: npt.ArrayLike) -> float:
    """Average precision, sum over thresholds k of (recall_k - recall_k-1) precision_k; nan if there is no positive.

    Source: Davis & Goadrich 2006 (ICML): joining points of a precision-recall curve by lines is too optimistic, so the
        curve is summed as steps, one threshold for each distinct score, as scikit-learn does.
    Raises: DataError if a score is not finite.
    """
    return float(average_precision_resampled(scores_N, labels_N, _each_once(labels_N))[0])


def auroc_resampled(scores_N: npt.ArrayLike, labels_N: npt.ArrayLike, counts_RN: Integers) -> Floats:
    """AUROC of each resample, in which film n occurs counts_RN[r, n] times; nan where a resample has one class.

    Shapes: [N], [N], [R, N] -> [R].
    Raises: DataError if a score is not finite.
    """
    return score_resamples(scores_N, labels_N, counts_RN)[0]


def average_precision_resampled(scores_N: npt.ArrayLike, labels_N: npt.ArrayLike, counts_RN: Integers) -> Floats:
    """Average precision of each resample; nan where a resample has no positive.

    Shapes: [N], [N], [R, N] -> [R].
    Raises: DataError if a score is not finite.
    """
    return score_resamples(scores_N, labels_N, counts_RN)[1]


def score_resamples(scores_N: npt.ArrayLike, labels_N: npt.ArrayLike, counts_RN: Integers) -> tuple[Floats, Floats]:
    """(AUROC, average precision) of each resample from one sort of the scores; labels 1, 0, and -1 for "not scored".

    With the films sorted from the highest score down, g a group of tied scores, pos_g and neg_g the films in it, TP_g
    and FP_g those down to its end:
        AUROC = sum_g pos_g (num_neg - FP_g + neg_g / 2) / (num_pos num_neg)
        AP    = sum_g pos_g TP_g / (TP_g + FP_g) / num_pos
    Groups without a positive add nothing, so only the others are looked up in the cumulative counts. All counts are
    integers, so the results do not depend on the order of the films or on the chunking.

    Shapes: [N], [N], [R, N] -> [R], [R].
    Raises: DataError if a score is not finite.
    """
    scores_N = np.asarray(scores_N, dtype=np.float64)
    labels_N = np.asarray(labels_N)
    assert scores_N.ndim == 1, "scores are of one finding"
    assert labels_N.shape == scores_N.shape, "one label for each score"
    assert counts_RN.ndim == 2, "counts are [R, N]"
    assert counts_RN.shape[1] == len(scores_N), "one count for each score"
    assert np.issubdtype(counts_RN.dtype, np.integer), "counts are integers"
    assert bool(np.isin(labels_N, (1, 0, -1)).all()), "labels are 1, 0 or -1 (not scored)"
    check_finite(scores_N)

    scored_M = np.flatnonzero(labels_N >= 0)
    order_M = scored_M[np.argsort(-scores_N[scored_M], kind="stable")]
    pos_P = np.flatnonzero(labels_N[order_M] == 1)
    thresholds_G, first_G = np.unique(-scores_N[order_M][pos_P], return_index=True)
    last_G = np.append(first_G, len(pos_P))[1:]
    starts_G = np.searchsorted(-scores_N[order_M], thresholds_G, side="left")
    ends_G = np.searchsorted(-scores_N[order_M], thresholds_G, side="right")

    aurocs_R = np.empty(len(counts_RN))
    precisions_R = np.empty(len(counts_RN))
    rows = max(1, MAX_CHUNK_BYTES // (16 * (len(order_M) + 1) + 80 * (len(pos_P) + 1)))
    for start in range(0, len(counts_RN), rows):
        chunk = slice(start, start + rows)
        films_RM = _cumulate(counts_RN[chunk], order_M)
        positives_RP = _cumulate(counts_RN[chunk], order_M[pos_P])
        num_pos_R = positives_RP[:, -1]
        num_neg_R = films_RM[:, -1] - num_pos_R

        tp_before_RG = np.take(positives_RP, first_G, axis=1)
        tp_RG = np.take(positives_RP, last_G, axis=1)
        fp_before_RG = np.take(films_RM, starts_G, axis=1) - tp_before_RG
        depth_RG = np.take(films_RM, ends_G, axis=1)
        pos_RG = tp_RG - tp_before_RG

        twice_below_RG = 2 * num_neg_R[:, None] - fp_before_RG - (depth_RG - tp_RG)
        precision_RG = tp_RG / np.maximum(depth_RG, 1)
        aurocs_R[chunk] = _area(pos_RG, twice_below_RG, num_pos_R, num_neg_R, axis=1)
        with np.errstate(invalid="ignore"):
            precisions_R[chunk] = (pos_RG * precision_RG).sum(axis=1) / num_pos_R
    return aurocs_R, precisions_R


def check_finite(values: Floats, where: str = "") -> None:
    """Refuses an array of scores or features that holds a nan or an infinity.

    Raises: DataError with the place of the first one.
    """
    is_bad = ~np.isfinite(values)
    if is_bad.any():
        first = ", ".join(str(i) for i in np.argwhere(is_bad)[0])
        raise DataError(
            f"{int(is_bad.sum())} of {values.size} values are not finite (first: [{first}])",
            where,
            "a model that has diverged writes such values; look at the run's journal",
        )


def _area(pos: Integers, twice_below: Integers, num_pos: Integers, num_neg: Integers, axis: int) -> Floats:
    """Sum over scores of pos (negatives below + negatives tied / 2) / (num_pos num_neg), its numerator in integers."""
    with np.errstate(invalid="ignore"):
        area: Floats = (pos * twice_below).sum(axis=axis) / (2.0 * num_pos * num_neg)
    return area


def _each_once(labels_N: npt.ArrayLike) -> Integers:
    return np.ones((1, len(np.asarray(labels_N))), dtype=np.uint16)


def _cumulate(counts_RN: Integers, films_M: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """Counts of the films in the order given, summed from the left, with a 0 in front: [R, M + 1]."""
    sums_RM = np.zeros((len(counts_RN), len(films_M) + 1), dtype=np.int64)
    np.cumsum(np.take(counts_RN, films_M, axis=1), axis=1, dtype=np.int64, out=sums_RM[:, 1:])
    return sums_RM
