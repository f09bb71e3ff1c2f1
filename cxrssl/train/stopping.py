"""What ends a run early: signals, and the event that `cxrssl runs stop` writes, which also reaches another machine.

In: a StopRequest of core.signals, the events of the run. Out: whether to stop after this step, and how that is said.
Never: a wait for the device, or more than one look at the file a second.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from cxrssl.core.errors import Preempted
from cxrssl.core.journal import append_record, iter_records
from cxrssl.core.signals import StopRequest, stop_name
from cxrssl.records.events import STOP_REQUEST, STOPPING

LOOK_S = 1.0


class StopWatch:
    """Whether a run was asked to stop, by a signal or by an event that came after this was made."""

    def __init__(self, signals: StopRequest, events: Path) -> None:
        self._signals, self._events = signals, events
        self._offset = events.stat().st_size if events.exists() else 0
        self._looked_at = -LOOK_S
        self._is_asked = False

    def __bool__(self) -> bool:
        now = time.monotonic()
        if not self._is_asked and now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._is_asked = self._look()
        return self._is_asked or bool(self._signals)

    def _look(self) -> bool:
        """Read what was appended to the events since; return whether it asks to stop."""
        data = b""
        # Opened rather than looked up: a client of NFS then asks its server, instead of what it remembers.
        with contextlib.suppress(OSError), self._events.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > self._offset:
                file.seek(self._offset)
                data = file.read()
            self._offset = min(self._offset, size)  # a file that was put in its place counts from its end on
        self._offset += data.rfind(b"\n") + 1
        if not any(record.get("event") == STOP_REQUEST for record in iter_records(data)):
            return False
        append_record(self._events, {"event": STOPPING})
        return True

    def error(self, step: int) -> Preempted:
        """Return the error that ends a run whose checkpoint of `step` is written."""
        by = "cxrssl runs stop" if self._is_asked else stop_name(self._signals.signal)
        what = f"stopped by {by} after step {step}; its checkpoint is written"
        asked_by, hint = self._signals.signal, "run the same command to resume"
        return Preempted(what, hint=hint, asked_by=asked_by, is_final=self._is_asked)
