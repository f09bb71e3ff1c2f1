"""One evaluation: a candidate's features, a linear probe on them, and its scores on every test film.

In: a candidate and a cohort. Out: `evals/<eval_id>/{predictions.npz, probe.npz, scores.json, manifest.json}`.
Never: a test film or subject that the candidate was pretrained on, or a test film left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Audit
from cxrssl.audit.gate import audit_candidate, leave_out_twins
from cxrssl.cohort.read import SPLITS, Cohort
from cxrssl.core.artefact import is_published
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError, LeakageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.probe import fit_linear_probe
from cxrssl.images.store import ImageStore
from cxrssl.records.arrays import Predictions, ProbeFit
from cxrssl.records.evaluation import (
    KIND,
    NOT_SCORED,
    EvalScores,
    EvalSettings,
    Evaluation,
    ProbeSettings,
    open_evaluation,
    publish_evaluation,
)
from cxrssl.stats.scores import score_predictions

MAX_LOGIT = 500.0
PROTOCOL_VERSION = 2
"""Raise it when the way of fitting or scoring changes: evaluations are then made anew."""


def evaluate_candidate(
    workspace: Workspace,
    candidate: Candidate,
    cohort: Cohort,
    images: ImageStore,
    scheme: str,
    probe: ProbeSettings,
    may_overlap: bool = False,
) -> Evaluation:
    """Fit the probe on train films, choose its strength on validation films, score all test films, publish.

    Train and val films that a later split shows too are left out and counted. An evaluation that is already published
    with the same settings is returned as it is.

    Raises: LeakageError when the audit of the candidate refuses, unless `may_overlap`: then every report says so in its
    first line. DataError when a split has no film.
    """
    packed = {split: _packed_rows(cohort, images, split, scheme) for split in SPLITS}
    rows = {split: leave_out_twins(cohort, images, scheme, packed[split]) for split in SPLITS}
    num_not_packed = len(cohort.rows_of("test", scheme)) - len(rows["test"])
    audit = audit_candidate(
        candidate.kind, candidate.settings.features or (), candidate.pretraining, cohort, images, scheme
    )
    leak = describe_leaks(audit)
    if leak and not may_overlap:
        raise LeakageError(leak, candidate.candidate_id, f"{audit.refusals[0].hint}; or --allow-overlap")
    settings = EvalSettings(
        candidate_id=candidate.candidate_id,
        kind=candidate.kind,
        label=candidate.label,
        candidate=candidate.settings,
        is_outcome_used=candidate.is_outcome_used,
        leak=leak,
        cohort=cohort.name,
        dataset=cohort.dataset,
        link=cohort.link,
        split=scheme,
        cohort_sha256=cohort.content_sha256,
        images_sha256=images.content_sha256,
        protocol_version=PROTOCOL_VERSION,
        probe=probe,
    )
    digest = hash_settings(settings.to_dict())[:8]
    eval_id = f"{candidate.candidate_id}-on-{cohort.name}-{scheme}-{digest}"
    path = workspace.evals / eval_id
    if not is_published(path, KIND, settings.to_dict()):
        features = candidate.features()
        findings = [str(name) for name in cohort.finding_names]
        labels = cohort.labels(findings, probe.uncertain, probe.blank)
        fitted = fit_linear_probe(
            features[rows["train"]], labels[rows["train"]], features[rows["val"]], labels[rows["val"]]
        )
        # Logits rank better than probabilities near 0 and 1, which tie; a finding that could not be fitted is infinite.
        logits = np.clip(fitted.predict_logits(features[rows["test"]]), -MAX_LOGIT, MAX_LOGIT)
        subjects = cohort.subject_id[rows["test"]]
        # A finding without both classes in train has no probe: it is not scored, rather than scored as a coin.
        truth = np.where(fitted.is_fitted_L, labels[rows["test"]], NOT_SCORED).astype(np.int8)
        not_fitted = [name for name, is_fitted in zip(findings, fitted.is_fitted_L, strict=True) if not is_fitted]
        scores = score_predictions(
            logits, truth, subjects, findings, num_resamples=probe.num_resamples, seed=probe.seed
        )
        num_twins = {split: len(packed[split]) - len(rows[split]) for split in SPLITS}
        predictions = Predictions(cohort.image_id[rows["test"]], subjects, logits, truth, np.array(findings))
        publish_evaluation(
            path,
            settings,
            EvalScores.of(scores, num_not_packed, num_twins, tuple(not_fitted)),
            predictions,
            ProbeFit(rows["train"], fitted.mean_D, fitted.scale_D),
        )
    return open_evaluation(path)


def describe_leaks(audit: Audit) -> str:
    """Return what refuses as one sentence, and "" when nothing does."""
    return "; ".join(result.finding for result in audit.refusals)


def _packed_rows(cohort: Cohort, images: ImageStore, split: str, scheme: str) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = cohort.rows_of(split, scheme)
    rows = rows[images.is_packed_N[rows]]
    if not len(rows):
        raise DataError(f"cohort {cohort.name} has no {split} film in split {scheme}", hint="choose another --split")
    return rows
