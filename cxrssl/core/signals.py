"""Signals that end a command: one sentence, one exit code, and what was saved until then.

In: SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 or Ctrl-C. Out: KeyboardInterrupt in the main thread, then Preempted, whatever
the library that was interrupted has made of it. The same signal again ends the process at once.
Never: a signal handled that was ignored when the process began, as SIGHUP is under nohup.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from cxrssl.core.errors import Preempted

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
ECHO_S = 0.5
"""One signal may arrive twice: `timeout` sends it to a process and to its group, torchrun passes on what all got."""
NUM_NAMED = 3
Handler = Callable[[int, FrameType | None], None]
_saved: list[str] = []


class Interrupted(KeyboardInterrupt):
    """What a signal raises. After KeyboardInterrupt itself in a text that is executed, as each dataclass has one, the
    interpreter would end by SIGINT in the end, whatever code the command leaves with.
    """


class StopRequest:
    """Whether a stop was asked for, and by which signal, the last of them if there were several."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.asked_at = 0.0
        self.is_over = False
        """Whether what could be stopped has ended: nothing is interrupted any more."""

    def __bool__(self) -> bool:
        return self.signal is not None

    def take(self, number: int) -> bool:
        """Note a signal and return whether it is the first; the same again ends the process at once.

        A second, different signal is not a demand to quit at once: a cluster warns with SIGUSR2, SIGTERM, or both.
        """
        now, is_first = time.monotonic(), not self
        if self.signal != number:
            self.signal, self.asked_at = signal.Signals(number), now
            if number == signal.SIGHUP:
                _leave_terminal()
        elif now - self.asked_at >= ECHO_S:
            os._exit(128 + number)  # as a shell reports it; no cleanup, which is what was asked for twice
        return is_first

    def error(self) -> Preempted:
        """Return the error that says what stopped the command and what is saved."""
        what, hint = f"stopped by {stop_name(self.signal)}", "run the same command to resume"
        if not _saved:
            again = "run the same command again"  # there is nothing to resume
            return Preempted(f"{what} before anything was saved", hint=again, asked_by=self.signal)
        more = f" and {len(_saved) - NUM_NAMED:,} more" if len(_saved) > NUM_NAMED else ""
        return Preempted(f"{what}; saved: {', '.join(_saved[-NUM_NAMED:])}{more}", hint=hint, asked_by=self.signal)


_current: StopRequest | None = None
_is_held = False


@contextlib.contextmanager
def end_on_signals() -> Iterator[StopRequest]:
    """Interrupt the block on a signal of ENDING, and yield what says which it was."""
    global _current
    request, outer = StopRequest(), _current

    def handle(number: int, _frame: FrameType | None) -> None:
        if request.take(number) and not (request.is_over or _is_held):
            raise Interrupted

    _saved.clear()
    _current = request
    try:
        with _handlers(handle):
            yield request
    finally:
        _current = outer


@contextlib.contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Yield a StopRequest that the signals of ENDING set, and interrupt nothing."""
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        request.take(number)  # only a flag: a handler runs between any two instructions, also inside a save

    with _handlers(handle):
        yield request


@contextlib.contextmanager
def _handlers(handler: Handler) -> Iterator[None]:
    """Set a handler for the signals of ENDING that are not ignored; the old ones come back at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    old = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold back what ends a command while processes are started: they inherit the mask, so it reaches the parent alone.

    SIGTERM is left to them: it is how a pool ends its processes.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, set(ENDING) - {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a step that is not to be cut in two come to its end before a signal interrupts.

    A mask would not do: a thread of Polars would take the signal, and Python run the handler here all the same.
    """
    global _is_held
    _is_held = True
    try:
        yield
    finally:
        _is_held = False
    check_stop()


def check_stop() -> None:
    """Raise KeyboardInterrupt when a stop was asked for that a library has swallowed."""
    if _current and not _current.is_over and threading.current_thread() is threading.main_thread():
        raise Interrupted


def note_saved(what: str) -> None:
    """Note what this command has saved, for the sentence that a signal ends it with."""
    _saved.append(what)


def ignore_signals() -> None:
    """Ignore what would end a process that has done its work and is about to leave."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def stop_name(number: signal.Signals | None) -> str:
    """Return how people call a signal."""
    if number is None:
        return "a signal to another process"
    return "Ctrl-C" if number == signal.SIGINT else number.name


def _leave_terminal() -> None:
    """Write to nowhere what went to a terminal that is closed: else the next word would fail and end what is saved."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):  # once hung up, it is no terminal to isatty any more
                os.dup2(nowhere, descriptor)
    os.close(nowhere)
