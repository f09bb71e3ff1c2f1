"""Runs and evaluations as they stand on disk, and the DuckDB store that is derived from them.

In: run.json, journals and events of runs, published evaluations. Out: records for report and dashboard, and
experiments.duckdb, built beside and renamed. Never: a write into a run's folder.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrssl.core.durable import fsync_path, renamed_os_errors
from cxrssl.core.journal import read_journal
from cxrssl.core.process import is_alive
from cxrssl.core.workspace import Workspace

if TYPE_CHECKING:
    from cxrssl.evaluate.evaluation import Evaluation

QUIET_S = 120.0
"""A run on another host whose journal is silent for longer than this is called unseen."""


@dataclass(frozen=True)
class RunRecord:
    """A run as its files describe it now."""

    run_id: str
    folder: Path
    description: dict[str, Any]
    """run.json."""
    state: str
    """running, stopped, failed, finished; died: its process is gone without a word; unseen: elsewhere and silent."""
    metrics: list[dict[str, Any]]
    """One record a logged step, ascending; a step that was done again after a resume counts once, as done last."""
    events: list[dict[str, Any]]

    @property
    def step(self) -> int:
        """Steps done."""
        logged = int(self.metrics[-1]["step"]) + 1 if self.metrics else 0
        return self.num_steps if self.state == "finished" else logged

    @property
    def num_steps(self) -> int:
        return int(self.description["num_steps"])

    @property
    def ehr(self) -> tuple[str, ...]:
        return tuple(self.description["recipe"]["ehr"]["features"])

    @property
    def started_at(self) -> float | None:
        return next((event["ts"] for event in self.events if event["event"] == "start"), None)

    @property
    def ended_at(self) -> float | None:
        last = _last_turn(self.events)
        return float(last["ts"]) if last and last["event"] != "start" else None

    def latest(self, key: str) -> float:
        """Return the last logged value of a metric, nan if there is none."""
        return float(self.metrics[-1].get(key, math.nan)) if self.metrics else math.nan

    @property
    def left_s(self) -> float:
        """Seconds to the end at the rate of the last 20 logged steps; nan unless running."""
        recent = self.metrics[-20:]
        if self.state != "running" or len(recent) < 2:
            return math.nan
        rate = (recent[-1]["step"] - recent[0]["step"]) / max(recent[-1]["ts"] - recent[0]["ts"], 1e-6)
        return float((self.num_steps - self.step) / rate) if rate > 0 else math.nan


def read_run(folder: Path) -> RunRecord | None:
    """Return the record of a run, or None when its folder holds no readable run.json yet."""
    try:
        description = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        return None
    events = read_journal(folder / "events.jsonl")
    journals = sorted(folder.glob("metrics-*.jsonl"))
    by_step: dict[int, dict[str, Any]] = {}
    for journal in journals:
        records = read_journal(journal)
        if records:
            by_step = {step: old for step, old in by_step.items() if step < records[0]["step"]}
        by_step.update({int(record["step"]): record for record in records if "step" in record})
    touched = max((path.stat().st_mtime for path in [*journals, folder / "run.json"]), default=0.0)
    state = run_state(events, time.time() - touched)
    return RunRecord(folder.name, folder, description, state, [by_step[step] for step in sorted(by_step)], events)


def list_runs(workspace: Workspace) -> list[RunRecord]:
    """Return the records of all runs, the one that started last first."""
    records = [read_run(workspace.runs / run_id) for run_id in workspace.run_ids()]
    found = [record for record in records if record is not None]
    return sorted(found, key=lambda record: (-(record.started_at or 0.0), record.run_id))


def rebuild_store(workspace: Workspace) -> Path:
    """Build experiments.duckdb from runs and evaluations beside the old one, rename it into place, return its path.

    Raises: SetupError when it cannot be written.
    """
    from cxrssl.db import apply_schema, open_database
    from cxrssl.evaluate.evaluation import list_evaluations

    building = workspace.store.with_name(f".{workspace.store.name}.{os.getpid()}")
    with renamed_os_errors(workspace.store):
        building.unlink(missing_ok=True)
        try:
            with open_database(building) as database:
                apply_schema(database, "3_results.sql")
                for table, rows in _store_rows(list_runs(workspace), list_evaluations(workspace)).items():
                    if rows:
                        import polars as pl

                        schema = database.query(f"SELECT * FROM {table} LIMIT 0").schema
                        database.insert(table, pl.DataFrame(rows, schema))
            fsync_path(building)
            os.replace(building, workspace.store)
            fsync_path(workspace.root)
        finally:
            building.unlink(missing_ok=True)
    return workspace.store


def is_store_current(workspace: Workspace) -> bool:
    """Return whether nothing that experiments.duckdb is made from is younger than it."""
    sources = [*workspace.runs.glob("*/*.json*"), *workspace.evals.glob("*/manifest.json")]
    folders = [folder for folder in (workspace.runs, workspace.evals) if folder.is_dir()]
    newest = max((path.stat().st_mtime_ns for path in [*sources, *folders]), default=0)
    return workspace.store.is_file() and workspace.store.stat().st_mtime_ns >= newest


def _store_rows(runs: Sequence[RunRecord], evaluations: Sequence[Evaluation]) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {"run": [], "param": [], "metric": [], "event": [], "eval_result": []}
    for run in runs:
        recipe = run.description["recipe"]
        tables["run"].append(
            {
                **{key: run.description[key] for key in ("cohort", "dataset", "split", "num_films", "num_steps")},
                "run_id": run.run_id,
                "backbone": recipe["model"]["backbone"],
                "ehr": ",".join(run.ehr),
                "seed": recipe["train"]["seed"],
                "state": run.state,
                "step": run.step,
                "started_at": run.started_at,
                "ended_at": run.ended_at,
            }
        )
        for section, values in recipe.items():
            for key, value in values.items():
                tables["param"].append({"run_id": run.run_id, "key": f"{section}.{key}", "value": json.dumps(value)})
        for record in run.metrics:
            shared = {"run_id": run.run_id, "step": record["step"], "epoch": record.get("epoch"), "ts": record["ts"]}
            for key, value in record.items():
                if key not in {"step", "epoch", "ts"} and isinstance(value, int | float):
                    tables["metric"].append({**shared, "key": key, "value": float(value)})
        for event in run.events:
            row = {
                "run_id": run.run_id,
                "ts": event.get("ts"),
                "event": str(event.get("event")),
                "step": event.get("step"),
            }
            tables["event"].append({**row, "detail": json.dumps(event)})
    for evaluation in evaluations:
        tables["eval_result"] += result_rows(evaluation)
    return tables


def result_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row for each finding and metric of an evaluation, "macro" first."""
    scores, settings = evaluation.scores, evaluation.settings
    shared = {
        "eval_id": evaluation.eval_id,
        **{key: settings[key] for key in ("candidate_id", "kind", "label", "cohort", "split")},
        "num_subjects": scores["num_subjects"],
        "ci_method": f"percentile bootstrap over subjects, {scores['num_resamples']} resamples, "
        f"level {scores['level']}, seed {scores['seed']}",
    }
    rows = []
    for metric in ("auroc", "auprc"):
        whole = {"num_scored": scores["num_films"], "num_pos": None}
        tables = {"macro": {metric: scores[f"macro_{metric}"], **whole}, **scores["findings"]}
        for finding, score in tables.items():
            interval = score[metric]
            numbers = {key: interval[key] for key in ("value", "lo", "hi")}
            counts = {"num_scored": score["num_scored"], "num_pos": score["num_pos"]}
            rows.append({**shared, "finding": finding, "metric": metric, **numbers, **counts})
    return rows


def run_state(events: Sequence[dict[str, Any]], silent_s: float) -> str:
    starts = [event for event in events if event.get("event") == "start"]
    last = _last_turn(events)
    if last is None or not starts:
        return "running" if silent_s < QUIET_S else "unseen"
    if last["event"] != "start":
        return {"stop": "stopped", "fail": "failed", "finish": "finished"}[last["event"]]
    alive = is_alive(starts[-1])
    if alive is None:
        return "running" if silent_s < QUIET_S else "unseen"
    return "running" if alive else "died"


def _last_turn(events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the last event that says whether the run goes on or has ended."""
    turns = (event for event in reversed(events) if event.get("event") in {"start", "stop", "fail", "finish"})
    return next(turns, None)
