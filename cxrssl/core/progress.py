"""Progress with rate and time left on stderr: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from cxrssl.core.signals import check_stop

PLAIN_INTERVAL_S = 15.0
FIRST_LINE_S = 2.0
WORTH_TELLING_S = 1.0


class Track(Protocol):
    """What a stage reports to while it works."""

    def advance(self, num: int = 1, note: str = "") -> None: ...


@contextlib.contextmanager
def track(what: str, total: int, unit: str, done: int = 0) -> Iterator[Track]:
    """Yield a Track for `total` units of work, `done` of which were finished earlier."""
    if sys.stderr.isatty():
        with _bar(what, total, unit, done) as bar:
            yield bar
    else:
        line = _PlainTrack(what, total, unit, done)
        yield line
        line.finish()


class _PlainTrack:
    def __init__(self, what: str, total: int, unit: str, done: int) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.start_done = self.told = self.done = done
        self.note = ""
        self.started = time.monotonic()
        self.next_at = self.started + FIRST_LINE_S

    def advance(self, num: int = 1, note: str = "") -> None:
        check_stop()
        self.done += num
        self.note = note or self.note
        if time.monotonic() >= self.next_at:
            self.next_at = time.monotonic() + PLAIN_INTERVAL_S
            self._print()

    def finish(self) -> None:
        if self.done > self.told and time.monotonic() - self.started > WORTH_TELLING_S:
            self._print()

    def _print(self) -> None:
        self.told = self.done
        elapsed_s = max(time.monotonic() - self.started, 1e-9)
        rate = (self.done - self.start_done) / elapsed_s
        left_s = (self.total - self.done) / rate if rate else 0.0
        text = f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {format_rate(rate)} {self.unit}/s"
        text += f", {format_seconds(left_s)} left" if self.done < self.total else f", {format_seconds(elapsed_s)}"
        sys.stderr.write(text + (f", {self.note}" if self.note else "") + "\n")
        sys.stderr.flush()


@contextlib.contextmanager
def _bar(what: str, total: int, unit: str, done: int) -> Iterator[Track]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{format_rate(task.speed or 0.0)} {unit}/s", style="progress.data.speed")

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeLeft()]
    with Progress(
        *columns, TextColumn("{task.fields[note]}"), console=Console(file=getattr(sys.stderr, "raw", sys.stderr))
    ) as progress:
        task_id = progress.add_task(what, total=total, completed=done, note="")

        class Bar:
            def advance(self, num: int = 1, note: str = "") -> None:
                check_stop()
                fields: dict[str, Any] = {"note": note} if note else {}
                progress.update(task_id, advance=num, **fields)

        yield Bar()


def format_rate(rate: float) -> str:
    """Return a rate with three significant digits."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}" if rate >= 1 else f"{rate:.2f}"


def format_seconds(seconds: float) -> str:
    """Return a duration such as "3 min 20 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
