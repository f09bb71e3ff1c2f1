"""Run folders and evaluations as the trainer and the probe leave them, made by hand."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.journal import append_record
from cxrssl.core.process import describe_process
from cxrssl.core.workspace import Workspace
from cxrssl.records import encoder
from cxrssl.records.arrays import Predictions
from cxrssl.records.comparison import ComparisonSettings, publish_comparison
from cxrssl.records.encoder import EncoderOrigin, SeenFilms, make_settings
from cxrssl.records.eval_settings import CandidateSettings, EvalSettings, ProbeSettings
from cxrssl.records.evaluation import EvalScores, publish_evaluation
from cxrssl.records.run import RunFiles
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import Comparison, FindingScore

DEAD = {**describe_process(), "pid": 999_999_999, "pid_started": 1}
ALIVE = describe_process()
ELSEWHERE = {**describe_process(), "host": "another-host"}
NO_FILMS = SeenFilms(np.array([], np.str_), np.array([], np.str_), np.array([], np.bytes_))
FINDINGS = ("Atelectasis", "Cardiomegaly", "Edema", "Pleural Effusion")


def make_run(
    workspace: Workspace,
    run_id: str,
    steps: range = range(0),
    *,
    process: dict[str, Any] | None = None,
    end: str = "",
    ehr: tuple[str, ...] = (),
    num_steps: Any = 1000,
    started_at: float = 1_700_000_000.0,
    cohort: str = "mimic",
    **description: Any,
) -> Path:
    """Write the folder of a run that logged `steps`, half a second apart, and return it."""
    folder = workspace.runs / run_id
    folder.mkdir(parents=True)
    recipe = {"model": {"backbone": "vit-tiny"}, "ehr": {"features": list(ehr)}, "train": {"seed": 7}}
    about: dict[str, Any] = {"run_id": run_id, "objective": "msn", "recipe": recipe, "cohort": cohort}
    about |= {"dataset": "mimic", "split": "paper"}
    about |= {"num_films": 1234, "num_steps": num_steps, "device": "cpu", **description}
    write_json(folder / "run.json", about)
    write_lines(folder / "events.jsonl", [{"ts": started_at, "event": "start", "step": 0, **(process or ALIVE)}])
    if steps:
        write_lines(folder / "metrics-0001.jsonl", [metric(step, started_at) for step in steps])
    if end:
        append_record(folder / "events.jsonl", {"event": end, "step": steps.stop})
    return folder


def metric(step: int, started_at: float = 1_700_000_000.0, **more: Any) -> dict[str, Any]:
    """Return the record of a step whose loss falls from 5."""
    loss = 5.0 - math.log1p(step) / 4
    parts = {"cross_entropy": loss + 1, "target_entropy": 4.2, "prototype_usage": 0.5, "feature_std": 0.9}
    speed = {"lr": 1e-6 * (step + 1), "films_per_s": 128.0}
    return {"ts": started_at + step / 2, "step": step, "epoch": step / 100, "loss": loss, **parts, **speed, **more}


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """Append records with the time stamps they have."""
    with open(path, "a") as file:
        file.writelines(json.dumps(record, separators=(",", ":")) + "\n" for record in records)


def make_encoder(folder: Path, cohort: str = "mimic", films: SeenFilms = NO_FILMS) -> Path:
    """Publish an encoder, whose weights are none, in the folder of a run."""
    origin = EncoderOrigin(folder.name, 10, cohort, "mimic", "paper", "r", "c", "i")
    recipe = {"model": {"backbone": "vit-tiny"}, "ehr": {"features": [], "missing": "mask"}, "train": {"seed": 7}}
    path = RunFiles(folder).encoder
    with publish(path, encoder.KIND, make_settings(recipe, origin)) as building:
        write_bytes(building / encoder.WEIGHTS, b"weights")
        write_bytes(building / encoder.FILMS, films.to_csv())
    return path


def make_evaluation(
    workspace: Workspace, candidate_id: str, kind: str, value: float, *, cohort: str = "mimic", **changes: Any
) -> Path:
    """Publish an evaluation and return its folder."""
    settings = EvalSettings(
        candidate_id=candidate_id,
        kind=kind,
        label=f"label of {kind}",
        candidate=CandidateSettings(features=()),
        is_outcome_used=False,
        cohort=cohort,
        split="paper",
        cohort_sha256="c",
        images_sha256="i",
        probe=ProbeSettings(),
    )
    path = workspace.evals / f"{candidate_id}-on-{cohort}-paper-0"
    publish_evaluation(path, replace(settings, **changes), make_scores(value), make_predictions(), None)
    return path


def make_comparison(workspace: Workspace, eval_id: str, against_id: str, value: float) -> Path:
    """Publish a comparison of two evaluations, whatever they hold, and return its folder."""
    settings = ComparisonSettings(
        eval_id=eval_id,
        against_id=against_id,
        candidate_id="a",
        against_candidate_id="b",
        eval_sha256="e",
        against_sha256="f",
        terms="[]",
        num_resamples=1000,
        seed=0,
    )
    scores = make_scores(value)
    differences = Comparison(**{field.name: getattr(scores, field.name) for field in fields(Comparison)})
    return publish_comparison(workspace, settings, differences).path


def make_scores(value: float) -> EvalScores:
    """Return scores of this value for every finding but the last, which is not defined."""
    interval = Interval(value, value - 0.02, value + 0.02, 1000, 1000, 30)
    undefined = Interval(math.nan, math.nan, math.nan, 0, 1000, 0)
    findings = {name: FindingScore(interval, interval, 200, 6, 41, 30, 80) for name in FINDINGS}
    findings["Fracture"] = FindingScore(undefined, undefined, 200, 6, 0, 0, 103)
    return EvalScores(findings, interval, interval, 206, 103, 1000, 0.95, 0)


def make_predictions(num_films: int = 4) -> Predictions:
    """Return what was predicted of as many films, each of a person of its own."""
    names = np.array([*FINDINGS, "Fracture"])
    rng = np.random.default_rng(0)
    ids = np.array([f"film{number}" for number in range(num_films)])
    labels = rng.integers(0, 2, (num_films, len(names))).astype(np.int8)
    return Predictions(ids, np.char.add("person of ", ids), rng.normal(size=labels.shape), labels, names)


def age_files(folder: Path, seconds: float) -> None:
    """Make the files of a run look as if nothing was written for so long."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds, time.time() - seconds))
