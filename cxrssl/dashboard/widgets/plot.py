"""CurvePlot: one curve with axes, drawn line by line.

In: a Curve and PlotOptions. Out: strips of the screen. The dots come from raster.py; here they get colours and a frame.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from cxrssl.core.text import plain
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.text.cells import short_number
from cxrssl.dashboard.widgets.raster import BAD, BAND, EMPTY, LINE, PlotOptions, Raster, draw_curve
from cxrssl.dashboard.widgets.ticks import AXES
from cxrssl.records.curve import Curve

Change = Literal["log", "smooth", "axis"]
FRAME_LINES = 3
"""Heading, axis, labels."""


class CurvePlot(Widget, can_focus=True):
    """A curve: its minimum and maximum in every dot column faint, the smoothed (or mean) value as a line."""

    HELP = "A curve. y: log or linear, x: step, epoch or time, s: smoothing, m and M: another metric."
    BINDINGS: ClassVar[list[BindingType]] = [Binding("M", "screen.move_metric(-1)", "Metric back", show=False)]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"plot--line", "plot--band", "plot--bad", "plot--axis", "plot--heading"}
    DEFAULT_CSS = """
    CurvePlot { height: 1fr; }
    CurvePlot > .plot--line { color: $accent; }
    CurvePlot > .plot--band { color: $foreground 45%; }
    CurvePlot > .plot--bad { color: $error; text-style: bold; }
    CurvePlot > .plot--axis { color: $foreground 60%; }
    CurvePlot > .plot--heading { color: $foreground; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.curve: Curve | None = None
        self.options = PlotOptions()
        self.reason = ""
        self._lines: list[Strip] = []
        self._drawn_for: tuple[object, ...] = ()

    def show(self, curve: Curve | None, reason: str = "") -> None:
        """Draw this curve; without one, show the reason."""
        reason = "" if curve else reason
        if curve is not self.curve or reason != self.reason:
            self.curve, self.reason = curve, reason
            self.refresh()

    def redraw(self, change: Change) -> None:
        """Draw with the next x axis, with the other y axis, or with the mean in place of the smoothed value."""
        options = self.options
        if change == "log":
            self.options = replace(options, is_log=not options.is_log)
        elif change == "smooth":
            self.options = replace(options, is_smooth=not options.is_smooth)
        else:
            self.options = replace(options, x_axis=turn(AXES, options.x_axis, 1))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one line; all are drawn together, once for each change of what they depend on."""
        drawn_for = (self.curve, self.options, self.reason, self.size, self.app.theme)
        if drawn_for != self._drawn_for:
            self._lines, self._drawn_for = self._draw(self.size), drawn_for
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self, size: Size) -> list[Strip]:
        if self.curve is None:
            return [self._strip([Segment(f" {plain(self.reason)}", self._style("axis"))], size.width)]
        height = size.height - FRAME_LINES
        gutter = 8
        raster = draw_curve(self.curve, size.width - gutter - 1, height, self.options)
        lines = [self._heading(raster, size.width)]
        lines += [self._strip(self._row(raster, row, gutter), size.width) for row in range(max(height, 0))]
        return [*lines, *self._x_axis(raster, gutter, size.width)]

    def _heading(self, raster: Raster, width: int) -> Strip:
        curve, options = self.curve, self.options
        assert curve is not None, "a heading needs a curve"
        parts = [f" {plain(curve.metric, 40)}"]
        known = curve.mean[np.isfinite(curve.mean)]
        if len(known):
            parts[0] += f" {short_number(float(known[-1]))}"
            low, high = short_number(float(np.nanmin(curve.low))), short_number(float(np.nanmax(curve.high)))
            parts.append(f"range {low} to {high}")
            if options.is_smooth:
                smoothed = curve.ema[np.isfinite(curve.ema)]
                parts.insert(1, f"smoothed {short_number(float(smoothed[-1]))}")
        parts.append(f"over {options.x_axis}" + (", log y" if options.is_log else ""))
        if curve.read_frac < 1:
            parts.append(f"reading, {curve.read_frac:.0%}")
        segments = [Segment(" · ".join(parts), self._style("heading"))]
        if raster.note:
            segments.append(Segment(f" · {raster.note}", self._style("axis")))
        return self._strip(segments, width)

    def _row(self, raster: Raster, row: int, gutter: int) -> list[Segment]:
        label = raster.y_ticks.get(row, "")
        segments = [Segment(f"{label:>{gutter}}{'┤' if label else '│'}", self._style("axis"))]
        ink_W, dots_W = raster.ink_HW[row], raster.dots_HW[row]
        starts = np.flatnonzero(np.diff(ink_W, prepend=255)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(ink_W)], strict=True):
            text = "".join(chr(0x2800 + dots) if dots else " " for dots in dots_W[start:stop].tolist())
            segments.append(Segment(text, self._ink(int(ink_W[start]))))
        return segments

    def _x_axis(self, raster: Raster, gutter: int, width: int) -> list[Strip]:
        chart = width - gutter - 1
        line, labels = ["─"] * max(chart, 0), [" "] * (width + 1)
        end = 0
        for column, label in sorted(raster.x_ticks.items()):
            start = min(max(gutter + 1 + column - len(label) // 2, 0), width - len(label))
            line[column] = "┬"
            if start > end or not end:
                labels[start : start + len(label)] = label
                end = start + len(label)
        texts = [" " * gutter + "└" + "".join(line), "".join(labels)]
        return [self._strip([Segment(text, self._style("axis"))], width) for text in texts]

    def _strip(self, segments: list[Segment], width: int) -> Strip:
        used = sum(cell_len(segment.text) for segment in segments)
        if used > width and segments:
            text = "".join(segment.text for segment in segments)
            is_one = len(segments) == 1
            segments = [Segment(set_cell_size(text, width), segments[0].style)] if is_one else segments
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _ink(self, ink: int) -> Style:
        return self._style({EMPTY: "axis", BAND: "band", LINE: "line", BAD: "bad"}[ink])

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"plot--{name}")
