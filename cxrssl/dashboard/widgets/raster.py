"""Curves as braille dots and axis ticks, in numpy; no widget.

In: curves, a size in cells, options. Out: Raster. Never: a value that is not finite as a dot of a curve.

Suffix letters: N buckets, C dot columns (two a cell), R dot rows (four a cell), H and W cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.dashboard.smooth import DEFAULT_STRENGTH, smooth_centred
from cxrssl.dashboard.widgets.axes import Scale, fit_x, fit_y
from cxrssl.dashboard.widgets.ticks import Axis
from cxrssl.records.curve import Curve, Floats

Dots = npt.NDArray[np.bool_]
Window = tuple[float, float]
# Bit of each dot of a braille cell, [4 rows, 2 columns]. Source: Unicode 16, chart U+2800.
BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
EMPTY, BAND, BAD, LINE = range(4)
"""Ink of a cell; LINE + k is that of the k-th curve."""


@dataclass(frozen=True)
class PlotOptions:
    """How curves are drawn."""

    x_axis: Axis = "step"
    is_log: bool = False
    smoothing: float = DEFAULT_STRENGTH
    """Width of the bell as a share of the curve; 0 draws the mean of each column."""
    window: Window | None = None
    """Part of the x axis that is shown; None for all."""
    has_band: bool = True
    """Whether the lowest to highest values of the first curve stand behind it."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Drawn curves."""

    dots_HW: npt.NDArray[np.uint8]
    """Braille pattern of each cell."""
    ink_HW: npt.NDArray[np.uint8]
    """EMPTY, BAND, BAD, or LINE and more."""
    y_ticks: dict[int, str]
    """Cell row -> label."""
    x_ticks: dict[int, str]
    """Cell column -> label."""
    note: str = ""
    """What is not drawn, and why; the reason alone if nothing is."""
    x_scale: Scale | None = None
    lines_KC: tuple[Floats, ...] = field(default=(), repr=False)
    """The drawn value of each curve in each dot column; nan beyond its ends."""
    y_scale: Scale | None = None

    def row_of(self, curve: int, column: int) -> int | None:
        """Return the cell row in which a curve passes a cell column, None where it does not."""
        if self.y_scale is None or not 0 <= column < self.dots_HW.shape[1]:
            return None
        values = self.lines_KC[curve][2 * column : 2 * column + 2]
        known = values[np.isfinite(values)]
        if not len(known):
            return None
        row = self.y_scale.num_cells - 1 - int(self.y_scale.dots(known[:1], 1)[0])
        return row if 0 <= row < self.y_scale.num_cells else None


def draw_curves(curves: Sequence[Curve], width: int, height: int, options: PlotOptions) -> Raster:
    """Return the curves as lines; of the first the minimum to maximum of every dot column as a band behind it."""
    parts = [_Part.of(curve, options) for curve in curves]
    known = [part for part in parts if part.is_known_N.any()]
    if width < 4 or height < 2 or not known:
        return _empty(width, height, _reason(curves, options, width, height))
    x_scale = fit_x(*_x_range(known, options), width, options.x_axis)
    binned = [part.bin(x_scale, 2 * width, options.smoothing) for part in parts]
    y_scale = fit_y(*_y_range(binned, options), height, options.is_log)
    band_RC, bad_RC = np.zeros((4 * height, 2 * width), bool), np.zeros((4 * height, 2 * width), bool)
    if options.has_band:
        band_RC = _fill(_rows(binned[0].high_C, y_scale), _rows(binned[0].low_C, y_scale), 4 * height)
    lines_RC = [_stroke(_rows(each.line_C, y_scale), 4 * height) for each in binned]
    for each in binned:
        bad_RC[-1] |= each.is_bad_C
    note = "marks at the bottom: values that are not finite" if bad_RC.any() else ""
    if options.is_log and any(np.nanmin(curve.low, initial=np.inf) <= 0 for curve in curves):
        note = "values of 0 and below are not drawn"
    dots_HW, ink_HW = _compose(band_RC, lines_RC, bad_RC)
    y_ticks = {height - 1 - cell: label for cell, label in y_scale.labels.items()}
    lines = tuple(each.line_C for each in binned)
    return Raster(dots_HW, ink_HW, y_ticks, dict(x_scale.labels), note, x_scale, lines, y_scale)


