"""Signals while training: the first asks for a stop after the current step, the second ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class StopRequest:
    """Whether a stop was asked for, and by which signal."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Yield a StopRequest that the signals of SIGNALS set; the old handlers come back at the end."""
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        if request:
            os._exit(128 + number)
        request.signal = signal.Signals(number)

    old = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
