"""Scores of alike films and of groups of people: AUROC matched on view, sex and age band, and by group with gaps.

In: a plan, what was predicted. Out: scores with the matched ones, Subgroups. Never: a film of unknown sex among men or
women; an unknown value is a stratum of its own, and in no group.

Suffix letters: N films of the cohort, R scored films.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.groups import UNKNOWN, name_groups
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.records.arrays import Predictions
from cxrssl.records.eval_settings import HEAD, JOINED
from cxrssl.records.scores import EvalScores
from cxrssl.records.subgroups import Subgroup
from cxrssl.stats.matched import match_predictions
from cxrssl.stats.subgroups import score_subgroup

MATCHED_ON = ("view", "sex", "age")
GROUPED_BY = ("sex", "age", "view", "race", "insurance")
Index = NDArray[np.int64]


def is_grouped(plan: EvalPlan) -> bool:
    """Return whether alike films and groups are asked for: not of a share of the labels, of which there are many."""
    return plan.settings.probe.fraction is None


def add_groups(
    plan: EvalPlan, scores: EvalScores, predictions: Predictions, fold_R: Index | None
) -> tuple[EvalScores, tuple[Subgroup, ...]]:
    """Return scores with those of matched films, and of a trained encoder the scores of groups."""
    if not is_grouped(plan):
        return scores, ()
    is_encoder = plan.settings.kind in ("run", "external", JOINED, HEAD)
    return _match(plan, scores, predictions, fold_R), score_groups(plan, predictions, fold_R) if is_encoder else ()


def score_groups(plan: EvalPlan, predictions: Predictions, fold_R: Index | None) -> tuple[Subgroup, ...]:
    """Return the scores of each group of GROUPED_BY against all other films whose group is known."""
    rows, probe, groups = plan.rows["test"], plan.settings.probe, []
    for attribute in GROUPED_BY:
        group_R, names = name_groups(plan.cohort, attribute)
        group_R = group_R[rows]
        known = np.unique(group_R[group_R != UNKNOWN])
        for place in known if len(known) > 1 else ():
            masks = group_R == place, (group_R != place) & (group_R != UNKNOWN)
            scores = score_subgroup(
                predictions.logits,
                predictions.labels,
                predictions.subject_id,
                plan.findings,
                masks,
                num_resamples=probe.num_resamples,
                seed=probe.seed,
                fold_N=fold_R,
            )
            groups.append(Subgroup(attribute, names[place], tuple(scores)))
    return tuple(groups)


def _match(plan: EvalPlan, scores: EvalScores, predictions: Predictions, fold_R: Index | None) -> EvalScores:
    rows, probe = plan.rows["test"], plan.settings.probe
    groups = {name: name_groups(plan.cohort, name)[0][rows] for name in MATCHED_ON}
    matched_on = tuple(name for name, group_R in groups.items() if len(np.unique(group_R)) > 1)
    if not matched_on:
        return replace(scores, is_matched=True)
    of_films = np.stack([groups[name] for name in matched_on])
    stratum_R = np.unique(of_films, axis=1, return_inverse=True)[1].ravel()
    found, mean = match_predictions(
        predictions.logits,
        predictions.labels,
        predictions.subject_id,
        stratum_R,
        num_resamples=probe.num_resamples,
        seed=probe.seed,
        fold_N=fold_R,
    )
    matched = dict(zip(plan.findings, found, strict=True))
    return replace(scores, is_matched=True, matched_on=matched_on, matched=matched, macro_matched=mean)
