"""A screen whose state is read from files about once a second, in a thread.

In: what reads. Out: StateRead or ReadFailed. Never: two readings at once, or a file read on the thread that draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from textual import on, work
from textual.events import ScreenResume
from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from cxrssl.core.text import plain

REFRESH_S = 1.0


class Readable(Protocol):
    """What a screen shows."""

    @property
    def is_reading(self) -> bool:
        """Whether there is more to read at once."""


class StateRead(Message):
    """The files have been read."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state


class ReadFailed(Message):
    """The files could not be read."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what


class ReadingScreen(Screen[None]):
    """Reads on opening, every second while it is in sight, and on request."""

    def __init__(self) -> None:
        super().__init__()
        self.is_reading = self._is_again = False

    def plan_reading(self) -> Callable[[], Readable]:
        """Return what reads the state that the screen needs now; it is called in a thread."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.set_interval(REFRESH_S, self.read_if_seen)
        self.action_read()

    @on(ScreenResume)
    def read_if_seen(self) -> None:
        """Read, unless another screen is in front of this one."""
        if self.is_current:
            self.action_read()

    def action_read(self) -> None:
        """Read in a thread; if a reading is under way, read again after it."""
        if self.is_reading:
            self._is_again = True
            return
        self.is_reading = True
        self._read(self.plan_reading())

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, read: Callable[[], Readable]) -> None:
        self.post_message(StateRead(read()))

    @on(StateRead)
    def read_the_rest(self, message: StateRead) -> None:
        """Read again at once while journals are not read to their end."""
        if message.state.is_reading:
            self.action_read()

    @on(Worker.StateChanged)
    def end_reading(self, event: Worker.StateChanged) -> None:
        """Report a failure, or start the reading requested meanwhile."""
        if event.worker.group != "read" or event.state in {WorkerState.PENDING, WorkerState.RUNNING}:
            return
        self.is_reading = False
        is_again, self._is_again = self._is_again, False
        if event.state == WorkerState.ERROR:
            self.post_message(ReadFailed(plain(f"{type(event.worker.error).__name__}: {event.worker.error}", 200)))
        elif is_again:
            self.action_read()
