"""The DuckDB store that is derived from runs and evaluations as they stand on disk.

In: what `records` reads. Out: experiments.duckdb, built beside and renamed. Never: a write into a run's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrssl.core.durable import fsync_path, renamed_os_errors
from cxrssl.core.errors import DataError
from cxrssl.core.numbers import encode_numbers, is_count, number_of
from cxrssl.core.text import valid
from cxrssl.core.workspace import Workspace
from cxrssl.records.curve import NO_METRICS
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import Evaluation, list_evaluations
from cxrssl.records.events import is_event
from cxrssl.records.reader import RunRecord, list_runs
from cxrssl.records.run import ENCODER, RunFiles
from cxrssl.records.steps import iter_metrics
from cxrssl.records.tail import Record, iter_journal
from cxrssl.stats.resample import Interval

if TYPE_CHECKING:
    from cxrssl.db import Database

Rows = list[dict[str, Any]]
TABLES = {"run", "param", "metric", "event", "eval_result", "damage"}


def rebuild_store(workspace: Workspace) -> Path:
    """Build experiments.duckdb from runs and evaluations beside the old one, rename it into place, return its path.

    Raises: SetupError when it cannot be written.
    """
    from cxrssl.db import apply_schema, open_database

    building = workspace.store.with_name(f".{workspace.store.name}.{os.getpid()}")
    with renamed_os_errors(workspace.store):
        building.unlink(missing_ok=True)
        try:
            with open_database(building) as database:
                apply_schema(database, "3_results.sql")
                for table, rows in _store_rows(workspace).items():
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
    """Return whether experiments.duckdb is of this version, and nothing that it is made from is younger."""
    newest = max(_change_times(workspace), default=0)
    if not workspace.store.is_file() or workspace.store.stat().st_mtime_ns < newest:
        return False
    from cxrssl.db import open_database

    try:
        with open_database(workspace.store, read_only=True) as database:
            return {name for (name,) in database.rows("SELECT table_name FROM duckdb_tables()")} >= TABLES
    except DataError:
        return False


def list_damage(database: Database) -> list[Damage]:
    """Return the runs and evaluations that the store could not use, or not in full."""
    return [Damage(*row) for row in database.rows("SELECT kind, name, what FROM damage ORDER BY ALL")]


def result_rows(evaluation: Evaluation) -> Rows:
    """Return one row for each finding and metric of an evaluation, "macro" first."""
    scores, settings = evaluation.scores, evaluation.settings
    keys = ("candidate_id", "kind", "label", "cohort", "split")
    shared: dict[str, Any] = {"eval_id": valid(evaluation.eval_id)}
    shared |= {key: valid(getattr(settings, key)) for key in keys}
    shared |= {"num_subjects": scores.num_subjects, "ci_method": scores.method}
    rows = []
    for metric in ("auroc", "auprc"):
        macro: Interval = getattr(scores, f"macro_{metric}")
        rows.append(shared | _result_row("macro", metric, macro, scores.num_films, None))
        for finding, score in scores.findings.items():
            interval: Interval = getattr(score, metric)
            rows.append(shared | _result_row(finding, metric, interval, score.num_scored, score.num_pos))
    return rows


def _result_row(finding: str, metric: str, interval: Interval, num_scored: int, num_pos: int | None) -> dict[str, Any]:
    numbers = interval.to_dict()
    del numbers["num_defined"]
    return {"finding": valid(finding), "metric": metric, **numbers, "num_scored": num_scored, "num_pos": num_pos}


def _change_times(workspace: Workspace) -> Iterator[int]:
    """Yield when each folder and file that the store is made from was changed."""
    for place in (workspace.runs, workspace.evals):
        for path in [place, *place.glob("*"), *place.glob("*/*"), *place.glob(f"*/{ENCODER}/*")]:
            with contextlib.suppress(OSError):
                yield path.lstat().st_mtime_ns


def _store_rows(workspace: Workspace) -> dict[str, Rows]:
    """Return the rows of each table."""
    runs, damaged = list_runs(workspace)
    evaluations, unusable = list_evaluations(workspace)
    return {
        "run": [_run_row(run) for run in runs],
        "param": [row for run in runs for row in _param_rows(run)],
        "metric": [row for run in runs for record in iter_metrics(run.folder) for row in _metric_rows(run, record)],
        "event": [row for run in runs for row in _event_rows(run)],
        "eval_result": [row for evaluation in evaluations for row in result_rows(evaluation)],
        "damage": [{key: valid(value) for key, value in vars(each).items()} for each in (*damaged, *unusable)],
    }


def _run_row(run: RunRecord) -> dict[str, Any]:
    about, facts = run.description, run.description.facts
    return {
        **{key: valid(getattr(about, key)) for key in ("cohort", "dataset", "split")},
        "num_films": about.num_films,
        "num_steps": about.num_steps,
        "run_id": valid(run.run_id),
        "backbone": valid(facts.model.backbone),
        "ehr": valid(",".join(facts.ehr.features)),
        "seed": facts.train.seed,
        "state": run.state,
        "step": run.step,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


def _param_rows(run: RunRecord) -> Iterator[dict[str, Any]]:
    for section, values in run.description.recipe.items():
        for key, value in values.items():
            yield {"run_id": valid(run.run_id), "key": valid(f"{section}.{key}"), "value": _to_json(value)}


def _metric_rows(run: RunRecord, record: Record) -> Iterator[dict[str, Any]]:
    shared = {"run_id": valid(run.run_id), "step": record["step"], "ts": number_of(record["ts"])}
    shared["epoch"] = number_of(record["epoch"]) if "epoch" in record else None
    for key, value in record.items():
        if key not in NO_METRICS and isinstance(value, int | float) and not isinstance(value, bool):
            yield {**shared, "key": valid(key), "value": number_of(value)}


def _event_rows(run: RunRecord) -> Iterator[dict[str, Any]]:
    for event in filter(is_event, iter_journal(RunFiles(run.folder).events)):
        yield {
            "run_id": valid(run.run_id),
            "ts": number_of(event.get("ts")),
            "event": valid(event["event"]),
            "step": event["step"] if is_count(event.get("step")) else None,
            "detail": _to_json(event),
        }


def _to_json(value: Any) -> str:
    return json.dumps(encode_numbers(value), allow_nan=False)
