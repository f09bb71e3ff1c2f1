"""The rows of every table of the store, made from what is published.

In: what is published, an open database of the store's schema. Out: rows in it, and how many.
Never: all that a run logged in memory at once, or a row of Python's for each number that was logged.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cxrssl.core.numbers import encode_numbers, is_count, number_of
from cxrssl.core.text import valid
from cxrssl.evaluate.groups import group_seeds
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.events import is_event
from cxrssl.records.published import Published
from cxrssl.records.reader import RunRecord
from cxrssl.records.run import KIND as RUN
from cxrssl.records.run import RunFiles
from cxrssl.records.setup import find_setups
from cxrssl.records.steps import Column, iter_columns
from cxrssl.records.tail import iter_journal
from cxrssl.results.rows import decoding_rows, difference_rows, group_of, result_rows, seed_rows

if TYPE_CHECKING:
    import polars as pl

    from cxrssl.db import Database

LOGGED = "metric"
"""The one table that is large: it alone is kept from one store to the next."""
BATCH_ROWS = 100_000
Rows = Iterable[dict[str, Any]]


def fill_tables(database: Database, published: Published, kept: Collection[str] = ()) -> dict[str, int]:
    """Insert everything but what the runs in `kept` logged, which is there already; return the rows of each table."""
    counts = {table: _insert_rows(database, table, rows) for table, rows in _rows_by_table(published).items()}
    ((num_kept,),) = database.rows(f"SELECT count(*) FROM {LOGGED}")
    runs = [run for run in published.runs if valid(run.run_id) not in kept]
    counts[LOGGED] = num_kept + sum(_insert(database, LOGGED, frame) for frame in _logged_frames(runs))
    return counts


def _insert(database: Database, table: str, frame: pl.DataFrame) -> int:
    database.insert(table, frame)
    return frame.height


def _insert_rows(database: Database, table: str, rows: Rows) -> int:
    import polars as pl

    left, num_rows = iter(rows), 0
    schema = database.query(f"SELECT * FROM {table} LIMIT 0").schema
    while batch := list(itertools.islice(left, BATCH_ROWS)):
        num_rows += _insert(database, table, pl.DataFrame(batch, schema))
    return num_rows


def _rows_by_table(published: Published) -> dict[str, Rows]:
    """Return the rows of each table but LOGGED; those of journals are made as they are read."""
    runs = published.runs
    setups = find_setups((run.run_id, run.description) for run in runs)
    groups = group_of(group_seeds(published.evaluations, setups))
    return {
        "run": (_run_row(run) for run in runs),
        "param": (row for run in runs for row in _param_rows(run)),
        "event": (row for run in runs for row in _event_rows(run)),
        "eval_result": (vars(row) for each in published.evaluations for row in result_rows(each, groups[each.eval_id])),
        "decoding": (vars(row) for each in published.evaluations for row in decoding_rows(each)),
        "comparison": (vars(row) for each in published.comparisons for row in difference_rows(each)),
        "seed_mean": (vars(row) for each in published.groups for row in seed_rows(each)),
        "damage": ({key: valid(value) for key, value in vars(each).items()} for each in published.damage),
        "imported": _imported_rows([*runs, *published.evaluations]),
        "source": (each._asdict() for each in published.sources),
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


def _imported_rows(records: Sequence[RunRecord | Evaluation]) -> Iterator[dict[str, Any]]:
    for each in records:
        if each.imported:
            kind, name = (RUN, each.run_id) if isinstance(each, RunRecord) else (EVALUATION, each.eval_id)
            origin = {key: valid(value) for key, value in vars(each.imported).items()}
            yield {"kind": kind, "name": valid(name), **origin}


def _param_rows(run: RunRecord) -> Iterator[dict[str, Any]]:
    for section, values in run.description.recipe.items():
        for key, value in values.items():
            yield {"run_id": valid(run.run_id), "key": valid(f"{section}.{key}"), "value": _to_json(value)}


def _event_rows(run: RunRecord) -> Iterator[dict[str, Any]]:
    for event in filter(is_event, iter_journal(RunFiles(run.folder).events)):
        yield {
            "run_id": valid(run.run_id),
            "ts": number_of(event.get("ts")),
            "event": valid(event["event"]),
            "step": event["step"] if is_count(event.get("step")) else None,
            "detail": _to_json(event),
        }


def _logged_frames(runs: Iterable[RunRecord]) -> Iterator[pl.DataFrame]:
    """Yield what runs logged in frames of about BATCH_ROWS rows."""
    batch: list[tuple[str, Column]] = []
    num_rows = 0
    for run in runs:
        for column in iter_columns(run.folder):
            batch.append((valid(run.run_id), column))
            num_rows += len(column.step_N)
            if num_rows >= BATCH_ROWS:
                yield _make_frame(batch)
                batch, num_rows = [], 0
    if batch:
        yield _make_frame(batch)


def _make_frame(batch: list[tuple[str, Column]]) -> pl.DataFrame:
    import polars as pl

    columns = [column for _, column in batch]
    owner_N = np.repeat(np.arange(len(batch)), [len(column.step_N) for column in columns])
    names = {"run_id": [run_id for run_id, _ in batch], "key": [valid(column.metric) for column in columns]}
    return pl.DataFrame(
        {
            **{name: pl.Series(texts, dtype=pl.String).gather(owner_N) for name, texts in names.items()},
            "step": np.concatenate([column.step_N for column in columns]),
            "epoch": pl.concat([_to_series(column.epoch_N, len(column.step_N)) for column in columns]),
            "ts": np.concatenate([column.ts_N for column in columns]),
            "value": np.concatenate([column.value_N for column in columns]),
        }
    )


def _to_series(value_N: npt.NDArray[np.float64] | None, num: int) -> pl.Series:
    import polars as pl

    return pl.repeat(None, num, dtype=pl.Float64, eager=True) if value_N is None else pl.Series(value_N)


def _to_json(value: Any) -> str:
    return json.dumps(encode_numbers(value), allow_nan=False)
