"""AUROC within a group of people, and by how much it differs from that of all others.

In: scores, labels, subjects, and which films are of a group and of the rest. Out: SubgroupScores.
Never: a gap in which group and rest are means over different findings.

Suffix letters: N films, L findings, R resamples, S subjects.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.stats.bca import choose_interval
from cxrssl.stats.matched import Cells, Labels, auroc_within, average_defined
from cxrssl.stats.measure import MAX_COUNTS_BYTES
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import BCA_BELOW, Interval, count_subjects, draw_subject_counts, percentile_interval

MACRO = "macro"
Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class SubgroupScore:
    """One finding, or the mean over findings, in one group."""

    finding: str
    auroc: Interval
    gap: Interval
    """AUROC in the group minus that in the rest, on the same resamples of subjects."""
    num_films: int
    """Scored films of the group; of a mean all."""
    num_subjects: int
    num_pos_subjects: int | None = None
    """Subjects with the finding; None for a mean."""
    num_neg_subjects: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        return {**vars(self), "auroc": self.auroc.to_dict(), "gap": self.gap.to_dict()}


def score_subgroup(
    probs_NL: npt.ArrayLike,
    labels_NL: Labels,
    subject_ids_N: npt.NDArray[Any],
    findings: Sequence[str],
    groups: tuple[Mask, Mask],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fold_N: Cells | None = None,
) -> list[SubgroupScore]:
    """Return the mean over findings, then each finding, of the films of a group, compared with the films of the rest.

    Films are ranked among those of their group alone, with folds also of their fold. The mean is over findings that are
    defined in both. Its interval, as that of a gap, is from resamples of all subjects: one with films in group and rest
    takes part in both.

    Shapes: [N, L], [N, L], [N], group and rest [N].
    Raises: DataError if a subject_id is missing.
    """
    probs_NL = np.asarray(probs_NL, dtype=np.float64)
    counts_RN = draw_subject_counts(subject_ids_N, num_resamples, seed)
    fold_N = np.zeros(len(labels_NL), np.int64) if fold_N is None else fold_N
    num_L = [count_subjects(labels_NL[films_N], subject_ids_N[films_N]) for films_N in groups]
    rows, aurocs, gaps = [], [], []
    for column, finding in enumerate(findings):
        own, rest = (
            _measure(probs_NL[films, column], labels_NL[films, column], fold_N[films], counts_RN[:, films])
            for films in groups
        )
        rarer = [int(min(pos_L[column], neg_L[column])) for pos_L, neg_L in num_L]
        gap = own[0] - rest[0], own[1] - rest[1]
        films, without_S = groups[0], None
        if rarer[0] < BCA_BELOW and not math.isnan(own[0]):
            without_S = _leave_out(
                probs_NL[films, column], labels_NL[films, column], fold_N[films], subject_ids_N[films]
            )
        labels_N = labels_NL[groups[0], column]
        rows.append(
            SubgroupScore(
                finding=finding,
                auroc=choose_interval("auroc", *own, without_S, rarer[0], level),
                gap=percentile_interval(*gap, min(rarer), level),
                num_films=int((labels_N >= 0).sum()),
                num_subjects=len(np.unique(subject_ids_N[groups[0]][labels_N >= 0])),
                num_pos_subjects=int(num_L[0][0][column]),
                num_neg_subjects=int(num_L[0][1][column]),
            )
        )
        if not math.isnan(gap[0]):
            aurocs.append((*own, rarer[0]))
            gaps.append((*gap, min(rarer)))
    mean, gap_of_means = average_defined(aurocs, level), average_defined(gaps, level)
    if len(aurocs) == 1:  # the mean of one finding has its interval
        mean = next(row.auroc for row in rows if not math.isnan(row.gap.value))
    num_subjects = len(np.unique(subject_ids_N[groups[0]]))
    return [SubgroupScore(MACRO, mean, gap_of_means, int(groups[0].sum()), num_subjects), *rows]


def _leave_out(scores_N: Floats, labels_N: Labels, fold_N: Cells, subject_ids_N: npt.NDArray[Any]) -> Floats:
    """Return the AUROC of these films without each of their subjects, [S]."""
    subjects_S, subject_N = np.unique(subject_ids_N, return_inverse=True)
    rows = max(1, MAX_COUNTS_BYTES // (2 * len(subject_N)))
    chunks = [np.arange(len(subjects_S))[start : start + rows] for start in range(0, len(subjects_S), rows)]
    found = [
        auroc_within(scores_N, labels_N, fold_N, (chunk[:, None] != subject_N).astype(np.uint16))[0] for chunk in chunks
    ]
    return np.concatenate(found)


def _measure(scores_N: Floats, labels_N: Labels, fold_N: Cells, counts_RN: npt.NDArray[Any]) -> tuple[float, Floats]:
    """Return the AUROC of these films, and in each resample."""
    once_1N = np.ones((1, len(labels_N)), np.uint16)
    value = float(auroc_within(scores_N, labels_N, fold_N, once_1N)[0][0])
    if math.isnan(value):
        return value, np.full(len(counts_RN), np.nan)
    return value, auroc_within(scores_N, labels_N, fold_N, counts_RN)[0]
