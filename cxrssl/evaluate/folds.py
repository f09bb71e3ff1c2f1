"""Every film scored by a probe that was fitted on other people: k folds by patient, for cohorts too small for a split.

In: features, labels and persons of all films. Out: the fold of each film, CrossFit.
Never: a person in two folds, or a strength that the scored fold had a part in.

Suffix letters: N films, D features, L findings, K folds, S strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.core.errors import DataError
from cxrssl.core.seed import derive_seed
from cxrssl.evaluate.probe import STRENGTHS, LinearProbe, count_scored_subjects, fit_probe_path, prevalence_logit
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import MIN_SUBJECTS

Folds = npt.NDArray[np.int64]
Stretch = Callable[[npt.NDArray[np.floating[Any]], npt.NDArray[np.int8]], Floats]
"""From fitted features and labels to `stretch_D` of `fit_probe_path`."""


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Probes of all folds, each fitted on the films of the others."""

    logits_NL: Floats
    """Of each film by the probe that has not seen its fold, relative to the log odds of that probe's train films."""
    strength_K: Floats
    is_fitted_L: npt.NDArray[np.bool_]
    """False where the films outside some fold hold one class only: such a finding is scored nowhere."""
    is_judged_L: npt.NDArray[np.bool_]
    """Whether the finding had a part in the choice of the strength of some fold."""
    mean_KD: Floats
    scale_KD: Floats


def assign_folds(labels_NL: npt.NDArray[np.int8], group_N: npt.NDArray[Any], num_folds: int, seed: int) -> Folds:
    """Return the fold of each film, films of one group together and rare findings spread evenly.

    Groups are dealt by the rarest finding that they show, each to the fold with the fewest films of that finding.
    A function of the labels, the groups, their order and the seed.

    Shapes: [N, L], [N] -> [N].
    Source: Sechidis et al. 2011 (On the stratification of multi-label data), section 3, with groups in place of films.
    Raises: DataError with fewer groups than folds.
    """
    _, group_N = np.unique(group_N, return_inverse=True)
    num_groups = int(group_N.max(initial=-1)) + 1
    if num_groups < num_folds:
        raise DataError(f"{num_folds} folds need as many subjects, and there are {num_groups}", hint="choose fewer")
    num_pos_L = (labels_NL == 1).sum(axis=0)
    rarest_first = np.argsort(num_pos_L, kind="stable")
    shows = labels_NL[:, rarest_first] == 1
    stratum_N = np.where(shows.any(axis=1), shows.argmax(axis=1), labels_NL.shape[1])
    stratum_G = np.full(num_groups, labels_NL.shape[1])
    np.minimum.at(stratum_G, group_N, stratum_N)
    size_G = np.bincount(group_N, minlength=num_groups)
    draws = np.random.Generator(np.random.PCG64(derive_seed(seed, 0, "folds"))).permutation(num_groups)
    fold_G = np.empty(num_groups, np.int64)
    in_stratum = np.zeros((labels_NL.shape[1] + 1, num_folds), np.int64)
    for group in np.lexsort((draws, -size_G, stratum_G)):
        stratum = stratum_G[group]
        fold = np.lexsort((np.arange(num_folds), in_stratum.sum(axis=0), in_stratum[stratum]))[0]
        fold_G[group] = fold
        in_stratum[stratum, fold] += size_G[group]
    return fold_G[group_N]


def cross_fit(
    features_ND: npt.NDArray[np.floating[Any]],
    labels_NL: npt.NDArray[np.int8],
    fold_N: Folds,
    subject_ids_N: npt.NDArray[Any],
    strengths: Sequence[float] = STRENGTHS,
) -> CrossFit:
    """Return the probes of all folds. The strength of a fold is the one of highest AUROC on each other fold in turn.

    For a fold k, each other fold j is judged by probes that have seen neither; the mean is over findings and j. The
    probe of k is then fitted on all other folds. A probe of one pair (j, k) serves both, so that K folds take
    K (K - 1) / 2 paths and K fits.

    Logits are given relative to the log odds of the train films. Even so they are to be ranked within a fold alone: see
    `stats.scores`.

    Shapes: [N, D], [N, L], [N], [N].
    Raises: DataError if a feature is not finite, or a fit does not converge.
    """
    aurocs_KKSL = judge_pairs(features_ND, labels_NL, fold_N, subject_ids_N, strengths)

    def fit(k: int) -> LinearProbe:
        seen = fold_N != k
        strength = np.unique(strengths)[choose_place(aurocs_KKSL[k])]
        path = fit_probe_path(features_ND[seen], labels_NL[seen], [strength])
        return path.choose(np.full(path.biases_SL.shape, np.nan))

    is_judged_L = np.asarray(~np.isnan(aurocs_KKSL).all(axis=(0, 1, 2)))
    return score_folds(features_ND, labels_NL, fold_N, fit, is_judged_L)


