"""Which probe a candidate gets: of an encoder one that val chooses, of the record alone one that folds of train choose,
of both joined one with two strengths.

In: a plan, features and labels of all films of the cohort. Out: probes with the strengths that were chosen, by name.
Never: a choice in which a scored film had a part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.evaluate.folds import CrossFit, cross_fit, score_folds
from cxrssl.evaluate.joined import cross_fit_joined, fit_joined_probe
from cxrssl.evaluate.patches import PatchProbe, fit_patch_probe
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.evaluate.probe import LinearProbe, fit_linear_probe
from cxrssl.evaluate.reading import KnnProbe, fit_knn
from cxrssl.evaluate.shrink import fit_shrunk_probe
from cxrssl.evaluate.tuned import TunedProbe
from cxrssl.records.scores import ALL, FOLD
from cxrssl.stats.metrics import Floats

Features = NDArray[np.floating[Any]]
Labels = NDArray[np.int8]
AnyProbe = LinearProbe | KnnProbe | PatchProbe | TunedProbe
Strengths = dict[str, float]
OF_FILM, OF_RECORD = "film", "record"
"""The two strengths where the record is joined to an encoder."""


def fit_split(plan: EvalPlan, features_ND: Any, labels_NL: Labels) -> tuple[AnyProbe, Strengths]:
    """Return the probe fitted on the train films of a plan; of neighbours nothing is chosen."""
    train, val = plan.rows["train"], plan.rows["val"]
    if plan.reading.kind == "knn":
        return fit_knn(features_ND[train], labels_NL[train], plan.reading.count), {}
    if plan.reading.pooling:
        of_val = features_ND[val], labels_NL[val], plan.cohort.subject_id[val]
        patches = fit_patch_probe(features_ND[train], labels_NL[train], *of_val, plan.reading.pooling)
        return patches, {ALL: patches.strength} if patches.is_fitted_L.any() else {}
    x_ND, y_NL, subject_N = features_ND[train], labels_NL[train], plan.cohort.subject_id
    if plan.num_joined:
        x_val_ND, y_val_NL = features_ND[val], labels_NL[val]
        probe, of_record = fit_joined_probe((x_ND, y_NL), (x_val_ND, y_val_NL), subject_N[val], plan.num_joined)
        return probe, {OF_FILM: probe.strength, OF_RECORD: of_record} if probe.is_fitted_L.any() else {}
    if plan.is_chosen_in_train:
        probe = fit_shrunk_probe(x_ND, y_NL, subject_N[train], plan.settings.probe.seed)
    else:
        probe = fit_linear_probe(x_ND, y_NL, features_ND[val], labels_NL[val], val_subject_ids_N=subject_N[val])
    return probe, {ALL: probe.strength} if probe.is_fitted_L.any() else {}


def fit_folds(
    plan: EvalPlan, features_RD: Features, labels_RL: Labels, fold_R: NDArray[np.int64]
) -> tuple[CrossFit, Strengths]:
    """Return the probes of all folds of the scored films of a plan."""
    subject_R, seed = plan.cohort.subject_id[plan.rows["test"]], plan.settings.probe.seed

    def fit(k: int) -> LinearProbe | KnnProbe:
        seen = fold_R != k
        if plan.reading.kind == "knn":
            return fit_knn(features_RD[seen], labels_RL[seen], plan.reading.count)
        return fit_shrunk_probe(features_RD[seen], labels_RL[seen], subject_R[seen], seed)

    of_record: Floats = np.empty(0)
    if plan.num_joined:
        fitted, of_record = cross_fit_joined(features_RD, labels_RL, fold_R, subject_R, plan.num_joined)
    elif plan.is_chosen_in_train or plan.reading.kind == "knn":
        fitted = score_folds(features_RD, labels_RL, fold_R, fit, np.zeros(labels_RL.shape[1], np.bool_))
    else:
        fitted = cross_fit(features_RD, labels_RL, fold_R, subject_R)
    if not fitted.is_fitted_L.any() or plan.reading.kind == "knn":
        return fitted, {}
    strengths = {f"{FOLD}{k + 1}": float(each) for k, each in enumerate(fitted.strength_K)}
    return fitted, strengths | {f"{FOLD}{k + 1}, {OF_RECORD}": float(each) for k, each in enumerate(of_record)}
