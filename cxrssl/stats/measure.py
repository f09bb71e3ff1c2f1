"""Both metrics of every finding on a whole test set and in resamples of its subjects.

In: scores, labels and subject_ids of every row of a test set. Out: Measured. Never: a row left out that is scored.

Films that were scored by several models, one a fold, are ranked within their fold alone. A model has seen the films of
all other folds with their labels, so that of two films of different folds the one with the finding was pulled down by
the other, and that one up: pooled, a feature that says nothing ranks below one half.
Source: Parker, Guenter & Bedo 2007 (BMC Bioinformatics 8:326); Forman & Scholz 2010 (SIGKDD Explor 12:49).

Suffix letters: N films, K folds, L findings, R resamples, T the two metrics (AUROC, average precision).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.stats.metrics import Floats, check_finite, score_resamples
from cxrssl.stats.resample import Counts, draw_subject_counts

Labels = npt.NDArray[np.int8]
Folds = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """Both metrics of one model, or their difference of two, on the whole test set and in each resample."""

    labels_NL: Labels
    values_TL: Floats
    samples_TLR: Floats

    def minus(self, other: "Measured") -> "Measured":
        """Return the differences to another model of the same films, on the same resamples."""
        return dataclasses.replace(
            self, values_TL=self.values_TL - other.values_TL, samples_TLR=self.samples_TLR - other.samples_TLR
        )

    def means(self) -> tuple[Floats, Floats]:
        """Return the means over findings on the whole set [2], and in each resample over those defined in it [2, R]."""
        values_T = np.array([_mean_defined(values_L[:, None])[0] for values_L in self.values_TL])
        return values_T, np.stack([_mean_defined(samples_LR) for samples_LR in self.samples_TLR])


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
    return Measured(labels_NL, *_measure(probs_NL, labels_NL, counts_RN, fold_N))


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


def _measure(
    probs_NL: npt.ArrayLike, labels_NL: Labels, counts_RN: Counts, fold_N: Folds | None
) -> tuple[Floats, Floats]:
    """Both metrics of each finding on the full set [2, L] and in each resample [2, L, R]; nan if a class is absent."""
    probs_NL = np.asarray(probs_NL, dtype=np.float64)
    num_findings = labels_NL.shape[1]
    values_TL = np.full((2, num_findings), np.nan)
    samples_TLR = np.full((2, num_findings, len(counts_RN)), np.nan)
    once_1N = np.ones((1, len(labels_NL)), dtype=np.uint16)
    folds = [slice(None)] if fold_N is None else [np.flatnonzero(fold_N == fold) for fold in np.unique(fold_N)]
    for column in range(num_findings):
        scores_N, labels_N = probs_NL[:, column], labels_NL[:, column]
        if (labels_N == 1).any() and (labels_N == 0).any():
            values_TL[:, column] = np.concatenate(_rank_within(scores_N, labels_N, once_1N, folds))
            aurocs_R, precisions_R = _rank_within(scores_N, labels_N, counts_RN, folds)
            samples_TLR[:, column] = aurocs_R, np.where(np.isnan(aurocs_R), np.nan, precisions_R)
    return values_TL, samples_TLR


def _rank_within(scores_N: Floats, labels_N: Labels, counts_RN: Counts, folds: Sequence[Any]) -> tuple[Floats, Floats]:
    """(AUROC, average precision) of each resample, the means over folds by pairs and by films with the finding."""
    found = [score_resamples(scores_N[rows], labels_N[rows], counts_RN[:, rows]) for rows in folds]
    if len(found) == 1:
        return found[0]
    pos_KR, neg_KR = (
        np.stack([counts_RN[:, rows][:, labels_N[rows] == value].sum(axis=1, dtype=np.int64) for rows in folds])
        for value in (1, 0)
    )
    areas_KR, precisions_KR = (np.stack(metric) for metric in zip(*found, strict=True))
    return _weigh(areas_KR, pos_KR * neg_KR), _weigh(precisions_KR, pos_KR)


def _weigh(values_KR: Floats, weight_KR: npt.NDArray[np.int64]) -> Floats:
    """Mean over folds by weight, nan where there is none."""
    total_R = np.where(weight_KR > 0, values_KR * weight_KR, 0.0).sum(axis=0)
    num_R = weight_KR.sum(axis=0)
    return np.where(num_R > 0, total_R / np.maximum(num_R, 1), np.nan)


def _mean_defined(values_LR: Floats) -> Floats:
    """Mean over the findings that are not nan, [L, R] -> [R]; nan where all are."""
    is_defined_LR = ~np.isnan(values_LR)
    num_defined_R = is_defined_LR.sum(axis=0)
    total_R = np.where(is_defined_LR, values_LR, 0.0).sum(axis=0)
    return np.where(num_defined_R > 0, total_R / np.maximum(num_defined_R, 1), np.nan)
