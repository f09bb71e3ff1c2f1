"""Runs as their folders stand now, read cheaply: the description once, events as they come, of the metrics the tip.

In: a run's folder, again and again. Out: RunRecord, and what is damaged. Never: an exception for what a file contains,
or a file opened that has not changed.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from cxrssl.core.artefact import MANIFEST
from cxrssl.core.workspace import Workspace
from cxrssl.records.damage import Damage
from cxrssl.records.encoder import find_encoder_fault
from cxrssl.records.events import clean_event, is_event, is_telling, last_turn, run_state
from cxrssl.records.file import Entry, describe_os_error, list_entries
from cxrssl.records.imported import HERE, Imported, find_imported_run
from cxrssl.records.notes import NOTES
from cxrssl.records.run import (
    DESCRIPTION,
    ENCODER,
    EVENTS,
    KIND,
    RunDescription,
    RunFiles,
    is_journal,
    read_description,
)
from cxrssl.records.tail import JournalTail, Record, find_journal_fault, is_metric, read_tip

MAX_EVENTS = 200
"""Of each run, beside the first."""
TIP_RECORDS = 20
T = TypeVar("T")


@dataclass(frozen=True)
class RunRecord:
    """A run as its files describe it now."""

    run_id: str
    folder: Path
    description: RunDescription
    state: str
    """See `run_state`."""
    tip: tuple[Record, ...]
    """The last logged steps, ascending."""
    events: tuple[Record, ...]
    """Those of TELLING, the middle of very many left out."""
    damage: tuple[Damage, ...] = ()
    imported: Imported = HERE
    """From which archive it is, if it was not trained here."""

    @property
    def step(self) -> int:
        """Steps done."""
        logged = int(self.tip[-1]["step"]) + 1 if self.tip else 0
        return self.num_steps if self.state == "finished" else logged

    @property
    def num_steps(self) -> int:
        return self.description.num_steps

    @property
    def ehr(self) -> tuple[str, ...]:
        return self.description.facts.ehr.features

    @property
    def started_at(self) -> float | None:
        return next((event["ts"] for event in self.events if event["event"] == "start"), None)

    @property
    def ended_at(self) -> float | None:
        last = last_turn(self.events)
        return last["ts"] if last and last["event"] != "start" else None

    @property
    def left_s(self) -> float:
        """Seconds to the end at the rate of the last logged steps; nan unless running."""
        if self.state != "running" or len(self.tip) < 2 or self.tip[-1]["ts"] <= self.tip[0]["ts"]:
            return math.nan
        rate = (self.tip[-1]["step"] - self.tip[0]["step"]) / (self.tip[-1]["ts"] - self.tip[0]["ts"])
        return max((self.num_steps - self.step) / rate, 0.0) if rate > 0 else math.nan


class RunReader:
    """A run's folder and what has been read of it."""

    def __init__(self, folder: Path) -> None:
        self.files = RunFiles(folder)
        self.damage: tuple[Damage, ...] = ()
        """What was wrong at the last reading."""
        self._description = _Kept(lambda: read_description(self.files))
        self._imported = _Kept(lambda: find_imported_run(self.files.folder))
        self._encoder = _Kept(lambda: find_encoder_fault(self.files.encoder))
        self._journals: dict[str, _Kept[tuple[tuple[Record, ...], str]]] = {}
        self._events = _Kept(self._read_events)
        self._tail = JournalTail(self.files.events)
        self._num_replaced = 0
        self._event_records: list[Record] = []

    def poll(self) -> RunRecord | None:
        """Return the run as it stands now, None when it has not begun or its run.json is of no use."""
        try:
            entries = list_entries(self.files.folder, is_of_run)
        except OSError as error:
            return self._conclude([f"the folder {describe_os_error(error)}"])
        if not entries:
            return self._conclude([])
        by_name = {entry.name: entry for entry in entries}
        description, fault = self._description.get(by_name.get(DESCRIPTION))
        tip, faults = self._read_tip([entry for entry in entries if is_journal(entry.name)])
        imported, damage = self._imported.get(entries) if MANIFEST in by_name else (HERE, "")
        faults = [
            fault,
            damage,
            self._read_new_events(by_name.get(EVENTS)),
            *faults,
            self._check_encoder(by_name.get(ENCODER)),
        ]
        found = self._conclude([each for each in faults if each], description, tip, _last_change(entries))
        return replace(found, imported=imported) if found and imported else found

    def _conclude(
        self,
        faults: list[str],
        description: RunDescription | None = None,
        tip: tuple[Record, ...] = (),
        touched_at: float = 0.0,
    ) -> RunRecord | None:
        folder = self.files.folder
        self.damage = tuple(Damage(KIND, folder.name, fault) for fault in faults)
        if description is None:
            return None
        state = run_state(self._event_records, time.time() - touched_at)
        if state == "died":
            # It may have written its last event and ended since the events were read.
            self._read_events()
            state = run_state(self._event_records, time.time() - touched_at)
        return RunRecord(folder.name, folder, description, state, tip, tuple(self._event_records), self.damage)

    def _read_tip(self, journals: list[Entry]) -> tuple[tuple[Record, ...], list[str]]:
        """Return the tip of the newest journal that has one, and what is wrong with any of them."""
        self._journals = {entry.name: self._journals.get(entry.name) or self._keep(entry.name) for entry in journals}
        read = [self._journals[entry.name].get(entry) for entry in journals]
        return next((tip for tip, _ in reversed(read) if tip), ()), [fault for _, fault in read]

    def _keep(self, name: str) -> _Kept[tuple[tuple[Record, ...], str]]:
        return _Kept(lambda: _read_journal_tip(self.files.folder / name))

    def _read_new_events(self, entry: Entry | None) -> str:
        return self._events.get(entry) if entry else ""

    def _read_events(self) -> str:
        while True:
            records = self._tail.read()
            if self._tail.num_replaced != self._num_replaced:
                self._num_replaced, self._event_records = self._tail.num_replaced, []
            self._event_records += [clean_event(record) for record in records if is_telling(record)]
            self._event_records[1:-MAX_EVENTS] = []
            if self._tail.is_at_end:
                return find_journal_fault(self.files.events, is_event)

    def _check_encoder(self, entry: Entry | None) -> str:
        if entry is None:
            return ""
        with contextlib.suppress(OSError):
            return self._encoder.get((entry, list_entries(self.files.encoder)))
        return self._encoder.get(entry)


