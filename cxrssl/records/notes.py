"""What people said of a run after it began: tags, a note, whether it is archived, and numbers measured later.

In: `runs/<run_id>/notes.jsonl`, append only. Out: RunNotes. Never: a write to a file that a hash of the run covers, or
an exception for what a record holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.core.journal import append_record
from cxrssl.core.numbers import encode_numbers, is_count, number_of
from cxrssl.core.text import plain
from cxrssl.records.tail import iter_journal

NOTES = "notes.jsonl"
MAX_NOTE, MAX_TAG = 2000, 60


@dataclass(frozen=True)
class Added:
    """A number that was measured after training, as of a step of it."""

    key: str
    step: int
    ts: float
    """Unix seconds at which it was added."""
    value: float


@dataclass(frozen=True)
class RunNotes:
    """All that was said of a run."""

    tags: tuple[str, ...] = ()
    """In order of the alphabet."""
    note: str = ""
    is_archived: bool = False
    added: tuple[Added, ...] = ()
    """Each key and step once, as it was added last."""


def read_notes(folder: Path) -> RunNotes:
    """Return what was said of the run in `folder`."""
    return fold_notes(iter_journal(folder / NOTES))


def fold_notes(records: Iterable[Mapping[str, Any]]) -> RunNotes:
    """Return what records, in their order, come to; one that makes no sense says nothing."""
    tags: dict[str, None] = {}
    note, is_archived = "", False
    added: dict[tuple[str, int], Added] = {}
    for record in records:
        # A journal's reader takes the texts "nan" and "inf" for numbers; here only a value is one.
        match {key: each if key == "value" else encode_numbers(each) for key, each in record.items()}:
            case {"tag": str(tag)}:
                tags[plain(tag, MAX_TAG)] = None
            case {"untag": str(tag)}:
                tags.pop(plain(tag, MAX_TAG), None)
            case {"note": str(text)}:
                note = plain(text, MAX_NOTE)
            case {"archived": bool(value)}:
                is_archived = value
            case {"metric": str(key), "step": step, "value": value} if is_count(step) and key:
                ts = number_of(record.get("ts"))
                added[key, step] = Added(key, step, ts if math.isfinite(ts) else 0.0, number_of(value))
    return RunNotes(tuple(sorted(tags)), note, is_archived, tuple(added.values()))


def add_note(folder: Path, record: Mapping[str, Any]) -> None:
    """Append one record to the notes of the run in `folder`. Raises: SetupError when it cannot be written."""
    append_record(folder / NOTES, record)
