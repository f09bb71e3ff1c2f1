"""Axes whose ticks are at round values and at equal distances on the screen, which a cell grid has only if they fit it.

In: the range of the values and a number of cells. Out: Scale: which value lies at which dot, and the labels. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cxrssl.dashboard.widgets.ticks import TIME_STEPS, Axis, axis_labels, decade_text, nice_ticks, tick_text
from cxrssl.records.curve import Floats

MIN_CELLS = 5
"""Below so many an axis has no ticks at round distances, and covers just its values."""


@dataclass(frozen=True)
class Scale:
    """An axis of so many cells."""

    low: float
    """At the outer edge of the first cell."""
    high: float
    """At the outer edge of the last one."""
    num_cells: int
    labels: dict[int, str]
    """By cell, the first at the low end."""

    def dots(self, values: Floats, dots_per_cell: int) -> Floats:
        """Return the dot of each value, counted from the low end; nan and what lies beyond the ends stay so."""
        num = self.num_cells * dots_per_cell
        with np.errstate(invalid="ignore", over="ignore"):
            share = (values / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
            return np.asarray(np.floor(np.where(share == 1, 1 - 0.5 / num, share) * num))

    def value_of(self, cell: int) -> float:
        """Return the value in the middle of a cell."""
        return self.low + (self.high - self.low) * (cell + 0.5) / self.num_cells


def fit_y(low: float, high: float, num_cells: int, is_log: bool) -> Scale:
    """Return the scale of a y axis; of a logarithmic one low and high are exponents of 10."""
    if is_log:
        return _fit_log(low, high, num_cells)
    return _fit(low, high, num_cells, range(2, 7), "step", is_y=True)


def fit_x(low: float, high: float, num_cells: int, axis: Axis) -> Scale:
    """Return the scale of an x axis."""
    return _fit(low, high, num_cells, range(13, 27), axis, is_y=False)


def _fit(low: float, high: float, num_cells: int, gaps: range, axis: Axis, is_y: bool) -> Scale:
    """Return the scale that wastes the least: ticks a whole number of cells apart, that many as `gaps` allows."""
    span = high - low
    if num_cells < MIN_CELLS or not math.isfinite(span) or span <= 0:
        return Scale(low, high, num_cells, {})
    best: tuple[float, float, int] | None = None
    for gap in gaps:
        for distance in _distances(span * gap / num_cells, axis):
            unit = distance / gap
            first = math.floor(low / unit + 0.5)
            if (first + num_cells - 0.5) * unit >= high - 1e-9 * span and (best is None or unit < best[0] * 0.999):
                best = unit, distance, first
    if best is None or best[0] <= abs(low) * 1e-13:
        return Scale(low, high, num_cells, {})
    unit, distance, first = best
    if is_y:
        spare = int(num_cells - 0.5 - (high / unit - first))
        first -= min(spare // 2, max(first, 0) if low >= 0 else spare // 2)
    gap = round(distance / unit)
    cells = [cell for cell in range(num_cells) if (first + cell) % gap == 0]
    ticks = [(first + cell) // gap * distance for cell in cells]
    texts = [tick_text(tick, ticks) for tick in ticks] if is_y else axis_labels(ticks, axis)
    low_edge = (first - 0.5) * unit
    return Scale(low_edge, low_edge + num_cells * unit, num_cells, dict(zip(cells, texts, strict=True)))


def _distances(rough: float, axis: Axis) -> Iterator[float]:
    """Yield round distances from about `rough` up."""
    if axis == "time" and rough < TIME_STEPS[-1]:
        yield from [each for each in TIME_STEPS if each >= rough][:3]
        return
    unit = TIME_STEPS[-1] if axis == "time" else 1.0
    power = 10.0 ** math.floor(math.log10(rough / unit))
    for factor in (1, 2, 5, 10, 20):
        distance = factor * power * unit
        if distance >= rough * 0.999:
            yield distance


def _fit_log(low: float, high: float, num_cells: int) -> Scale:
    """Return a scale of exponents: decades at equal distances, or round values where there are few decades."""
    if num_cells < MIN_CELLS or high <= low:
        return Scale(low, high, num_cells, {})
    if high - low >= 2:
        scale = _fit(low, high, num_cells, range(1, 7), "step", is_y=True)
        labels = {cell: decade_text(scale.value_of(cell)) for cell in scale.labels}
        return Scale(scale.low, scale.high, num_cells, labels)
    ticks = [tick for tick in nice_ticks(10**low, 10**high, max(num_cells // 3, 2)) if tick > 0]
    scale = Scale(low, high, num_cells, {})
    for tick in ticks:
        cell = int(scale.dots(np.array([math.log10(tick)]), 1)[0])
        if 0 <= cell < num_cells:
            scale.labels.setdefault(cell, tick_text(tick, ticks))
    return scale