def score_folds(
    features_ND: npt.NDArray[np.floating[Any]],
    labels_NL: npt.NDArray[np.int8],
    fold_N: Folds,
    fit: Callable[[int], Any],
    is_judged_L: npt.NDArray[np.bool_],
) -> CrossFit:
    """Return each film's logits by the probe that `fit` returns for its fold, fitted on the films of the others.

    `is_judged_L` says what had a part in a choice that the probes themselves do not know of.
    """
    logits_NL = np.empty(labels_NL.shape)
    probes = []
    for k in range(int(fold_N.max()) + 1):
        scored, seen = fold_N == k, fold_N != k
        probes.append(fit(k))
        with np.errstate(invalid="ignore"):  # infinite where it is not fitted
            logits_NL[scored] = probes[k].predict_logits(features_ND[scored]) - prevalence_logit(labels_NL[seen])
    is_fitted_L = np.all([probe.is_fitted_L for probe in probes], axis=0)
    return CrossFit(
        # Digits beyond those of the fit would break ties, and rank a collapsed encoder's films by their folds.
        logits_NL=np.where(is_fitted_L, np.round(logits_NL, 9), 0.0),
        strength_K=np.array([probe.strength for probe in probes]),
        is_fitted_L=is_fitted_L,
        is_judged_L=np.any([is_judged_L, *(probe.is_judged_L for probe in probes)], axis=0) & is_fitted_L,
        mean_KD=np.stack([probe.mean_D for probe in probes]),
        scale_KD=np.stack([probe.scale_D for probe in probes]),
    )


def judge_pairs(
    features_ND: npt.NDArray[np.floating[Any]],
    labels_NL: npt.NDArray[np.int8],
    fold_N: Folds,
    subject_ids_N: npt.NDArray[Any],
    strengths: Sequence[float],
    stretch: Stretch | None = None,
) -> Floats:
    """AUROC on fold j of probes that have seen neither j nor k, [k, j, S, L]; nan where it is not defined."""
    num_folds = int(fold_N.max()) + 1
    aurocs_KKSL = np.full((num_folds, num_folds, len(strengths), labels_NL.shape[1]), np.nan)
    for j, k in combinations(range(num_folds), 2):
        seen = (fold_N != j) & (fold_N != k)
        x_ND, y_NL = features_ND[seen], labels_NL[seen]
        path = fit_probe_path(x_ND, y_NL, strengths, stretch_D=stretch(x_ND, y_NL) if stretch else None)
        for judge, other in ((j, k), (k, j)):
            val = fold_N == judge
            may_judge_L = count_scored_subjects(labels_NL[val], subject_ids_N[val]) >= MIN_SUBJECTS
            aurocs_KKSL[other, judge] = np.where(may_judge_L, path.measure(features_ND[val], labels_NL[val]), np.nan)
    return aurocs_KKSL


def find_judges(aurocs_KSL: Floats) -> npt.NDArray[np.bool_]:
    """Return the findings that have an AUROC at each setting in some fold: they choose the setting, [L]."""
    return np.asarray((~np.isnan(aurocs_KSL)).any(axis=0).all(axis=0))


def choose_place(aurocs_KSL: Floats) -> int:
    """The setting of highest mean over findings of means over folds, the first of equals; else the middle one."""
    is_defined_KSL = ~np.isnan(aurocs_KSL)
    num_SL = is_defined_KSL.sum(axis=0)
    judges_L = find_judges(aurocs_KSL)
    if not judges_L.any():
        return (len(num_SL) - 1) // 2
    means_SL = np.where(is_defined_KSL, aurocs_KSL, 0.0).sum(axis=0)[:, judges_L] / num_SL[:, judges_L]
    return int(np.argmax(means_SL.mean(axis=1)))
