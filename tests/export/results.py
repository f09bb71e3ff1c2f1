"""A workspace with results of runs, made by the real code on drawn predictions, and names that must not leave it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from cxrssl.core.durable import hash_settings
from cxrssl.core.workspace import Workspace
from cxrssl.records.arrays import Predictions
from cxrssl.records.encoder import SeenFilms
from cxrssl.records.eval_settings import CandidateSettings, EvalSettings, ProbeSettings
from cxrssl.records.evaluation import publish_evaluation
from cxrssl.records.features import Architecture
from cxrssl.records.scores import Decoding, EvalScores
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import score_predictions
from tests.records.folders import ALIVE, make_encoder, make_run, metric, write_lines

PEOPLE, FILMS = "person-canary", "film-canary"
HOST, USER = "canary-host", "canaryuser"
NUM_FILMS, NUM_SUBJECTS, RESAMPLES = 240, 120, 50
COMMON = ("Edema", "Effusion", "Mass")
RARE = "Hernia"
"""Of six subjects."""


def make_results(root: Path, *, has_rare: bool = False, seeds: tuple[int, ...] = (0, 1), **changes: Any) -> Workspace:
    """Return a workspace with a vanilla run and one with the record for each seed, and their untrained encoders."""
    workspace = Workspace(root).create()
    workspace.mark()
    findings = (*COMMON, RARE) if has_rare else COMMON
    for seed in seeds:
        shape = Architecture("vit-tiny", 16, 224, 0.5, 0.25, seed)
        publish(workspace, f"random-s{seed}", "random-init", findings, 3 * seed, shape)
        for name, features in (("vanilla", ()), ("record", ("sex",))):
            run_id = f"{name}-s{seed}"
            write_run(workspace, run_id, features, seed)
            publish(workspace, run_id, "run", findings, 3 * seed + 1 + len(features), shape, features, **changes)
    publish(workspace, "view-only", "view-only", findings, 90)
    return workspace


def write_run(workspace: Workspace, run_id: str, features: tuple[str, ...], seed: int) -> None:
    """Write a finished run whose journals hold names that must not leave."""
    recipe = {"model": {"backbone": "vit-tiny"}, "ehr": {"features": list(features)}, "train": {"seed": seed}}
    process = {**ALIVE, "host": HOST}
    words: dict[str, Any] = {
        "recipe": recipe,
        "recipe_sha256": hash_settings(recipe),
        "num_twins_left_out": 30,
        "versions": {"who": USER},
        "commit": "c" * 40,
        "code_sha256": f"of {USER}",
    }
    folder = make_run(workspace, run_id, range(4), process=process, ehr=features, num_steps=4, **words)
    odd: dict[str, Any] = {
        "probe_auroc": 0.123456,
        "probe_auroc Hernia": 0.5,
        "films": f"{FILMS}-0001",
        f"{PEOPLE}_0001": 1.0,
    }
    write_lines(folder / "metrics-0001.jsonl", [metric(4, grad_norm="nan", **odd)])
    alarm = {
        "ts": 1_700_000_009.0,
        "event": "alarm",
        "step": 2,
        "what": f"{FILMS}-0001 of {PEOPLE}-0001 at /data/{USER}",
    }
    guard = {"ts": 1_700_000_010.0, "event": "guard", "step": 3, "what": "loss is nan", "rows": [7, 8]}
    finish = {"ts": 1_700_000_011.0, "event": "finish", "step": 4}
    write_lines(folder / "events.jsonl", [alarm, guard, finish])
    predictions = draw_predictions(COMMON, 0)
    hashes = np.full(NUM_FILMS, b"a" * 32)
    make_encoder(folder, films=SeenFilms(predictions.image_id, predictions.subject_id, hashes))


def publish(
    workspace: Workspace,
    candidate_id: str,
    kind: Any,
    findings: tuple[str, ...],
    number: int,
    shape: Architecture | None = None,
    features: tuple[str, ...] = (),
    **changes: Any,
) -> None:
    """Publish the evaluation of drawn predictions."""
    predictions = draw_predictions(findings, number)
    scores = score_predictions(
        predictions.logits, predictions.labels, predictions.subject_id, findings, num_resamples=RESAMPLES
    )
    about: dict[str, Any] = {"is_decoded": True, "decoded": decode(), "strengths": {"all": 0.1}}
    made = EvalScores.of(scores, 0, {}, (), **about)
    candidate = CandidateSettings(features, architecture=shape, setup_sha256="s" if shape else None)
    label = candidate_id.replace("-s", ", seed ") if kind == "random-init" else candidate_id.partition("-s")[0]
    settings = EvalSettings(
        candidate_id, kind, label, candidate, False, "mimic", "paper", "c", "i",
        ProbeSettings(num_resamples=RESAMPLES), dataset="mimic",
    )  # fmt: skip
    path = workspace.evals / f"{candidate_id}-on-mimic-paper-0"
    publish_evaluation(path, dataclasses.replace(settings, **changes), made, predictions, None)


def decode() -> dict[str, Decoding]:
    """Return what was decoded: one feature of all films, one of few people."""
    few, many = (Interval(0.71234567, 0.61, 0.81, RESAMPLES, RESAMPLES, num) for num in (4, 40))
    return {"sex": Decoding("AUROC", many, NUM_FILMS, NUM_SUBJECTS), "race": Decoding("AUROC", few, NUM_FILMS, 60)}


def draw_predictions(findings: tuple[str, ...], number: int) -> Predictions:
    """Return predictions of films that know a little of the labels, which are the same for every number."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (NUM_FILMS, len(findings))).astype(np.int8)
    if RARE in findings:
        labels[:, findings.index(RARE)] = np.arange(NUM_FILMS) < 12
    logits = np.random.default_rng(100 + number).normal(size=labels.shape) + 0.5 * labels
    subjects = np.arange(NUM_FILMS) // (NUM_FILMS // NUM_SUBJECTS)
    image_id = np.array([f"{FILMS}-{row:04d}" for row in range(NUM_FILMS)])
    subject_id = np.array([f"{PEOPLE}-{row:04d}" for row in subjects])
    return Predictions(image_id, subject_id, logits, labels, np.array(findings))
