"""One evaluation: a candidate's features, a linear probe on them, and its scores on every test film.

In: a candidate and a cohort. Out: `evals/<eval_id>/{predictions.npz, scores.json, manifest.json}`.
Never: a test subject that the candidate was pretrained on, or a test film left out.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.read import Cohort
from cxrssl.core.artefact import hash_settings, is_published, open_artefact, publish, write_bytes, write_json
from cxrssl.core.config import setting
from cxrssl.core.errors import DataError, LeakageError
from cxrssl.core.text import count_noun
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.probe import fit_linear_probe
from cxrssl.evaluate.resample import Comparison, compare_predictions, score_predictions
from cxrssl.images.store import ImageStore

KIND = "evaluation"
MAX_LOGIT = 500.0
NOT_SCORED = -1
PROTOCOL_VERSION = 1
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
        with np.load(self.path / "predictions.npz", allow_pickle=False) as arrays:
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

    An evaluation that is already published with the same settings is returned as it is.

    Raises: LeakageError when a test subject was pretrained on, unless `may_overlap`: then every report says so in its
    first line. DataError when a split has no film.
    """
    rows = {split: _packed_rows(cohort, images, split, scheme) for split in ("train", "val", "test")}
    num_not_packed = len(cohort.rows_of("test", scheme)) - len(rows["test"])
    leak = describe_overlap(candidate, cohort, rows["test"])
    if leak and not may_overlap:
        hint = "probe with the split the run was pretrained on, or pretrain on train films only; or --allow-overlap"
        raise LeakageError(leak, candidate.candidate_id, hint)
    settings = {
        "candidate_id": candidate.candidate_id,
        "kind": candidate.kind,
        "label": candidate.label,
        "candidate": candidate.settings,
        "is_outcome_used": candidate.is_outcome_used,
        "leak": leak,
        "cohort": cohort.name,
        "dataset": cohort.dataset,
        "split": scheme,
        "cohort_sha256": cohort.content_hash(),
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
        left_out = {"num_not_packed": num_not_packed, "not_fitted": not_fitted}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            image_id=cohort.image_id[rows["test"]],
            subject_id=subjects,
            logits=logits,
            labels=truth,
            finding_names=np.array(findings),
        )
        with publish(path, KIND, settings) as building:
            write_bytes(building / "predictions.npz", buffer.getvalue())
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


def describe_overlap(candidate: Candidate, cohort: Cohort, test_rows: NDArray[np.int64]) -> str:
    """Return a sentence when test subjects took part in pretraining, and "" when none did."""
    if candidate.pretrained_dataset != cohort.dataset:
        return ""
    seen = set(candidate.pretrained_on.values())
    shared = {subject for subject in cohort.subject_id[test_rows].tolist() if subject in seen}
    if not shared:
        return ""
    return f"{count_noun(len(shared), 'test subject')} of cohort {cohort.name} took part in pretraining"


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