@dataclass(frozen=True, eq=False)
class _Binned:
    """A curve in dot columns."""

    low_C: Floats
    high_C: Floats
    line_C: Floats
    is_bad_C: Dots


@dataclass(frozen=True, eq=False)
class _Part:
    """What of a curve can be drawn; values on a logarithmic axis as exponents."""

    x_N: Floats
    low_N: Floats
    mean_N: Floats
    high_N: Floats
    is_bad_N: Dots
    is_known_N: Dots

    @classmethod
    def of(cls, curve: Curve, options: PlotOptions) -> _Part:
        x_N = {"step": curve.step, "epoch": curve.epoch, "time": curve.elapsed_s}[options.x_axis]
        values = (curve.low, curve.mean, curve.high)
        low_N, mean_N, high_N = (_log10(each) for each in values) if options.is_log else values
        is_shown_N = np.isfinite(x_N) & (np.isfinite(high_N) | curve.is_bad)
        x_N, low_N, mean_N, high_N = (each[is_shown_N] for each in (x_N, low_N, mean_N, high_N))
        return cls(x_N, low_N, mean_N, high_N, curve.is_bad[is_shown_N], np.isfinite(high_N))

    def bin(self, scale: Scale, num: int, smoothing: float) -> _Binned:
        """Return it in `num` dot columns; the line is smoothed with what lies beyond the ends of the scale too."""
        # An axis that goes back (an epoch of a hostile journal) stays where it is.
        at_N = np.maximum.accumulate(scale.dots(self.x_N, num // scale.num_cells)) if len(self.x_N) else self.x_N
        is_in_N = (at_N >= 0) & (at_N < num)
        column_N = at_N[is_in_N].astype(np.int64)
        low_C, high_C = (
            bin_columns(column_N, values[is_in_N], num, how)
            for values, how in ((self.low_N, "min"), (self.high_N, "max"))
        )
        line_C = self._smooth_columns(at_N, num, smoothing)
        is_bad_C = np.zeros(num, bool)
        is_bad_C[column_N[self.is_bad_N[is_in_N]]] = True
        return _Binned(low_C, high_C, line_C, is_bad_C)

    def _smooth_columns(self, at_N: Floats, num: int, smoothing: float) -> Floats:
        """Return the smoothed line, binned over the whole curve in columns as wide as those of the screen."""
        if not self.is_known_N.any():
            return np.full(num, np.nan)
        at_N, mean_N = at_N[self.is_known_N], self.mean_N[self.is_known_N]
        first, last = max(float(at_N[0]), -4.0 * num), min(float(at_N[-1]), 5.0 * num)
        is_near_N = (at_N >= first) & (at_N <= last)
        length = max(int(last - first) + 1, 1)
        means_C = bin_columns((at_N[is_near_N] - first).astype(np.int64), mean_N[is_near_N], length, "mean")
        whole = max(float(at_N[-1] - at_N[0]), 1.0)
        is_some_C = np.isfinite(means_C)
        share = smoothing * whole / max(length, 1)
        smoothed_C = smooth_centred(means_C, is_some_C.astype(np.float64), share) if smoothing else means_C
        out_C = np.full(num, np.nan)
        joined_C = _join(smoothed_C)
        start = int(first)
        source, target = max(-start, 0), max(start, 0)
        copied = max(min(length - source, num - target), 0)
        out_C[target : target + copied] = joined_C[source : source + copied]
        return out_C


def _x_range(parts: Sequence[_Part], options: PlotOptions) -> Window:
    low, high = min(float(part.x_N[0]) for part in parts), max(float(part.x_N.max()) for part in parts)
    if options.window is not None:
        low, high = options.window
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _y_range(binned: Sequence[_Binned], options: PlotOptions) -> Window:
    """Return the range of what is drawn; a band far beyond the lines is cut off."""
    drawn = [each.line_C for each in binned] + ([binned[0].low_C, binned[0].high_C] if options.has_band else [])
    known = np.concatenate(drawn)
    known = known[np.isfinite(known)]
    if not len(known):
        return 0.0, 1.0
    return _padded(float(known.min()), float(known.max()), options.is_log)


def bin_columns(column_N: npt.NDArray[np.int64], values_N: Floats, num: int, how: str) -> Floats:
    """Return the minimum, maximum or mean of the values that fall into each of `num` columns; nan in empty ones.

    Shapes: column_N ascending [N], [N] -> [num].
    """
    out = np.full(num, np.nan)
    if not len(column_N):
        return out
    starts = np.flatnonzero(np.diff(column_N, prepend=-1))
    columns = column_N[starts]
    if how == "mean":
        is_known_N = ~np.isnan(values_N)
        totals = np.add.reduceat(np.where(is_known_N, values_N, 0.0), starts)
        counts = np.add.reduceat(is_known_N.astype(np.float64), starts)
        out[columns] = np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
    else:
        out[columns] = (np.fmin if how == "min" else np.fmax).reduceat(values_N, starts)
    return out


def _log10(values: Floats) -> Floats:
    return np.asarray(np.log10(np.where(values > 0, values, np.nan)))


def _padded(low: float, high: float, is_log: bool) -> Window:
    """Room around a flat curve."""
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    room = 0.3 if is_log else abs(low) * 0.05 or 1.0
    return low - room, high + room


def _rows(values_C: Floats, scale: Scale) -> Floats:
    """Dot row of each value, from the top; nan stays."""
    num = 4 * scale.num_cells
    return (num - 1) - np.clip(scale.dots(values_C, 4), 0, num - 1)


def _fill(top_C: Floats, bottom_C: Floats, num_rows: int) -> Dots:
    rows_R1 = np.arange(num_rows)[:, None]
    with np.errstate(invalid="ignore"):
        return np.asarray((rows_R1 >= top_C) & (rows_R1 <= bottom_C))


def _join(values_C: Floats) -> Floats:
    """Straight lines between the columns that have a value."""
    (known,) = np.nonzero(np.isfinite(values_C))
    if not len(known):
        return values_C
    columns = np.arange(len(values_C))
    return np.asarray(np.interp(columns, known, values_C[known], left=np.nan, right=np.nan))


def _stroke(row_C: Floats, num_rows: int) -> Dots:
    """A line without vertical gaps: each column reaches half-way to the one before it."""
    before_C = np.concatenate([row_C[:1], row_C[:-1]])
    before_C = np.where(np.isnan(before_C), row_C, before_C)
    half_C = np.where(before_C < row_C, before_C + 1, np.where(before_C > row_C, before_C - 1, row_C))
    return _fill(np.fmin(row_C, half_C), np.fmax(row_C, half_C), num_rows)


def _compose(
    band_RC: Dots, lines_RC: Sequence[Dots], bad_RC: Dots
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """A cell holds one ink: a line clears the band from its cells; lines that meet keep their dots, the first its ink.

    Shapes: dots [R, C] -> patterns and inks [H, W].
    """
    band_HW, bad_HW = _pack(band_RC), _pack(bad_RC)
    line_HW, ink_HW = np.zeros_like(band_HW), np.where(band_HW > 0, BAND, EMPTY).astype(np.uint8)
    for k, line_RC in reversed(list(enumerate(lines_RC))):
        own_HW = _pack(line_RC)
        line_HW |= own_HW
        ink_HW[own_HW > 0] = LINE + k
    dots_HW = np.where(line_HW > 0, line_HW, band_HW) | bad_HW
    ink_HW[bad_HW > 0] = BAD
    return dots_HW, ink_HW


def _pack(dots_RC: Dots) -> npt.NDArray[np.uint8]:
    rows, columns = dots_RC.shape
    cells = dots_RC.reshape(rows // 4, 4, columns // 2, 2)
    packed: npt.NDArray[Any] = np.einsum("hrwc,rc->hw", cells.astype(np.int64), BRAILLE_BITS)
    return packed.astype(np.uint8)


def _empty(width: int, height: int, note: str) -> Raster:
    blank = np.zeros((max(height, 0), max(width, 0)), np.uint8)
    return Raster(blank, blank, {}, {}, note)


def _reason(curves: Sequence[Curve], options: PlotOptions, width: int, height: int) -> str:
    if width < 4 or height < 2:
        return ""
    if options.x_axis == "epoch" and not any(np.isfinite(curve.epoch).any() for curve in curves):
        return "no epoch was logged: press x for another axis"
    if options.is_log and any(np.isfinite(curve.high).any() for curve in curves):
        return "no value is above 0: press y for a linear axis"
    return "no finite value yet"
