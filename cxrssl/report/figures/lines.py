"""Lines in panels as numbers: scores over shares of the labels, metrics over steps of training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A line of one series; all of one length, nan where there is no value."""

    series: int
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    """The band; empty without one."""
    is_few: tuple[bool, ...] = ()
    """Which points rest on few subjects: their marks are open."""
    dots: tuple[tuple[float, float], ...] = ()
    """Single values behind the points, such as draws."""


@dataclass(frozen=True)
class LinePanel:
    title: str
    lines: tuple[Line, ...]
    detail: str = ""


@dataclass(frozen=True)
class LineFigure:
    """A page of panels that share the x axis."""

    title: str
    names: tuple[str, ...]
    """Of the series."""
    x_label: str
    panels: tuple[LinePanel, ...]
    ticks: tuple[float, ...] = ()
    """Of x, which is then on a scale of logarithms."""
    tick_labels: tuple[str, ...] = ()
    has_marks: bool = False
    notes: tuple[str, ...] = ()
