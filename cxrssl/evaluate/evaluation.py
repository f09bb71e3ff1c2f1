"""One evaluation: a candidate's features, a linear probe on them, and its scores on every test film.

In: a candidate and a cohort. Out: `evals/<eval_id>/{predictions.npz, probe.npz, scores.json, manifest.json}`.
Never: a test film or subject that the candidate was pretrained on, or a test film left out.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Audit
from cxrssl.audit.evaluated import EVALUATION_KIND as KIND
from cxrssl.audit.evaluated import NOT_SCORED, PREDICTIONS_FILE, PROBE_FILE
from cxrssl.audit.gate import audit_candidate, leave_out_twins
from cxrssl.cohort.read import SPLITS, Cohort
from cxrssl.core.artefact import is_published, open_artefact, publish
from cxrssl.core.config import setting
from cxrssl.core.durable import hash_settings, write_bytes, write_json
from cxrssl.core.errors import DataError, LeakageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.probe import fit_linear_probe
from cxrssl.images.store import ImageStore
from cxrssl.stats.scores import Comparison, compare_predictions, score_predictions

MAX_LOGIT = 500.0
PROTOCOL_VERSION = 2
"""Raise it when the way of fitting or scoring changes: evaluations are then made anew."""


@dataclass(frozen=True)
class ProbeSettings:
    """Everything about a probe that changes its numbers."""

    uncertain: Literal["ignore", "zeros", "ones"] = setting("ignore", options=("ignore", "zeros", "ones"))
    """What a label of -1 counts as."""
    blank: Literal["zeros", "ignore"] = setting("zeros", options=("zeros", "ignore"))
    """What a label that is not mentioned counts as."""
    num_resamples: int = setting(1000, low=10, high=100_000)
    seed: int = setting(0, low=0, high=2**31)


@dataclass(frozen=True)
class Evaluation:
    """A published evaluation."""

    eval_id: str
    settings: dict[str, Any]
    scores: dict[str, Any]
    path: Path

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Return `image_id`, `subject_id` [N], `logits`, `labels` [N, L] and `finding_names` [L] of the test films."""
        with np.load(self.path / PREDICTIONS_FILE, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


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
        candidate.kind, candidate.settings.get("features", ()), candidate.pretraining, cohort, images, scheme
    )
    leak = describe_leaks(audit)
    if leak and not may_overlap:
        raise LeakageError(leak, candidate.candidate_id, f"{audit.refusals[0].hint}; or --allow-overlap")
    settings = {
        "candidate_id": candidate.candidate_id,
        "kind": candidate.kind,
        "label": candidate.label,
        "candidate": candidate.settings,
        "is_outcome_used": candidate.is_outcome_used,
        "leak": leak,
        "cohort": cohort.name,
        "dataset": cohort.dataset,
        "link": cohort.link,
        "split": scheme,
        "cohort_sha256": cohort.content_sha256,
        "images_sha256": images.content_sha256,
        "protocol_version": PROTOCOL_VERSION,
        "probe": asdict(probe),
    }
    eval_id = f"{candidate.candidate_id}-on-{cohort.name}-{scheme}-{hash_settings(settings)[:8]}"
    path = workspace.evals / eval_id
    if not is_published(path, KIND, settings):
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
        left_out = {"num_not_packed": num_not_packed, "num_twins_left_out": num_twins, "not_fitted": not_fitted}
        predictions = {
            "image_id": cohort.image_id[rows["test"]],
            "subject_id": subjects,
            "logits": logits,
            "labels": truth,
            "finding_names": np.array(findings),
        }
        fit = {"fitted_on": rows["train"], "mean_D": fitted.mean_D, "scale_D": fitted.scale_D}
        with publish(path, KIND, settings) as building:
            write_bytes(building / PREDICTIONS_FILE, _pack_arrays(predictions))
            write_bytes(building / PROBE_FILE, _pack_arrays(fit))
            write_json(building / "scores.json", {**scores.to_dict(), **left_out})
    return open_evaluation(path)


def open_evaluation(path: Path) -> Evaluation:
    """Return a published evaluation after checking its hashes."""
    artefact = open_artefact(path, KIND)
    return Evaluation(path.name, artefact.settings, json.loads((path / "scores.json").read_text()), path)


def list_evaluations(workspace: Workspace) -> list[Evaluation]:
    """Return all published evaluations of a workspace, in the order of their ids."""
    if not workspace.evals.is_dir():
        return []
    folders = [path for path in workspace.evals.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return [open_evaluation(path) for path in sorted(folders)]


def describe_leaks(audit: Audit) -> str:
    """Return what refuses as one sentence, and "" when nothing does."""
    return "; ".join(result.finding for result in audit.refusals)


def _pack_arrays(arrays: dict[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _packed_rows(cohort: Cohort, images: ImageStore, split: str, scheme: str) -> NDArray[np.int64]:
    rows: NDArray[np.int64] = cohort.rows_of(split, scheme)
    rows = rows[images.is_packed_N[rows]]
    if not len(rows):
        raise DataError(f"cohort {cohort.name} has no {split} film in split {scheme}", hint="choose another --split")
    return rows


def compare_evaluations(a: Evaluation, b: Evaluation) -> Comparison:
    """Return the paired differences a - b of two evaluations on the same test films.

    Raises: DataError when their films, labels or resampling settings are not the same.
    """
    first, second = a.predictions(), b.predictions()
    same = all(np.array_equal(first[name], second[name]) for name in ("image_id", "labels", "finding_names"))
    if not same or a.settings["probe"] != b.settings["probe"]:
        raise DataError("these evaluations are not of the same test films and labels", f"{a.eval_id}, {b.eval_id}")
    return compare_predictions(
        first["logits"],
        second["logits"],
        first["labels"],
        first["subject_id"],
        [str(name) for name in first["finding_names"]],
        num_resamples=int(a.settings["probe"]["num_resamples"]),
        seed=int(a.settings["probe"]["seed"]),
    )
