"""A curve as braille dots and axis ticks, in numpy; no widget.

In: a Curve, a size in cells, options. Out: Raster. Never: a value that is not finite as a dot of the curve.

Suffix letters: N buckets, C dot columns (two a cell), R dot rows (four a cell), H and W cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.dashboard.widgets.ticks import Axis, x_labels, y_labels
from cxrssl.records.curve import Curve, Floats

Dots = npt.NDArray[np.bool_]
# Bit of each dot of a braille cell, [4 rows, 2 columns]. Source: Unicode 16, chart U+2800.
BRAILLE_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
EMPTY, BAND, LINE, BAD = range(4)


@dataclass(frozen=True)
class PlotOptions:
    """How a curve is drawn."""

    x_axis: Axis = "step"
    is_log: bool = False
    is_smooth: bool = True


@dataclass(frozen=True, eq=False)
class Raster:
    """A drawn curve."""

    dots_HW: npt.NDArray[np.uint8]
    """Braille pattern of each cell."""
    ink_HW: npt.NDArray[np.uint8]
    """EMPTY, BAND, LINE or BAD."""
    y_ticks: dict[int, str]
    """Cell row -> label."""
    x_ticks: dict[int, str]
    """Cell column -> label."""
    note: str = ""
    """What is not drawn, and why; the reason alone if nothing is."""


def draw_curve(curve: Curve, width: int, height: int, options: PlotOptions) -> Raster:
    """Return the minimum to maximum of every dot column as a band and the curve as a line over it."""
    x_N, is_log = _axis_of(curve, options.x_axis), options.is_log
    low_N, high_N, line_N = curve.low, curve.high, curve.ema if options.is_smooth else curve.mean
    if is_log:
        low_N, high_N, line_N = (_log10(values) for values in (low_N, high_N, line_N))
    is_shown_N = np.isfinite(x_N) & (np.isfinite(high_N) | curve.is_bad)
    is_known_N = is_shown_N & np.isfinite(high_N)
    if width < 4 or height < 2 or not is_known_N.any():
        return _empty(width, height, _reason(curve, options, width, height))
    x_N, low_N, high_N, line_N = (values[is_shown_N] for values in (x_N, low_N, high_N, line_N))
    is_bad_N = curve.is_bad[is_shown_N]
    x_lo, x_hi = float(x_N[0]), float(x_N[-1])
    y_lo, y_hi = _padded(float(np.nanmin(low_N)), float(np.nanmax(high_N)), is_log)

    column_N = _place(x_N, x_lo, x_hi, 2 * width)
    lows_C, highs_C = (bin_columns(column_N, v, 2 * width, how) for v, how in ((low_N, "min"), (high_N, "max")))
    line_C = _join(bin_columns(column_N, line_N, 2 * width, "mean"))
    band_RC = _fill(_row(highs_C, y_lo, y_hi, height), _row(lows_C, y_lo, y_hi, height), 4 * height)
    line_RC = _stroke(_row(line_C, y_lo, y_hi, height), 4 * height)
    bad_RC = np.zeros_like(band_RC)
    bad_RC[-1, column_N[is_bad_N]] = True

    note = "red dots at the bottom: values that are not finite" if is_bad_N.any() else ""
    if is_log and np.nanmin(curve.low) <= 0:
        note = "values of 0 and below are not drawn"
    y_label_of = {
        (4 * height - 1 - _dot(tick, y_lo, y_hi, 4 * height)) // 4: label
        for tick, label in y_labels(y_lo, y_hi, height, is_log)
    }
    x_label_of = {
        _dot(tick, x_lo, x_hi, 2 * width) // 2: label for tick, label in x_labels(x_lo, x_hi, width, options.x_axis)
    }
    return _compose(band_RC, line_RC, bad_RC, y_label_of, x_label_of, note)


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


def _axis_of(curve: Curve, axis: Axis) -> Floats:
    return {"step": curve.step, "epoch": curve.epoch, "time": curve.elapsed_s}[axis]


def _log10(values: Floats) -> Floats:
    return np.log10(np.where(values > 0, values, np.nan))


def _padded(low: float, high: float, is_log: bool) -> tuple[float, float]:
    """Room around a flat curve."""
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    room = 0.3 if is_log else abs(low) * 0.05 or 1.0
    return low - room, high + room


def _place(values: Floats, low: float, high: float, num: int) -> npt.NDArray[np.int64]:
    scaled = (values - low) / (high - low) * (num - 1) if high > low else np.zeros_like(values)
    # An axis that goes back (an epoch of a hostile journal) stays where it is.
    return np.maximum.accumulate(np.clip(np.rint(scaled), 0, num - 1).astype(np.int64))


def _dot(value: float, low: float, high: float, num: int) -> int:
    return min(max(round((value - low) / (high - low) * (num - 1)), 0), num - 1) if high > low else 0


def _row(values_C: Floats, low: float, high: float, height: int) -> Floats:
    """Dot row of each value, from the top; nan stays."""
    num = 4 * height
    return (num - 1) - np.clip(np.rint((values_C - low) / (high - low) * (num - 1)), 0, num - 1)


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
    return np.interp(columns, known, values_C[known], left=np.nan, right=np.nan)


def _stroke(row_C: Floats, num_rows: int) -> Dots:
    """A line without vertical gaps: each column reaches half-way to the one before it."""
    before_C = np.concatenate([row_C[:1], row_C[:-1]])
    before_C = np.where(np.isnan(before_C), row_C, before_C)
    half_C = np.where(before_C < row_C, before_C + 1, np.where(before_C > row_C, before_C - 1, row_C))
    return _fill(np.fmin(row_C, half_C), np.fmax(row_C, half_C), num_rows)


def _compose(
    band_RC: Dots, line_RC: Dots, bad_RC: Dots, y_ticks: dict[int, str], x_ticks: dict[int, str], note: str
) -> Raster:
    """A cell holds one ink: the line clears the band from its cells, so that it is seen without colour too."""
    band_HW, line_HW, bad_HW = (_pack(dots) for dots in (band_RC, line_RC, bad_RC))
    dots_HW = np.where(line_HW > 0, line_HW, band_HW)
    ink_HW = np.where(line_HW > 0, LINE, np.where(band_HW > 0, BAND, EMPTY)).astype(np.uint8)
    dots_HW, ink_HW = np.where(bad_HW > 0, dots_HW | bad_HW, dots_HW), np.where(bad_HW > 0, BAD, ink_HW)
    return Raster(dots_HW, ink_HW.astype(np.uint8), y_ticks, x_ticks, note)


def _pack(dots_RC: Dots) -> npt.NDArray[np.uint8]:
    rows, columns = dots_RC.shape
    cells = dots_RC.reshape(rows // 4, 4, columns // 2, 2)
    packed: npt.NDArray[Any] = np.einsum("hrwc,rc->hw", cells.astype(np.int64), BRAILLE_BITS)
    return packed.astype(np.uint8)


def _empty(width: int, height: int, note: str) -> Raster:
    blank = np.zeros((max(height, 0), max(width, 0)), np.uint8)
    return Raster(blank, blank, {}, {}, note)


def _reason(curve: Curve, options: PlotOptions, width: int, height: int) -> str:
    if width < 4 or height < 2:
        return ""
    if options.x_axis == "epoch" and not np.isfinite(curve.epoch).any():
        return "no epoch was logged: press x for another axis"
    if options.is_log and (np.isfinite(curve.high)).any():
        return "no value is above 0: press y for a linear axis"
    return "no finite value yet"
