"""What happened to a run, and what state that leaves it in.

In: records of events.jsonl. Out: records made sound, the state. Never: an exception for what a record holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrssl.core.numbers import number_of
from cxrssl.core.process import is_alive
from cxrssl.records.tail import Record, iter_journal

QUIET_S = 120.0
"""A run on another host whose journal is silent for longer than this is called unseen."""
STOP_REQUEST = "stop request"
"""Written by `cxrssl runs stop`; the process that trains sees it and says STOPPING."""
STOPPING = "stopping"
TURNS = {"start": "", "stop": "stopped", "fail": "failed", "finish": "finished"}
TELLING = frozenset({*TURNS, "guard", "damage", "alarm"})
"""Events that decide the state, or that a person should know of."""


def is_event(record: Record) -> bool:
    """Return whether a record is an event, of whatever version."""
    return isinstance(record.get("event"), str)


def is_telling(record: Record) -> bool:
    """Return whether a record is an event of TELLING."""
    return is_event(record) and record["event"] in TELLING


def clean_event(record: Record) -> Record:
    """Return the event with a time stamp that is a number, and with a process only if it names one."""
    ts = number_of(record.get("ts"))
    is_process = isinstance(record.get("pid"), int) and isinstance(record.get("host"), str)
    return {**record, "ts": ts if math.isfinite(ts) else 0.0, "host": record["host"] if is_process else ""}


def has_finished(path: Path) -> bool:
    """Return whether the events say that the run has ended with its last step."""
    return any(record.get("event") == "finish" for record in iter_journal(path))


def was_asked_to_stop(path: Path) -> bool:
    """Return whether the events say that a person has asked the run to stop since its last start."""
    last = ""
    for record in iter_journal(path):
        last = record["event"] if record.get("event") in ("start", STOPPING) else last
    return last == STOPPING


def run_state(events: Sequence[dict[str, Any]], silent_s: float) -> str:
    """Return running, stopped, failed, finished; died: its process reported no end; unseen: elsewhere, silent.

    `silent_s` is how long nothing was written.
    """
    last = last_turn(events)
    if last is not None and last["event"] != "start":
        return TURNS[last["event"]]
    alive = None if last is None else is_alive(last)
    if alive is None:
        return "running" if silent_s < QUIET_S else "unseen"
    return "running" if alive else "died"


def last_turn(events: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the last event that says whether the run continues or has ended."""
    return next((event for event in reversed(events) if event["event"] in TURNS), None)
