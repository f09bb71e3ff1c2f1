"""The DuckDB store, folded from runs, evaluations and comparisons as they are on disk.

In: what `query` reads, and the journals of runs. Out: experiments.duckdb, built beside and renamed.
Never: a write into a run's folder, or all rows of a journal in memory at once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrssl.core.durable import fsync_path, renamed_os_errors
from cxrssl.core.errors import DataError
from cxrssl.core.numbers import encode_numbers, is_count, number_of
from cxrssl.core.process import owner_mark
from cxrssl.core.text import valid
from cxrssl.core.workspace import Workspace
from cxrssl.records.curve import NO_METRICS
from cxrssl.records.events import is_event
from cxrssl.records.reader import RunRecord
from cxrssl.records.run import ENCODER, RunFiles
from cxrssl.records.steps import iter_metrics
from cxrssl.records.tail import iter_journal
from cxrssl.results.query import Results, read_results
from cxrssl.results.rows import difference_rows, result_rows

if TYPE_CHECKING:
    from cxrssl.db import Database

Rows = Iterable[dict[str, Any]]
TABLES = {"run", "param", "metric", "event", "eval_result", "comparison", "damage"}
BATCH_ROWS = 100_000


def rebuild_store(workspace: Workspace, results: Results | None = None) -> Path:
    """Build experiments.duckdb beside the old one, rename it into place, return its path.

    `results` are what was just read of the workspace, None reads it.

    Raises: SetupError when it cannot be written.
    """
    from cxrssl.db import apply_schema, open_database

    building = workspace.store.with_name(f".{workspace.store.name}.{owner_mark()}")
    with renamed_os_errors(workspace.store):
        building.unlink(missing_ok=True)
        try:
            with open_database(building) as database:
                apply_schema(database, "3_results.sql")
                for table, rows in _store_rows(results or read_results(workspace)).items():
                    _insert_rows(database, table, rows)
            fsync_path(building)
            os.replace(building, workspace.store)
            fsync_path(workspace.root)
        finally:
            building.unlink(missing_ok=True)
    return workspace.store


def refresh_store(workspace: Workspace) -> Path:
    """Return the path of experiments.duckdb, rebuilt if anything that it is made from has changed since.

    Raises: SetupError when it cannot be written.
    """
    return workspace.store if is_store_current(workspace) else rebuild_store(workspace)


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


def _insert_rows(database: Database, table: str, rows: Rows) -> None:
    import polars as pl

    left = iter(rows)
    schema = database.query(f"SELECT * FROM {table} LIMIT 0").schema
    while batch := list(itertools.islice(left, BATCH_ROWS)):
        database.insert(table, pl.DataFrame(batch, schema))


def _change_times(workspace: Workspace) -> Iterator[int]:
    """Yield when each folder and file that the store is made from was changed."""
    for place in (workspace.runs, workspace.evals, workspace.comparisons):
        for path in [place, *place.glob("*"), *place.glob("*/*"), *place.glob(f"*/{ENCODER}/*")]:
            with contextlib.suppress(OSError):
                yield path.lstat().st_mtime_ns


def _store_rows(results: Results) -> dict[str, Rows]:
    """Return the rows of each table; those of journals are made as they are read."""
    runs = results.runs
    return {
        "run": [_run_row(run) for run in runs],
        "param": (row for run in runs for row in _param_rows(run)),
        "metric": (row for run in runs for row in _metric_rows(run)),
        "event": (row for run in runs for row in _event_rows(run)),
        "eval_result": (vars(row) for each in results.evaluations for row in result_rows(each)),
        "comparison": (vars(row) for each in results.comparisons for row in difference_rows(each)),
        "damage": [{key: valid(value) for key, value in vars(each).items()} for each in results.damage],
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


def _metric_rows(run: RunRecord) -> Iterator[dict[str, Any]]:
    run_id = valid(run.run_id)
    for record in iter_metrics(run.folder):
        step, ts = record["step"], number_of(record["ts"])
        epoch = number_of(record["epoch"]) if "epoch" in record else None
        for key, value in record.items():
            # By exact type, since there are millions: a truth value is an int to isinstance, and no metric.
            if (type(value) is float or type(value) is int) and key not in NO_METRICS:
                shown = number_of(value)
                yield {"run_id": run_id, "step": step, "epoch": epoch, "ts": ts, "key": valid(key), "value": shown}


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
