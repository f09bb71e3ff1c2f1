"""The rows of one run in every table but that of what it logged step by step.

In: RunRecord, notes, the files of its folder. Out: rows by table. Never: text that UTF-8 cannot hold.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from cxrssl.core.numbers import encode_numbers, is_count, number_of
from cxrssl.core.text import valid
from cxrssl.records.damage import Damage
from cxrssl.records.events import is_event
from cxrssl.records.file import list_entries
from cxrssl.records.notes import RunNotes
from cxrssl.records.reader import RunRecord
from cxrssl.records.run import ENCODER, KIND, RunFiles
from cxrssl.records.tail import Record, iter_journal

Rows = Iterable[dict[str, Any]]
RUN_TABLES = ("run", "param", "event", "machine")
"""Have a column run_id; a run also has rows in `imported`, `damage`, `artefact`, by its name."""


def run_rows(record: RunRecord, notes: RunNotes) -> dict[str, Rows]:
    """Return the rows of a run by table; those of its events are made as they are read."""
    return {
        "run": [_run_row(record, notes)],
        "param": _param_rows(record),
        "event": (_event_row(record, event) for event in _events(record)),
        "machine": (_machine_row(record, event) for event in _events(record) if event["event"] == "start"),
        "artefact": _encoder_rows(record),
        "imported": imported_rows(KIND, record.run_id, record),
    }


def damage_rows(damage: Iterable[Damage]) -> Rows:
    """Return what is damaged."""
    return [{key: valid(value) for key, value in vars(each).items()} for each in damage]


def imported_rows(kind: str, name: str, made: Any) -> Iterator[dict[str, Any]]:
    """Yield the row of a run or an evaluation that came in an archive."""
    if made.imported:
        yield {"kind": kind, "name": valid(name), **{key: valid(value) for key, value in vars(made.imported).items()}}


def _run_row(run: RunRecord, notes: RunNotes) -> dict[str, Any]:
    about, facts = run.description, run.description.facts
    init = about.recipe.get("model", {})
    return {
        **{key: valid(getattr(about, key)) for key in ("cohort", "dataset", "split", "objective", "device")},
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
        "started_from": valid(str(init.get("init", "") if isinstance(init, dict) else "")),
        "tags": valid(",".join(notes.tags)),
        "note": valid(notes.note),
        "is_archived": notes.is_archived,
    }


def _param_rows(run: RunRecord) -> Iterator[dict[str, Any]]:
    for section, values in run.description.recipe.items():
        for key, value in values.items():
            yield {"run_id": valid(run.run_id), "key": valid(f"{section}.{key}"), "value": _to_json(value)}


def _events(run: RunRecord) -> Iterator[Record]:
    return filter(is_event, iter_journal(RunFiles(run.folder).events))


def _event_row(run: RunRecord, event: Record) -> dict[str, Any]:
    return {
        "run_id": valid(run.run_id),
        "ts": number_of(event.get("ts")),
        "event": valid(event["event"]),
        "step": _count(event.get("step")),
        "detail": _to_json(event),
    }


def _machine_row(run: RunRecord, event: Record) -> dict[str, Any]:
    is_compiled = event.get("is_compiled")
    return {
        "run_id": valid(run.run_id),
        "ts": number_of(event.get("ts")),
        "step": _count(event.get("step")),
        **{key: valid(str(event[key])) if key in event else None for key in ("host", "boot", "device")},
        **{key: _count(event.get(key)) for key in ("pid", "num_processes", "num_threads")},
        "is_compiled": is_compiled if isinstance(is_compiled, bool) else None,
    }


def _encoder_rows(run: RunRecord) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(OSError):
        entries = list_entries(RunFiles(run.folder).encoder)
        yield artefact_row(ENCODER, run.run_id, f"runs/{run.run_id}/{ENCODER}", [entry.num_bytes for entry in entries])


def artefact_row(kind: str, name: str, path: str, sizes: list[int]) -> dict[str, Any]:
    """Return the row of a published folder whose files have these sizes."""
    return {
        "kind": kind,
        "name": valid(name),
        "path": valid(path),
        "num_files": len(sizes),
        "num_bytes": sum(sizes),
    }


def _count(value: Any) -> int | None:
    return value if is_count(value) else None


def _to_json(value: Any) -> str:
    return json.dumps(encode_numbers(value), allow_nan=False)
