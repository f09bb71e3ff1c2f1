"""Progress with rate and time left on stderr: a bar on a terminal, a plain line now and then elsewhere.

Never: more than one line of the terminal's width, 80 places elsewhere; what matters least is left out first.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from cxrssl.core.columns import cell_width, cut_middle
from cxrssl.core.signals import check_stop
from cxrssl.core.text import plain

PLAIN_INTERVAL_S = 15.0
FIRST_LINE_S = 2.0
WORTH_TELLING_S = 1.0
WIDTH = 80
MIN_WHAT = 16
"""Places of the name of what is done, before a part is left out for it."""
BAR_PLACES = 12
BAR_RANK = 5
"""It gives way first of all parts."""


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
        is_done = self.done >= self.total
        clock = format_seconds(elapsed_s) if is_done else f"{format_seconds(left_s)} left"
        line = describe_progress(self.what, (self.done, self.total), self.unit, rate, clock, self.note)
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def describe_progress(
    what: str, done: tuple[int, int], unit: str, rate: float, clock: str, note: str, width: int = WIDTH, bar: str = ""
) -> str:
    """Return a line of at most `width` places.

    The middle of `what` gives way first, then the bar, the rest of the note, the rate, the note's first part, the time.
    """
    first, _, rest = plain(note, 200).partition(", ")
    parts = [
        (bar, BAR_RANK),
        (f"{done[0]:,} of {done[1]:,} {unit}", 0),
        (f"{format_rate(rate)} {unit}/s", 3),
        (clock, 1),
    ]
    parts = [part for part in (*parts, (first, 2), (rest, 4)) if part[0]]
    what = plain(what, 200)
    least = min(cell_width(what), MIN_WHAT)
    while least + 2 + cell_width(_join(parts)) > width and len(parts) > 1:
        parts.remove(max(parts, key=lambda part: part[1]))
    text = _join(parts)
    return f"{cut_middle(what, max(width - 2 - cell_width(text), 1))}: {text}"


def _join(parts: list[tuple[str, int]]) -> str:
    bar = "".join(f"{text} " for text, rank in parts if rank == BAR_RANK)
    return bar + ", ".join(text for text, rank in parts if rank != BAR_RANK)


def fit_between(head: str, name: str, end: str, width: int = WIDTH) -> str:
    """Return "head: name end" in at most `width` places: the name gives way, then the middle of the head."""
    room = width - cell_width(head) - 2 - cell_width(end)
    if room >= min(MIN_WHAT, cell_width(name)):
        return f"{head}: {cut_middle(name, room)}{end}"
    return f"{cut_middle(head, max(width - cell_width(end), 1))}{end}"


def draw_bar(share: float, places: int = BAR_PLACES) -> str:
    """Return a bar that is filled to a share."""
    full = min(max(int(share * places), 0), places)
    return "━" * full + "─" * (places - full)


@contextlib.contextmanager
def _bar(what: str, total: int, unit: str, done: int) -> Iterator[Track]:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    console = Console(file=getattr(sys.stderr, "raw", sys.stderr))

    class Line(ProgressColumn):
        def render(self, task: Task) -> Text:
            at = int(task.completed), int(task.total or 0)
            left_s, share = task.time_remaining, task.completed / task.total if task.total else 1.0
            clock = f"{format_seconds(left_s)} left" if left_s else format_seconds(task.elapsed or 0.0)
            note, bar = task.fields["note"], draw_bar(share)
            line = describe_progress(what, at, unit, task.speed or 0.0, clock, note, console.width - 1, bar)
            return Text(line, no_wrap=True, overflow="crop")

    with Progress(Line(), console=console) as progress:
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
