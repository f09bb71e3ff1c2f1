"""Both metrics of every finding on a whole test set and in resamples of its subjects.

In: scores, labels and subject_ids of every row of a test set. Out: Measured. Never: a row left out that is scored.

Films that were scored by several models, one a fold, are ranked within their fold alone. A model has seen the films of
all other folds with their labels, so that of two films of different folds the one with the finding was pulled down by
the other, and that one up: pooled, a feature that says nothing ranks below one half.
Source: Parker, Guenter & Bedo 2007 (BMC Bioinformatics 8:326); Forman & Scholz 2010 (SIGKDD Explor 12:49).

Suffix letters: N films, K folds, L findings, R resamples, S subjects,
T the two metrics (AUROC, average precision).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.stats.metrics import Draws, Floats, check_finite, score_resamples
from cxrssl.stats.resample import Counts, count_subjects, draw_subject_counts

MAX_COUNTS_BYTES = 64 * 2**20
Labels = npt.NDArray[np.int8]
Folds = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """Both metrics of one model, or their difference of two, on the whole test set and in each resample."""

    labels_NL: Labels
    values_TL: Floats
    samples_TLR: Floats

    without_TLS: Floats | None = None
    """Without each subject [T, L, S]; nan for a finding that does not need it, None where none does."""
    is_difference: bool = False

    def minus(self, other: "Measured") -> "Measured":
        """Return the differences to another model of the same films, on the same resamples."""
        return dataclasses.replace(
            self,
            values_TL=self.values_TL - other.values_TL,
            samples_TLR=self.samples_TLR - other.samples_TLR,
            is_difference=True,
        )

    def with_mean(self) -> "Measured":
        """Return it with the mean over findings in front of them; of resamples over those that are defined in them."""

        def put_first(values: Floats) -> Floats:
            mean = np.stack([mean_defined(each) for each in values.reshape(*values.shape[:2], -1)])
            return np.concatenate([mean.reshape(len(values), 1, *values.shape[2:]), values], axis=1)

        without = None
        if self.without_TLS is not None:  # a mean needs none, but that of one finding has its interval
            without = np.pad(self.without_TLS, ((0, 0), (1, 0), (0, 0)), constant_values=np.nan)
            defined = np.flatnonzero(~np.isnan(self.values_TL[0]))
            if len(defined) == 1:
                without[:, 0] = without[:, 1 + defined[0]]
        return dataclasses.replace(
            self, values_TL=put_first(self.values_TL), samples_TLR=put_first(self.samples_TLR), without_TLS=without
        )

    def without_each(
        self, probs_NL: npt.ArrayLike, subject_ids_N: npt.NDArray[Any], fold_N: Folds | None, below: int
    ) -> "Measured":
        """Return it with the values without each subject, for findings on fewer subjects of a class than `below`."""
        rarer_L = np.min(count_subjects(self.labels_NL, subject_ids_N), axis=0)
        is_needed_L = ~np.isnan(self.values_TL[0]) & (rarer_L < below)
        if not is_needed_L.any():
            return self
        without_TLS = _leave_out(probs_NL, self.labels_NL, is_needed_L, subject_ids_N, fold_N)
        return dataclasses.replace(self, without_TLS=without_TLS)


def leave_out_each(
    probs_NL: npt.ArrayLike, labels_NL: npt.ArrayLike, subject_ids_N: npt.NDArray[Any], fold_N: Folds | None, below: int
) -> Floats | None:
    """Return both metrics without each subject [T, 1 + L, S], of the mean in the first row; nan where none needs them.

    See `Measured.without_each` and `Measured.with_mean`.
    """
    labels_NL = np.asarray(labels_NL).astype(np.int8)
    whole_TL1 = _resample(probs_NL, labels_NL, np.ones((1, len(labels_NL)), dtype=np.uint16), fold_N)
    measured = Measured(labels_NL, whole_TL1[:, :, 0], whole_TL1)
    return measured.without_each(probs_NL, subject_ids_N, fold_N, below).with_mean().without_TLS


def lower_quartile(counts: Sequence[int]) -> int:
    """Return the lower quartile of counts, one of them; 0 where there are none."""
    return sorted(counts)[(len(counts) - 1) // 4] if counts else 0


def measure_resamples(
    probs_NL: npt.ArrayLike,
    labels_NL: npt.ArrayLike,
    subject_ids_N: npt.NDArray[Any],
    findings: Sequence[str],
    num_resamples: int,
    seed: int,
    fold_N: Folds | None = None,
    where: str = "",
) -> Measured:
    """Return both metrics of each finding; nan where a class is absent.

    Shapes: [N, L], [N, L], [N], L names, [N].
    Raises: DataError, which names `where`, if a score is not finite; or if a subject_id is missing.
    """
    labels_NL = _check(probs_NL, labels_NL, subject_ids_N, findings, where)
    counts_RN = draw_subject_counts(subject_ids_N, num_resamples, seed)
    once_1N = np.ones((1, len(labels_NL)), dtype=np.uint16)
    values_TL = _resample(probs_NL, labels_NL, once_1N, fold_N)[:, :, 0]
    return Measured(labels_NL, values_TL, _resample(probs_NL, labels_NL, counts_RN, fold_N))


def _check(
    probs_NL: npt.ArrayLike,
    labels_NL: npt.ArrayLike,
    subject_ids_N: npt.NDArray[Any],
    findings: Sequence[str],
    where: str = "",
) -> Labels:
    """The labels as int8, once everything has been found to fit together."""
    labels_NL = np.asarray(labels_NL)
    assert bool(np.isin(labels_NL, (1, 0, -1)).all()), "labels are 1, 0 or -1 (not scored)"
    assert labels_NL.shape == (len(subject_ids_N), len(findings)), "labels are [N, L]"
    assert np.shape(probs_NL) == labels_NL.shape, "one score for each label"
    assert len(set(findings)) == len(findings), "each finding once"
    check_finite(np.asarray(probs_NL, dtype=np.float64), where)
    return labels_NL.astype(np.int8)


def _resample(probs_NL: npt.ArrayLike, labels_NL: Labels, counts_RN: Counts, fold_N: Folds | None) -> Floats:
    """Both metrics of each finding in each resample [2, L, R]; nan if a class is absent."""
    probs_NL = np.asarray(probs_NL, dtype=np.float64)
    samples_TLR = np.full((2, labels_NL.shape[1], len(counts_RN)), np.nan)
    folds = [slice(None)] if fold_N is None else [np.flatnonzero(fold_N == fold) for fold in np.unique(fold_N)]
    draws = [Draws.pack(counts_RN[:, rows]) for rows in folds]
    for column, labels_N in enumerate(labels_NL.T):
        if (labels_N == 1).any() and (labels_N == 0).any():
            aurocs_R, precisions_R = _rank_within(probs_NL[:, column], labels_N, counts_RN, folds, draws)
            samples_TLR[:, column] = aurocs_R, np.where(np.isnan(aurocs_R), np.nan, precisions_R)
    return samples_TLR


def _rank_within(
    scores_N: Floats, labels_N: Labels, counts_RN: Counts, folds: Sequence[Any], draws: Sequence[Draws]
) -> tuple[Floats, Floats]:
    """(AUROC, average precision) of each resample, the means over folds by pairs and by films with the finding."""
    found = [score_resamples(scores_N[rows], labels_N[rows], each) for rows, each in zip(folds, draws, strict=True)]
    if len(found) == 1:
        return found[0]
    pos_KR, neg_KR = (
        np.stack([counts_RN[:, rows][:, labels_N[rows] == value].sum(axis=1, dtype=np.int64) for rows in folds])
        for value in (1, 0)
    )
    areas_KR, precisions_KR = (np.stack(metric) for metric in zip(*found, strict=True))
    return _weigh(areas_KR, pos_KR * neg_KR), _weigh(precisions_KR, pos_KR)


def _leave_out(
    probs_NL: npt.ArrayLike,
    labels_NL: Labels,
    is_needed_L: npt.NDArray[np.bool_],
    subject_ids_N: npt.NDArray[Any],
    fold_N: Folds | None,
) -> Floats:
    """Both metrics without each subject, [2, L, S]; nan for findings that do not need them."""
    _, subject_N = np.unique(subject_ids_N, return_inverse=True)
    num_subjects = int(subject_N.max()) + 1
    values_TLS = np.full((2, labels_NL.shape[1], num_subjects), np.nan)
    probs_NM, labels_NM = np.asarray(probs_NL, dtype=np.float64)[:, is_needed_L], labels_NL[:, is_needed_L]
    rows = max(1, MAX_COUNTS_BYTES // (2 * len(subject_N)))
    for start in range(0, num_subjects, rows):
        chunk_S = np.arange(start, min(start + rows, num_subjects))
        counts_SN = (chunk_S[:, None] != subject_N).astype(np.uint16)
        values_TLS[:, is_needed_L, start : start + len(chunk_S)] = _resample(probs_NM, labels_NM, counts_SN, fold_N)
    return values_TLS


def _weigh(values_KR: Floats, weight_KR: npt.NDArray[np.int64]) -> Floats:
    """Mean over folds by weight, nan where there is none."""
    total_R = np.where(weight_KR > 0, values_KR * weight_KR, 0.0).sum(axis=0)
    num_R = weight_KR.sum(axis=0)
    return np.where(num_R > 0, total_R / np.maximum(num_R, 1), np.nan)


def mean_defined(values_LR: Floats) -> Floats:
    """Mean over the findings that are not nan, [L, R] -> [R]; nan where all are."""
    is_defined_LR = ~np.isnan(values_LR)
    num_defined_R = is_defined_LR.sum(axis=0)
    total_R = np.where(is_defined_LR, values_LR, 0.0).sum(axis=0)
    return np.where(num_defined_R > 0, total_R / np.maximum(num_defined_R, 1), np.nan)
