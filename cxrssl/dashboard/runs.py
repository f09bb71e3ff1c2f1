"""One run's folder, read cheaply: the description once, events as they come, of the metrics only the last few records.

In: a run's folder. Out: RunRow. Never: an exception for what a file contains, or another definition of state than that
of results.
"""

from __future__ import annotations

import json
import math
import os
import stat
import time
from pathlib import Path
from typing import Any

from cxrssl.cohort.features import is_outcome_used
from cxrssl.core.errors import UsageError
from cxrssl.core.numbers import number_of
from cxrssl.core.text import plain
from cxrssl.dashboard.state import RunRow
from cxrssl.dashboard.tail import JournalTail, Record, is_metric, read_tip
from cxrssl.results import RunRecord, run_state

MAX_DESCRIPTION_BYTES = 4 << 20
MAX_EVENTS = 200
"""Of each run, beside the first."""
TELLING = frozenset({"start", "stop", "fail", "finish", "guard", "damage", "alarm"})
Print = tuple[tuple[str, int, int, int], ...]


class RunFolder:
    """A run's folder and what has been read of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.has_description = False
        self._print: Print = ()
        self._description: dict[str, Any] | None = None
        self._events = JournalTail(path / "events.jsonl")
        self._num_replaced = 0
        self._event_records: list[Record] = []
        self._tip: list[Record] = []
        self._touched_at = 0.0

    def poll(self) -> RunRow | None:
        """Return the run as it stands now, None when it has no readable run.json."""
        found = _fingerprint(self.path)
        if found != self._print:
            self._read(found)
            self._print = found
        if self._description is None:
            return None
        state = self._state()
        if state == "died":
            # It may have written its last event and ended since the events were read.
            self._read_events()
            state = self._state()
        return _row_of(RunRecord(self.path.name, self.path, self._description, state, self._tip, self._event_records))

    def _read(self, found: Print) -> None:
        names = {name for name, *_ in found}
        before = {name: rest for name, *rest in self._print}
        now = {name: rest for name, *rest in found}
        self.has_description = "run.json" in names
        if now.get("run.json") != before.get("run.json") or self._description is None:
            self._description = _read_description(self.path / "run.json")
        journals = sorted(name for name in names if name.startswith("metrics-"))
        self._tip = next((tip for name in reversed(journals) if (tip := _metrics_in(self.path / name))), [])
        touched = [modified for name, modified, *_ in found if name != "events.jsonl"]
        self._touched_at = max(touched, default=0) / 1e9
        self._read_events()

    def _read_events(self) -> None:
        while True:
            records = self._events.read()
            if self._events.num_replaced != self._num_replaced:
                self._num_replaced, self._event_records = self._events.num_replaced, []
            self._event_records += [_clean_event(r) for r in records if r.get("event") in TELLING]
            self._event_records[1:-MAX_EVENTS] = []
            if self._events.is_at_end:
                return

    def _state(self) -> str:
        return run_state(self._event_records, time.time() - self._touched_at)


def _row_of(record: RunRecord) -> RunRow:
    description, tip = record.description, record.metrics
    recipe = description["recipe"]
    is_forward = len(tip) > 1 and tip[-1]["ts"] > tip[-20:][0]["ts"]
    return RunRow(
        run_id=record.run_id,
        state=record.state,
        step=record.step,
        num_steps=record.num_steps,
        left_s=max(record.left_s, 0.0) if is_forward else math.nan,
        loss=number_of(tip[-1].get("loss")) if tip else None,
        films_per_s=number_of(tip[-1].get("films_per_s")) if tip else math.nan,
        ehr=record.ehr,
        seed=_text(_section(recipe, "train").get("seed")),
        started_at=record.started_at,
        logged_at=tip[-1]["ts"] if tip else None,
        is_outcome_used=_outcome_used(record.ehr),
        cohort=_text(description.get("cohort")),
        dataset=_text(description.get("dataset")),
        split=_text(description.get("split")),
        num_films=_count(description.get("num_films")),
        backbone=_text(_section(recipe, "model").get("backbone")),
        device=_text(description.get("device")),
        trouble=_last_of(record.events, {"fail", "guard", "damage"}) if record.state != "finished" else "",
        alarm=_last_of(record.events, {"alarm"}),
    )


def _fingerprint(folder: Path) -> Print:
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_metrics = entry.name.startswith("metrics-") and entry.name.endswith(".jsonl")
                if is_metrics or entry.name in {"run.json", "events.jsonl"}:
                    info = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(info.st_mode):
                        found.append((entry.name, info.st_mtime_ns, info.st_size, info.st_ino))
    except OSError:
        return ()
    return tuple(sorted(found))


def _read_description(path: Path) -> dict[str, Any] | None:
    """run.json with the few entries that RunRecord relies on made sound."""
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            return None
        description = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(description, dict):
        return None
    recipe = _section(description, "recipe")
    ehr = _section(recipe, "ehr")
    features = ehr.get("features")
    names = [str(name) for name in features] if isinstance(features, list) else []
    recipe = {**recipe, "ehr": {**ehr, "features": names}}
    return {**description, "num_steps": _count(description.get("num_steps")), "recipe": recipe}


def _metrics_in(path: Path) -> list[Record]:
    return [record for record in read_tip(path) if is_metric(record)][-20:]


def _clean_event(record: Record) -> Record:
    """An event with a time stamp that is a number, and with a process only if it is one."""
    ts = number_of(record.get("ts"))
    is_process = isinstance(record.get("pid"), int) and isinstance(record.get("host"), str)
    return {**record, "ts": ts if math.isfinite(ts) else 0.0, "host": record["host"] if is_process else ""}


def _outcome_used(names: tuple[str, ...]) -> bool | None:
    is_known = True
    for name in names:
        try:
            if is_outcome_used((name,)):
                return True
        except UsageError:
            is_known = False
    return False if is_known else None


def _last_of(events: list[Record], names: set[str]) -> str:
    """Return what the last event of these names says, nothing if the run has been started since."""
    for event in reversed(events):
        if event["event"] == "start":
            return ""
        if event["event"] in names:
            step = f" at step {plain(event['step'], 20)}" if "step" in event else ""
            what = plain(event.get("what", ""), 300)
            return f"{event['event']}{step}" + (f": {what}" if what else "")
    return ""


def _section(values: Any, key: str) -> dict[str, Any]:
    section = values.get(key) if isinstance(values, dict) else None
    return section if isinstance(section, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:500]
