"""Test films scored by the head of a run that learnt labels: nothing is fitted, and there is no strength.

In: the plan of an evaluation, the run's head, the features of its encoder. Out: a published evaluation with thresholds
and maps of calibration that val films fitted, as of any probe.
Never: a finding of another name, unless the table of names says that it is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.finding_names import shared_findings
from cxrssl.core.artefact import is_published
from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.before import check_head
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.fitted import predict_rows, record_fit
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.evaluate.probe import LinearProbe
from cxrssl.evaluate.subgroups import add_groups, is_grouped
from cxrssl.model.finding_head import FindingHead, open_head
from cxrssl.records.encoder import open_record
from cxrssl.records.eval_settings import HEAD, HEAD_PREFIX
from cxrssl.records.evaluation import KIND, Evaluation, open_evaluation, publish_evaluation
from cxrssl.records.fitted import has_fitted
from cxrssl.records.run import RunFiles
from cxrssl.records.scores import EvalScores
from cxrssl.records.subgroups import write_subgroups
from cxrssl.stats.scores import score_predictions


def read_head(workspace: Workspace, run_id: str) -> FindingHead:
    """Return the head of a finished run. Raises: DataError when it has none."""
    record = open_record(RunFiles(workspace.runs / run_id).encoder)
    check_head(record, run_id)
    return open_head(record.folder, record.head_sha256)


def head_candidate(run: Candidate, head: FindingHead) -> Candidate:
    """Return the run of a candidate with its own head in place of a probe."""
    return replace(
        run,
        candidate_id=f"{HEAD_PREFIX}{run.candidate_id}",
        kind=HEAD,
        label=f"{run.label}, its own head",
        settings=replace(run.settings, head_sha256=head.sha256),
        head=head,
    )


def evaluate_head(plan: EvalPlan, head: FindingHead, features: Callable[[], NDArray[np.float32]]) -> Evaluation:
    """Score all test films by a run's head, and publish that; what is published already is returned as it is.

    Raises: DataError when the head has none of the findings that are asked for.
    """
    assert plan.group_N is None, "folds are refused before"
    if is_published(plan.path, KIND, plan.settings.to_dict()):
        made = open_evaluation(plan.path)
        if has_fitted(made) and (made.scores.is_matched or not is_grouped(plan)):
            return made
    probe = _to_probe(plan, head)
    features_ND, labels_NL, how = features(), plan.labels(), plan.settings.probe
    test = predict_rows(plan, probe, features_ND, labels_NL, plan.rows["test"])
    scores = EvalScores.of(
        score_predictions(
            test.logits, test.labels, test.subject_id, plan.findings, num_resamples=how.num_resamples, seed=how.seed
        ),
        plan.num_not_packed,
        plan.num_twins_left_out,
        tuple(name for name, is_there in zip(plan.findings, probe.is_fitted_L, strict=True) if not is_there),
        num_left_out=plan.num_left_out,
    )
    scores, groups = add_groups(plan, scores, test, None)
    files = record_fit(plan, probe, features_ND, labels_NL, test).to_files() | write_subgroups(groups)
    publish_evaluation(plan.path, plan.settings, scores, test, None, files)
    return open_evaluation(plan.path)


def _to_probe(plan: EvalPlan, head: FindingHead) -> LinearProbe:
    """Return the head as a probe of the plan's findings; of those that it lacks there is none."""
    shared = {there: here for here, there in shared_findings(head.finding_names, plan.findings)}
    rows = [head.finding_names.index(shared[name]) if name in shared else -1 for name in plan.findings]
    is_there_L = np.array(rows) >= 0
    if not is_there_L.any():
        what = f"the head of the run has none of the findings that are asked for: {', '.join(head.finding_names)}"
        raise DataError(what, plan.cohort.folder)
    width = head.weight_LD.shape[1]
    return LinearProbe(
        weight_LD=np.where(is_there_L[:, None], head.weight_LD[rows], 0.0),
        bias_L=np.where(is_there_L, head.bias_L[rows], 0.0),
        mean_D=np.zeros(width),
        scale_D=np.ones(width),
        strength=math.nan,
        is_fitted_L=is_there_L,
        is_judged_L=np.zeros_like(is_there_L),
    )
