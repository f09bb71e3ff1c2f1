"""How wide the figures of a report are: as a page of a journal, or as one of its two columns.

All that plans, measures or draws a figure asks here; nothing hands the width on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, get_args

from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain
from cxrssl.report.figures.ink import COLUMN_IN, PAGE_IN

FigureWidth = Literal["page", "column"]
INCHES: dict[FigureWidth, float] = {"page": PAGE_IN, "column": COLUMN_IN}
_CHOSEN: ContextVar[FigureWidth] = ContextVar("width of figures", default="page")


def width_in() -> float:
    """Return the width of the figures that are planned or drawn now, in inches."""
    return INCHES[_CHOSEN.get()]


def is_narrow() -> bool:
    """Return whether figures are as wide as a column."""
    return _CHOSEN.get() == "column"


@contextmanager
def drawn_as(width: FigureWidth) -> Iterator[None]:
    """Plan and draw figures of this width."""
    token = _CHOSEN.set(width)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def parse_width(text: str) -> FigureWidth:
    """Return the choice of a user. Raises: UsageError."""
    for known in get_args(FigureWidth):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(f'--figure-width is "{plain(text, 40)}"', hint=nearest_hint(text, get_args(FigureWidth)))
