"""Run folders and evaluations as the trainer and the probe leave them, made by hand."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_json
from cxrssl.core.journal import append_record
from cxrssl.core.process import describe_process
from cxrssl.core.workspace import Workspace

DEAD = {**describe_process(), "pid": 999_999_999, "pid_started": 1}
ALIVE = describe_process()
ELSEWHERE = {**describe_process(), "host": "another-host"}
FINDINGS = ("Atelectasis", "Cardiomegaly", "Edema", "Pleural Effusion")


def make_run(
    workspace: Workspace,
    run_id: str,
    steps: range = range(0),
    *,
    process: dict[str, Any] | None = None,
    end: str = "",
    ehr: tuple[str, ...] = (),
    num_steps: int = 1000,
    started_at: float = 1_700_000_000.0,
    cohort: str = "mimic",
    **description: Any,
) -> Path:
    """Write the folder of a run that logged `steps`, half a second apart, and return it."""
    folder = workspace.runs / run_id
    folder.mkdir(parents=True)
    recipe = {"model": {"backbone": "vit-tiny"}, "ehr": {"features": list(ehr)}, "train": {"seed": 7}}
    about: dict[str, Any] = {"run_id": run_id, "recipe": recipe, "cohort": cohort, "dataset": "mimic", "split": "paper"}
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


def make_evaluation(
    workspace: Workspace, candidate_id: str, kind: str, value: float, *, cohort: str = "mimic", **settings: Any
) -> Path:
    """Publish an evaluation and return its folder."""
    interval = {"value": value, "lo": value - 0.02, "hi": value + 0.02, "num_defined": 1000}
    undefined = {"value": None, "lo": None, "hi": None, "num_defined": 0}
    finding = {"auroc": interval, "auprc": interval, "num_scored": 200, "num_ignored": 6, "num_pos": 41}
    findings: dict[str, Any] = {name: {**finding, "is_defined": True} for name in FINDINGS}
    findings["Fracture"] = {**finding, "auroc": undefined, "auprc": undefined, "num_pos": 0, "is_defined": False}
    scores = {"findings": findings, "macro_auroc": interval, "macro_auprc": interval, "num_films": 206}
    scores |= {"num_subjects": 103, "num_resamples": 1000, "level": 0.95, "seed": 0}
    about: dict[str, Any] = {"candidate_id": candidate_id, "kind": kind, "label": f"label of {kind}", "cohort": cohort}
    about |= {"split": "paper", "is_outcome_used": False, "cohort_sha256": "c", "images_sha256": "i", "probe": {}}
    path = workspace.evals / f"{candidate_id}-on-{cohort}-paper-0"
    with publish(path, "evaluation", {**about, **settings}) as building:
        write_json(building / "scores.json", scores)
    return path


def age_files(folder: Path, seconds: float) -> None:
    """Make the files of a run look as if nothing was written for so long."""
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds, time.time() - seconds))
