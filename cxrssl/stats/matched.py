"""AUROC over pairs of films that are alike in what may tell a finding without showing it, such as view, sex and age.

In: scores, labels, subjects and the stratum of each film. Out: Matched, one a finding.
Never: a number of the few films that happen to have a partner in their stratum, as if it were one of the test set.

Suffix letters: N films, M scored films, P films with the finding, L findings, R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.stats.metrics import MAX_CHUNK_BYTES, Floats, Integers, check_finite
from cxrssl.stats.resample import Interval, draw_subject_counts, percentile_interval

Labels = npt.NDArray[np.int8]
Cells = npt.NDArray[np.int64]
MIN_KEPT = 0.2
"""The least `Matched.kept_of_expected`."""
VACUOUS = Interval(math.nan, math.nan, math.nan, 0)


@dataclasses.dataclass(frozen=True)
class Matched:
    """The matched AUROC of one finding."""

    auroc: Interval
    """Not defined where the match is vacuous."""
    share_pairs: float
    """Of all pairs of a film with the finding and one without, those within a stratum; nan without a pair."""
    kept_of_expected: float
    """share_pairs in that of a finding that has nothing to do with the strata, sum over strata of (n_s / n)^2: about 1
    where the strata do not tell it, 0 where they tell it all; nan without a pair."""

    @property
    def is_vacuous(self) -> bool:
        """Whether too few pairs remain; False for a finding without both classes."""
        return self.kept_of_expected < MIN_KEPT

    def to_text(self) -> str:
        """Return the number as tables show it; "vacuous, 3 % of pairs" where the match is."""
        return f"vacuous, {self.share_pairs:.0%} of pairs" if self.is_vacuous else self.auroc.to_text()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        shares = {name: getattr(self, name) for name in ("share_pairs", "kept_of_expected")}
        return {
            "auroc": self.auroc.to_dict(),
            **{name: None if math.isnan(value) else value for name, value in shares.items()},
        }


def match_predictions(
    probs_NL: npt.ArrayLike,
    labels_NL: Labels,
    subject_ids_N: npt.NDArray[Any],
    stratum_N: Cells,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fold_N: Cells | None = None,
) -> tuple[list[Matched], Interval]:
    """Return the matched AUROC of each finding, and the mean over those whose match is not vacuous.

    AUROC = sum over strata of U_s / sum over strata of pos_s neg_s: the chance that of a film with the finding and one
    without, drawn from the pairs within a stratum, the first has the higher score. A stratum counts by its pairs. With
    folds, pairs are also of one fold.

    It is refused (vacuous) when the strata tell the finding so well that few pairs remain: less than MIN_KEPT of what
    the same strata would leave of a finding that they do not tell. What it rests on is the number of subjects in pairs,
    but no more than the effective number of films of either class, (sum w)^2 / sum w^2 with w the partners of a film.

    Shapes: [N, L], [N, L], [N], [N].
    Source: Janes & Pepe 2009 (Biometrika 96:371), covariate-adjusted ROC curve, for strata.
    Differs: strata are weighed by their pairs, not by their films with the finding, so that a stratum with few films
        without it does not decide.
    Raises: DataError if a score is not finite or a subject_id is missing.
    """
    probs_NL = np.asarray(probs_NL, dtype=np.float64)
    check_finite(probs_NL)
    counts_RN = draw_subject_counts(subject_ids_N, num_resamples, seed)
    fold_N = np.zeros(len(stratum_N), np.int64) if fold_N is None else fold_N
    cell_N = np.unique(np.stack([fold_N, stratum_N]), axis=1, return_inverse=True)[1].ravel()
    found, samples = [], []
    for scores_N, labels_N in zip(probs_NL.T, labels_NL.T, strict=True):
        matched, samples_R = _match_one(scores_N, labels_N, subject_ids_N, cell_N, fold_N, counts_RN, level)
        found.append(matched)
        samples.append(samples_R)
    kept = [
        (each.auroc.value, samples_R, each.auroc.num_rarer or 0) for each, samples_R in zip(found, samples, strict=True)
    ]
    return found, average_defined(kept, level)


def average_defined(parts: Sequence[tuple[float, Floats, int]], level: float) -> Interval:
    """Return the mean over the findings that are defined, in a resample over those of them defined in it.

    Of each finding its value, its values in the resamples, and the subjects of its rarer class: the mean rests on the
    lower quartile of these, as `scores.rarer_of_mean` has it.
    """
    parts = [part for part in parts if not math.isnan(part[0])]
    if not parts:
        return VACUOUS
    values, samples, rarer = zip(*parts, strict=True)
    samples_KR = np.stack(samples)
    num_R = (~np.isnan(samples_KR)).sum(axis=0)
    means_R = np.where(num_R > 0, np.nansum(samples_KR, axis=0) / np.maximum(num_R, 1), np.nan)
    return percentile_interval(float(np.mean(values)), means_R, sorted(rarer)[(len(rarer) - 1) // 4], level)


def _match_one(
    scores_N: Floats,
    labels_N: Labels,
    subject_ids_N: npt.NDArray[Any],
    cell_N: Cells,
    fold_N: Cells,
    counts_RN: Integers,
    level: float,
) -> tuple[Matched, Floats]:
    """Return the matched AUROC of one finding, and its values in the resamples."""
    undefined = np.full(len(counts_RN), np.nan)
    once_1N = np.ones((1, len(labels_N)), np.uint16)
    all_pairs = auroc_within(scores_N, labels_N, fold_N, once_1N)[1][0]
    if not all_pairs:
        return Matched(VACUOUS, math.nan, math.nan), undefined
    (value,), (pairs,) = auroc_within(scores_N, labels_N, cell_N, once_1N)
    expected = _sum_squares(cell_N[labels_N >= 0]) / _sum_squares(fold_N[labels_N >= 0])
    share = float(pairs / all_pairs)
    matched = Matched(VACUOUS, share, share / expected)
    if matched.is_vacuous:
        return matched, undefined
    samples_R, _ = auroc_within(scores_N, labels_N, cell_N, counts_RN)
    interval = percentile_interval(float(value), samples_R, _count_rarer(labels_N, subject_ids_N, cell_N), level)
    return dataclasses.replace(matched, auroc=interval), samples_R


def _sum_squares(cell_M: Cells) -> float:
    return float(np.square(np.bincount(cell_M)).sum())


def _count_rarer(labels_N: Labels, subject_ids_N: npt.NDArray[Any], cell_N: Cells) -> int:
    """Return on how many subjects the pairs rest, or on how many effective films where these are fewer."""
    num_cells = int(cell_N.max(initial=-1)) + 1
    numbers = []
    for own, other in ((1, 0), (0, 1)):
        partners_C = np.bincount(cell_N[labels_N == other], minlength=num_cells)
        weight_M = partners_C[cell_N[labels_N == own]].astype(np.float64)  # squares of pairs go beyond int64
        subjects_M = subject_ids_N[labels_N == own][weight_M > 0]
        numbers += [len(np.unique(subjects_M)), int(weight_M.sum() ** 2 / np.square(weight_M).sum())]
    return min(numbers)


def auroc_within(
    scores_N: Floats, labels_N: Labels, cell_N: Cells, counts_RN: Integers
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the AUROC over pairs within a cell in each resample, nan without a pair; and the number of such pairs.

    With the scored films sorted by cell and then by score, neg(i) the films without the finding before place i:
        U = sum over films with it of (neg(first equal) + neg(after the last equal)) / 2 - neg(first of the cell)
    A film that a resample holds c times counts c times on both sides; all sums are of integers.

    Shapes: [N], [N], [N], [R, N] -> [R], [R].
    """
    rows_M = np.flatnonzero(labels_N >= 0)
    rows_M = rows_M[np.lexsort((scores_N[rows_M], cell_N[rows_M]))]
    cells_M, scores_M, is_pos_M = cell_N[rows_M], scores_N[rows_M], labels_N[rows_M] == 1
    starts_cell_M = np.append(True, cells_M[1:] != cells_M[:-1])[: len(rows_M)]
    starts_tie_M = starts_cell_M | np.append(True, scores_M[1:] != scores_M[:-1])[: len(rows_M)]
    (cell_first_M, cell_end_M), (tie_first_M, tie_end_M) = _spans(starts_cell_M), _spans(starts_tie_M)
    pos_P = np.flatnonzero(is_pos_M)
    twice_R = np.zeros(len(counts_RN), np.int64)
    pairs_R = np.zeros(len(counts_RN), np.int64)
    size = max(1, MAX_CHUNK_BYTES // (24 * (len(rows_M) + 1) + 40 * (len(pos_P) + 1)))
    for start in range(0, len(counts_RN), size):
        chunk = slice(start, start + size)
        counts_RM = counts_RN[chunk][:, rows_M].astype(np.int64)
        neg_RM = np.zeros((len(counts_RM), len(rows_M) + 1), np.int64)
        np.cumsum(np.where(is_pos_M, 0, counts_RM), axis=1, out=neg_RM[:, 1:])
        pos_RP = counts_RM[:, pos_P]
        first_RP, end_RP = neg_RM[:, cell_first_M[pos_P]], neg_RM[:, cell_end_M[pos_P]]
        below_RP = neg_RM[:, tie_first_M[pos_P]] + neg_RM[:, tie_end_M[pos_P]] - 2 * first_RP
        twice_R[chunk] = (pos_RP * below_RP).sum(axis=1)
        pairs_R[chunk] = (pos_RP * (end_RP - first_RP)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(twice_R / (2.0 * pairs_R)), pairs_R


def _spans(starts_M: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return for each place the first one of its run, and the one after the last."""
    first = np.flatnonzero(starts_M)
    run_M = np.cumsum(starts_M) - 1
    return first[run_M], np.append(first[1:], len(starts_M))[run_M]
