"""Groups of films with neighbouring scores in which no cell is small: what a reliability diagram may show.

In: scores, labels and subject_ids of films. Out: groups with intervals over subjects.
Never: a group with fewer subjects with the finding, or without it, than asked for, unless there is but one group.

Suffix letters: N films, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.stats.calibration import NUM_BINS, Labels
from cxrssl.stats.metrics import Floats, Integers, check_finite
from cxrssl.stats.resample import Interval, count_subjects, percentile_interval


@dataclass(frozen=True, eq=False)
class Group:
    """Films of neighbouring scores."""

    rows: npt.NDArray[np.int64]
    observed: Interval
    """Share of the films with the finding."""


def group_films(
    scores_N: Floats,
    labels_N: Labels,
    subject_ids_N: npt.NDArray[Any],
    counts_RN: Integers,
    least: int,
    level: float = 0.95,
) -> list[Group]:
    """Return groups of films with the share of each that has the finding; see `find_groups`.

    Shapes: [N], [N], [N], [R, N].
    Raises: DataError if a score is not finite.
    """
    groups = find_groups(scores_N, labels_N, subject_ids_N, least)
    return [_measure(np.sort(rows), labels_N, subject_ids_N, counts_RN, level) for rows in groups]


def find_groups(
    scores_N: Floats, labels_N: Labels, subject_ids_N: npt.NDArray[Any], least: int
) -> list[npt.NDArray[np.int64]]:
    """Return the rows of groups, scores descending; labels 1, 0, -1 = not scored. None where one group would be small.

    Tenths of the films, as `calibration.score_calibration` makes them, neighbours joined from the highest down until
    each has `least` subjects with the finding and as many without it; what is left over joins the last.

    Shapes: [N], [N], [N].
    Raises: DataError if a score is not finite.
    """
    scored = np.flatnonzero(labels_N >= 0)
    check_finite(scores_N[scored])
    if not len(scored):
        return []
    edges = np.unique(np.quantile(scores_N[scored], np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    bin_N = np.searchsorted(edges, scores_N[scored], side="right")
    groups: list[npt.NDArray[np.int64]] = []
    waiting = np.empty(0, np.int64)
    for number in np.unique(bin_N)[::-1]:
        waiting = np.concatenate([waiting, scored[bin_N == number]])
        if _has(waiting, labels_N, subject_ids_N, least):
            groups.append(waiting)
            waiting = np.empty(0, np.int64)
    if groups and len(waiting):
        groups[-1] = np.concatenate([groups[-1], waiting])
    return groups


def _has(rows: npt.NDArray[np.int64], labels_N: Labels, subject_ids_N: npt.NDArray[Any], least: int) -> bool:
    pos_1, neg_1 = count_subjects(labels_N[rows, None], subject_ids_N[rows])
    return bool(min(int(pos_1[0]), int(neg_1[0])) >= least)


def _measure(
    rows: npt.NDArray[np.int64], labels_N: Labels, subject_ids_N: npt.NDArray[Any], counts_RN: Integers, level: float
) -> Group:
    is_pos_N, counts_RN = labels_N[rows] == 1, counts_RN[:, rows]
    num_R = counts_RN.sum(axis=1, dtype=np.int64)
    shares_R = np.where(num_R > 0, counts_RN @ is_pos_N.astype(np.float64) / np.maximum(num_R, 1), np.nan)
    num_subjects = len(np.unique(subject_ids_N[rows]))
    return Group(rows, percentile_interval(float(is_pos_N.mean()), shares_R, num_subjects, level))
