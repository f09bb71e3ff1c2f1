"""Signals: before the first step they end the command; while it trains, the first asks for a stop after the current
step, and the same again ends the process at once.

A second, different signal is not a demand to quit at once: a cluster warns with SIGUSR2, SIGTERM, or both in turn.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from cxrssl.core.errors import Preempted
from cxrssl.core.process import find_launch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
ECHO_S = 1.0
"""A process that torchrun has started may get one signal twice: from the cluster and, passed on, from torchrun."""
Handler = Callable[[int, FrameType | None], None]


class StopRequest:
    """Whether a stop was asked for, and by which signal, the last of them if there were several."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.asked_at = 0.0

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Yield a StopRequest that the signals of SIGNALS set; the old handlers come back at the end."""
    request = StopRequest()
    echo_s = ECHO_S if find_launch() else 0.0

    def handle(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        # Only a flag is set: a handler runs between any two instructions, also inside a save.
        if request.signal != number:
            request.signal, request.asked_at = signal.Signals(number), now
        elif now - request.asked_at >= echo_s:
            os._exit(128 + number)  # as a shell reports it; no cleanup, which is what was asked for twice

    with _handlers(SIGNALS, handle):
        yield request


@contextlib.contextmanager
def leave_on_signals() -> Iterator[None]:
    """Raise Preempted at once for all signals of SIGNALS but Ctrl-C: nothing is trained yet, so nothing is lost."""

    def handle(number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        error = Preempted(f"stopped by {name} before the first step", hint="run the same command to resume")
        error.asked_by = signal.Signals(number)
        raise error

    with _handlers([number for number in SIGNALS if number != signal.SIGINT], handle):
        yield


@contextlib.contextmanager
def _handlers(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    old = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)