class _Kept(Generic[T]):
    """What was read, until what it was read from is another."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._key: object = self
        self._value: T

    def get(self, key: object) -> T:
        if key != self._key:
            self._value, self._key = self._read(), key
        return self._value


def is_of_encoder(damage: Damage) -> bool:
    """Return whether it is the encoder of a run that is damaged, and not what describes the run."""
    return damage.what.startswith(f"{ENCODER}: ")


def read_run(folder: Path) -> RunRecord | None:
    """Return a run as it stands now, None when it has not begun or its run.json is of no use."""
    return RunReader(folder).poll()


def list_runs(workspace: Workspace) -> tuple[list[RunRecord], list[Damage]]:
    """Return all runs, the one that started last first, and what is damaged."""
    readers = [RunReader(workspace.runs / run_id) for run_id in workspace.run_ids()]
    records = [record for record in (reader.poll() for reader in readers) if record is not None]
    damage = [each for reader in readers for each in reader.damage]
    return sorted(records, key=lambda record: (-(record.started_at or 0.0), record.run_id)), damage


def list_run_entries(folder: Path) -> tuple[Entry, ...]:
    """Return all that decides what a run's record and its journals say, its encoder's files too. Raises: OSError."""
    entries = list_entries(folder, is_of_run)
    with contextlib.suppress(OSError):  # there is no encoder, or it is no folder, which its entry tells
        return entries + list_entries(folder / ENCODER)
    return entries


def is_of_run(name: str) -> bool:
    """Return whether a file of this name in the folder of a run says something of it."""
    return name in (DESCRIPTION, EVENTS, ENCODER, MANIFEST, NOTES) or is_journal(name)


def _read_journal_tip(path: Path) -> tuple[tuple[Record, ...], str]:
    tip = tuple(read_tip(path, is_metric, TIP_RECORDS))
    return tip, "" if tip else find_journal_fault(path, is_metric)


def _last_change(entries: tuple[Entry, ...]) -> float:
    """Return when a step was last logged, in Unix seconds; an event may be written by another process."""
    return max((entry.modified_ns for entry in entries if entry.name not in (EVENTS, ENCODER, NOTES)), default=0) / 1e9
