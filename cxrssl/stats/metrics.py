"""AUROC and average precision of scores against labels, on all films or on many resamples of them.

In: scores and labels of one finding, integer multiplicities for resamples. Out: float64, nan where the metric is not
defined. Never: a 0.5 or 0 in place of "not defined"; a row left out other than those labelled -1 (not scored).

Suffix letters: N films, M scored films, P films with the finding, G groups of tied scores that hold a positive,
R resamples, K words of several resamples each, L findings, V distinct values.
"""

import dataclasses
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cxrssl.core.errors import DataError

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.integer[Any]]

MAX_CHUNK_BYTES = 4 * 2**20
"""Of what is worked on at once, so that it stays in a cache."""
WORD = np.dtype(np.uint64)
LANES = np.dtype(np.uint16), np.dtype(np.uint32)
MAX_FILMS = 2**26
"""Of a resample: float64 holds every count of pairs of so many exactly."""


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Resamples packed side by side into words, so that one addition adds a film to several of them.

    A lane is a part of a word as wide as all films of a resample ask for, so that sums never run into the next one.
    """

    words_KN: npt.NDArray[np.uint64]
    """How often film n occurs in resamples k, k + K, k + 2 K and so on, one a lane."""
    lane: np.dtype[Any]
    num_resamples: int

    @classmethod
    def pack(cls, counts_RN: Integers) -> "Draws":
        """Return resamples in which film n occurs counts_RN[r, n] times."""
        assert counts_RN.ndim == 2, "counts are [R, N]"
        assert np.issubdtype(counts_RN.dtype, np.integer), "counts are integers"
        most = int(counts_RN.sum(axis=1, dtype=np.int64).max(initial=0))
        assert most < MAX_FILMS, "so many films cannot be counted"
        lane = next(each for each in LANES if most <= np.iinfo(each).max)
        num_words = -(-len(counts_RN) * lane.itemsize // WORD.itemsize)
        words_KN = np.zeros((num_words, counts_RN.shape[1]), WORD)
        by_lane_KNJ = words_KN[:, :, None].view(lane)
        for number in range(by_lane_KNJ.shape[2]):
            part_RN = counts_RN[number * num_words : (number + 1) * num_words]
            by_lane_KNJ[: len(part_RN), :, number] = part_RN
        return cls(words_KN, lane, len(counts_RN))

    @property
    def num_lanes(self) -> int:
        return WORD.itemsize // self.lane.itemsize

    def of(self, rows: Any) -> "Draws":
        """Return those of some films."""
        return dataclasses.replace(self, words_KN=self.words_KN[:, rows])

    def unpack(self, words: npt.NDArray[np.uint64], number: int) -> Floats:
        """Return the sums of the resamples of a lane, which float64 holds exactly."""
        lanes = np.ascontiguousarray(words)[..., None].view(self.lane)
        return lanes[..., number].astype(np.float64)


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


def score_resamples(
    scores_N: npt.ArrayLike, labels_N: npt.ArrayLike, counts_RN: Integers | Draws
) -> tuple[Floats, Floats]:
    """(AUROC, average precision) of each resample from one sort of the scores; labels 1, 0, and -1 for "not scored".

    With the films sorted from the highest score down, g a group of tied scores, pos_g and neg_g the films in it, TP_g
    and FP_g those down to its end:
        AUROC = sum_g pos_g (num_neg - FP_g + neg_g / 2) / (num_pos num_neg)
        AP    = sum_g pos_g TP_g / (TP_g + FP_g) / num_pos
    Groups without a positive add nothing, so only the others are looked up in the cumulative counts. All counts are
    integers, so the results do not depend on the order of the films or on the chunking.

    Shapes: [N], [N], [R, N] or Draws packed from it, which saves time where many findings share them -> [R], [R].
    Raises: DataError if a score is not finite.
    """
    scores_N = np.asarray(scores_N, dtype=np.float64)
    labels_N = np.asarray(labels_N)
    draws = counts_RN if isinstance(counts_RN, Draws) else Draws.pack(counts_RN)
    assert scores_N.ndim == 1, "scores are of one finding"
    assert labels_N.shape == scores_N.shape, "one label for each score"
    assert draws.words_KN.shape[1] == len(scores_N), "one count for each score"
    assert bool(np.isin(labels_N, (1, 0, -1)).all()), "labels are 1, 0 or -1 (not scored)"
    check_finite(scores_N)

    scored_M = np.flatnonzero(labels_N >= 0)
    order_M = scored_M[np.argsort(-scores_N[scored_M], kind="stable")]
    pos_P = np.flatnonzero(labels_N[order_M] == 1)
    thresholds_G, first_G = np.unique(-scores_N[order_M][pos_P], return_index=True)
    last_G = np.append(first_G, len(pos_P))[1:]
    starts_G = np.searchsorted(-scores_N[order_M], thresholds_G, side="left")
    ends_G = np.searchsorted(-scores_N[order_M], thresholds_G, side="right")
    has_tied_negatives = not np.array_equal(ends_G - starts_G, last_G - first_G)

    num_words = len(draws.words_KN)
    aurocs_R, precisions_R = np.empty((2, draws.num_lanes * num_words))
    rows = max(1, MAX_CHUNK_BYTES // (16 * (len(order_M) + 1) + 80 * (len(pos_P) + 1)))
    for start in range(0, num_words, rows):
        words_KN = draws.words_KN[start : start + rows]
        films_KM = _cumulate(words_KN, order_M)
        positives_KP = _cumulate(words_KN, order_M[pos_P])
        tp_before_KG, tp_KG = np.take(positives_KP, first_G, axis=1), np.take(positives_KP, last_G, axis=1)
        depth_KG = np.take(films_KM, ends_G, axis=1)
        neg_KG = (films_KM[:, -1] - positives_KP[:, -1])[:, None]
        below_KG = [neg_KG - (depth_KG - tp_KG)]
        if has_tied_negatives:
            below_KG.append(neg_KG - (np.take(films_KM, starts_G, axis=1) - tp_before_KG))
        for lane in range(draws.num_lanes):
            num_pos_K, num_neg_K = draws.unpack(positives_KP[:, -1], lane), draws.unpack(neg_KG[:, 0], lane)
            pos_KG, precision_KG = draws.unpack(tp_KG - tp_before_KG, lane), draws.unpack(tp_KG, lane)
            wins_K = np.mean([_sum_products(pos_KG, draws.unpack(each, lane)) for each in below_KG], axis=0)
            precision_KG /= np.maximum(draws.unpack(depth_KG, lane), 1.0)
            chunk = slice(lane * num_words + start, lane * num_words + start + len(words_KN))
            with np.errstate(invalid="ignore"):
                aurocs_R[chunk] = wins_K / (num_pos_K * num_neg_K)
                precisions_R[chunk] = _sum_products(pos_KG, precision_KG) / num_pos_K
    return aurocs_R[: draws.num_resamples], precisions_R[: draws.num_resamples]


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


def _sum_products(a_KG: Floats, b_KG: Floats) -> Floats:
    found: Floats = np.einsum("kg,kg->k", a_KG, b_KG)
    return found


def _each_once(labels_N: npt.ArrayLike) -> Integers:
    return np.ones((1, len(np.asarray(labels_N))), dtype=np.uint16)


def _cumulate(words_KN: npt.NDArray[np.uint64], films_M: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
    """Words of the films in the order given, added up from the left, with a 0 in front: [K, M + 1]."""
    sums_KM = np.zeros((len(words_KN), len(films_M) + 1), dtype=np.uint64)
    np.cumsum(np.take(words_KN, films_M, axis=1), axis=1, out=sums_KM[:, 1:])
    return sums_KM
