"""The probe of the record alone: a column that says little costs little, so that more columns do not make it worse.

In: columns, labels and subjects of train films. Out: LinearProbe. Never: a val or test film, or a choice of strength by
films of a subject that was fitted on.

Suffix letters: N films, D columns, L findings, K folds, S pairs of a power and a strength.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.evaluate.folds import assign_folds, choose_place, find_judges
from cxrssl.evaluate.probe import STRENGTHS, LinearProbe, count_scored_subjects, fit_probe_path, fit_scaling
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import MIN_SUBJECTS

POWERS = (0.0, 1.0, 2.0)
NUM_FOLDS = 5
Columns = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int8]


def fit_shrunk_probe(
    columns_ND: Columns,
    labels_NL: Labels,
    subject_ids_N: npt.NDArray[Any],
    seed: int,
    strengths: Sequence[float] = STRENGTHS,
) -> LinearProbe:
    """Return the probe of highest mean AUROC in five folds of the train subjects, of equals the first.

    Two things are chosen, both for all findings: the strength, and the power p of `weigh_columns`. With p = 0 all
    columns are alike; the larger it is, the more of the penalty lies on columns that go with no finding. Val has no
    part in it: on a small one, luck decides between strengths.

    Shapes: [N, D], [N, L], [N].
    Source: Zou 2006 (JASA 101:1418), weights by a first estimate; here for a ridge penalty, from correlations.
    Raises: DataError if a column is not finite, there is no row, or a fit does not converge.
    """
    strength_S = np.unique(strengths)
    aurocs_KSL = _judge(columns_ND, labels_NL, subject_ids_N, strength_S, seed)
    power, place = divmod(choose_place(aurocs_KSL), len(strength_S))
    stretch_D = weigh_columns(columns_ND, labels_NL, POWERS[power])
    path = fit_probe_path(columns_ND, labels_NL, [strength_S[place]], stretch_D=stretch_D)
    return path.choose(np.zeros(path.biases_SL.shape), path.is_fitted_L & find_judges(aurocs_KSL))


def weigh_columns(columns_ND: Columns, labels_NL: Labels, power: float) -> Floats:
    """Return r_d^power, r_d the root mean square over findings of the correlation of column d, 1 for the largest.

    Shapes: [N, D], [N, L] -> [D].
    """
    x_ND: Floats = columns_ND.astype(np.float64)
    mean_D, scale_D = fit_scaling(x_ND)
    known_NL = labels_NL >= 0
    pos_NL = np.where(known_NL, labels_NL, 0).astype(np.float64)
    num_L = np.maximum(known_NL.sum(axis=0), 1)
    share_L = pos_NL.sum(axis=0) / num_L
    apart_NL = np.where(known_NL, pos_NL - share_L, 0.0)
    spread_L = np.sqrt(share_L * (1 - share_L))
    asked_L = spread_L > 0
    covariance_DL = ((x_ND - mean_D) / scale_D).T @ apart_NL[:, asked_L] / num_L[asked_L]
    strength_D = np.sqrt(np.square(covariance_DL / spread_L[asked_L]).sum(axis=1))
    most = strength_D.max(initial=0.0)
    weights_D: Floats = (strength_D / most) ** power if most > 0 else np.ones(len(strength_D))
    return weights_D


def _judge(
    columns_ND: Columns, labels_NL: Labels, subject_ids_N: npt.NDArray[Any], strength_S: Floats, seed: int
) -> Floats:
    """AUROC on each fold of what was fitted on the others, [K, S, L]: strengths within powers; nan if not defined."""
    num_folds = min(NUM_FOLDS, len(np.unique(subject_ids_N)))
    num_settings, num_findings = len(POWERS) * len(strength_S), labels_NL.shape[1]
    if num_folds < MIN_SUBJECTS:
        return np.full((1, num_settings, num_findings), np.nan)
    fold_N = assign_folds(labels_NL, subject_ids_N, num_folds, seed)
    aurocs = []
    for k in range(num_folds):
        seen, val = fold_N != k, fold_N == k
        x_ND, y_NL = columns_ND[seen], labels_NL[seen]
        paths = [
            fit_probe_path(x_ND, y_NL, strength_S.tolist(), stretch_D=weigh_columns(x_ND, y_NL, power))
            for power in POWERS
        ]
        may_judge_L = count_scored_subjects(labels_NL[val], subject_ids_N[val]) >= MIN_SUBJECTS
        found_SL = np.concatenate([path.measure(columns_ND[val], labels_NL[val]) for path in paths])
        aurocs.append(np.where(may_judge_L, found_SL, np.nan))
    return np.stack(aurocs)
