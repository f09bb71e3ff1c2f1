"""Intervals as a forest plot in characters: one scale for all rows, a line at zero. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Bar = tuple[float, float, float]
"""Value and both ends; nan where there is no interval."""


@dataclass(frozen=True)
class ForestScale:
    """Which value lies in which place."""

    low: float
    high: float
    places: int
    has_zero: bool = True
    """Whether there is a line at zero."""

    def place(self, value: float) -> int:
        """Return the place of a value, that at the edge for one beyond it."""
        share = (value - self.low) / (self.high - self.low)
        return min(max(round(share * (self.places - 1)), 0), self.places - 1)

    def draw(self, bar: Bar) -> str:
        """Return an interval: "├──●──┤", the line at zero "┊" behind it; arrows where it goes beyond the scale."""
        value, low, high = bar
        cells = [" "] * self.places
        if self.has_zero:
            cells[self.place(0.0)] = "┊"
        if math.isfinite(low) and math.isfinite(high):
            first, last = self.place(low), self.place(high)
            cells[first : last + 1] = ["─"] * (last + 1 - first)
            cells[first] = "◄" if low < self.low else "├"
            cells[last] = "►" if high > self.high else "┤"
        if math.isfinite(value):
            cells[self.place(value)] = "●"
        return "".join(cells)

    def axis(self) -> str:
        """Return the line that says which values the ends and the middle line are."""
        cells = [" "] * self.places
        pattern = "{:+.3f}" if self.has_zero else "{:.3f}"
        low, high = pattern.format(self.low), pattern.format(self.high)
        cells[: len(low)], cells[self.places - len(high) :] = low, high
        zero = self.place(0.0)
        if self.has_zero and 8 <= zero <= self.places - 9:
            cells[zero] = "0"
        return "".join(cells)[: self.places]


def fit_forest(bars: Sequence[Bar], places: int, has_zero: bool = True) -> ForestScale:
    """Return the scale that holds all intervals, and zero unless there is none, with some room."""
    known = [value for bar in bars for value in bar if math.isfinite(value)]
    known += [0.0] if has_zero or not known else []
    low, high = min(known), max(known)
    room = 0.03 * (high - low) or 0.01
    return ForestScale(low - room, high + room, max(places, 8), has_zero)
