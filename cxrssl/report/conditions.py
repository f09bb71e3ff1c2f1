"""Conditions on films in a report: as written where small cells are shown too, else without values that may identify.

All that writes a condition into tables, figures or facts asks here; nothing hands the choice on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from cxrssl.cohort.condition import hide_values
from cxrssl.core.text import plain
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.report.small import SmallCells

_CHOSEN: ContextVar[SmallCells] = ContextVar("how conditions are shown", default="hide")


@contextmanager
def conditions_as(small: SmallCells) -> Iterator[None]:
    """Show conditions whole where `small` shows all, as what it makes must not be shared."""
    token = _CHOSEN.set(small)
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def show_condition(condition: str) -> str:
    """Return a condition as it may stand in what is made now."""
    return condition if _CHOSEN.get() == "show" else hide_values(condition)


def show_asked(probe: ProbeSettings) -> str:
    """Return what is asked of an evaluation in words, its condition as it may be shown."""
    if not probe.where or (shown := show_condition(probe.where)) == probe.where:
        return probe.asked
    films = f" (set {plain(probe.where_sha256[:6])})" if probe.where_sha256 else ""  # two may read the same
    return replace(probe, where=f"{shown}{films}").asked
