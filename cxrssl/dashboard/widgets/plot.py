"""CurvePlot: curves of one metric with axes, drawn line by line.

In: curves, their letters and PlotOptions. Out: strips of the screen. The dots come from raster.py; here they get
colours, a frame and a crosshair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.events import MouseMove, MouseScrollDown, MouseScrollUp
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from cxrssl.core.text import count_noun, plain
from cxrssl.dashboard.kept import Kept
from cxrssl.dashboard.text.cells import short_number, short_seconds
from cxrssl.dashboard.text.curves import LETTERS
from cxrssl.dashboard.text.styles import CURVES
from cxrssl.dashboard.widgets.raster import BAD, BAND, EMPTY, LINE, PlotOptions, Raster, draw_curves
from cxrssl.dashboard.widgets.theme import theme_of
from cxrssl.records.curve import Curve

FRAME_LINES = 3
"""Heading, axis, labels."""
GUTTER = 8
"""Places of the labels of the y axis."""


class CurvePlot(Widget, can_focus=True):
    """Curves of a metric; of the first the minimum and maximum in every dot column stand faint behind it."""

    HELP = "Curves. y: log or linear, x: step, epoch or time, s: smoothing, m: another metric."
    COMPONENT_CLASSES: ClassVar[set[str]] = {"plot--band", "plot--bad", "plot--axis", "plot--heading"}
    DEFAULT_CSS = """
    CurvePlot { height: 1fr; }
    CurvePlot > .plot--band { color: $foreground 45%; }
    CurvePlot > .plot--bad { color: $error; text-style: bold; }
    CurvePlot > .plot--axis { color: $foreground 60%; }
    CurvePlot > .plot--heading { color: $foreground; }
    """

    class Pointed(Message):
        """The mouse is over a value of the x axis."""

        def __init__(self, x: float) -> None:
            super().__init__()
            self.x = x

    class Zoomed(Message):
        """The wheel was turned over a value of the x axis."""

        def __init__(self, x: float, is_closer: bool) -> None:
            super().__init__()
            self.x, self.is_closer = x, is_closer

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.curves: tuple[Curve, ...] = ()
        self.options = PlotOptions()
        self.reason = ""
        self.places: tuple[int, ...] = ()
        """Which letter and colour each curve has; without any they have no letter."""
        self.crosshair: float | None = None
        """A value of the x axis."""
        self.raster: Raster | None = None
        """What is on the screen."""
        self._raster: Kept[Raster] = Kept()
        self._lines: list[Strip] = []
        self._drawn_for: tuple[object, ...] = ()

    def show(
        self,
        curves: Sequence[Curve],
        reason: str = "",
        options: PlotOptions | None = None,
        places: Sequence[int] = (),
        crosshair: float | None = None,
    ) -> None:
        """Draw these curves; without any, show the reason."""
        shown = (tuple(curves), "" if curves else reason, options or self.options, tuple(places), crosshair)
        if shown != (self.curves, self.reason, self.options, self.places, self.crosshair):
            self.curves, self.reason, self.options, self.places, self.crosshair = shown
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one line; all are drawn together, once for each change of what they depend on."""
        shown = (self.curves, self.reason, self.options, self.places, self.crosshair)
        drawn_for = (*shown, self.size, self.app.theme)
        if drawn_for != self._drawn_for:
            self._lines, self._drawn_for = self._draw(self.size), drawn_for
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def value_at(self, column: int) -> float | None:
        """Return the value of the x axis in a column of the widget."""
        scale = self.raster.x_scale if self.raster else None
        cell = column - GUTTER - 1
        return scale.value_of(cell) if scale is not None and 0 <= cell < scale.num_cells else None

    def on_mouse_move(self, event: MouseMove) -> None:
        x = self.value_at(event.x)
        if x is not None:
            self.post_message(self.Pointed(x))

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        self._zoom(event.x, True)

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        self._zoom(event.x, False)

    def _zoom(self, column: int, is_closer: bool) -> None:
        x = self.value_at(column)
        if x is not None:
            self.post_message(self.Zoomed(x, is_closer))

    def _draw(self, size: Size) -> list[Strip]:
        if not self.curves:
            self.raster = None
            return [self._strip([Segment(f" {plain(self.reason)}", self._style("axis"))], size.width)]
        height = size.height - FRAME_LINES
        key = (self.curves, self.options, size)
        draw = partial(draw_curves, self.curves, size.width - GUTTER - 1, height, self.options)
        raster = self.raster = self._raster.get(key, draw)
        cross = self._cross_cell(raster)
        lines = [self._heading(raster, cross, size.width)]
        tags = self._tags(raster)
        for row in range(max(height, 0)):
            lines.append(self._strip(self._row(raster, row, cross, tags.get(row, {})), size.width))
        return [*lines, *self._x_axis(raster, size.width)]

    def _cross_cell(self, raster: Raster) -> int | None:
        if self.crosshair is None or raster.x_scale is None:
            return None
        cell = float(raster.x_scale.dots(np.array([self.crosshair]), 1)[0])
        return int(cell) if 0 <= cell < raster.x_scale.num_cells else None

    def _tags(self, raster: Raster) -> dict[int, dict[int, int]]:
        """Return where the letter of each curve stands: at its end, one beside the other where they meet."""
        tags: dict[int, dict[int, int]] = {}
        for k in range(len(self.places)):
            (known,) = np.nonzero(np.isfinite(raster.lines_KC[k])) if raster.lines_KC else (np.array([]),)
            column = int(known[-1]) // 2 if len(known) else -1
            row = raster.row_of(k, column)
            while row is not None and column in tags.get(row, {}):
                column -= 1
                row = raster.row_of(k, column)
            if row is not None:
                tags.setdefault(row, {})[column] = k
        return tags

    def _heading(self, raster: Raster, cross: int | None, width: int) -> Strip:
        if cross is not None:
            return self._strip(self._cross_segments(raster, cross), width)
        curve, options = self.curves[0], self.options
        parts = [f" {plain(curve.metric, 40)}"]
        known = curve.mean[np.isfinite(curve.mean)]
        if len(self.curves) > 1:
            parts.append(count_noun(len(self.curves), "run"))
        elif len(known):
            parts[0] += f" {short_number(float(known[-1]))}"
            line = raster.lines_KC[0][np.isfinite(raster.lines_KC[0])] if raster.lines_KC else np.array([])
            if options.smoothing and len(line):
                value = float(line[-1])
                parts.append(f"smoothed {short_number(10.0**value if options.is_log else value)}")
            low, high = short_number(float(np.nanmin(curve.low))), short_number(float(np.nanmax(curve.high)))
            parts.append(f"range {low} to {high}")
        parts.append(f"over {options.x_axis}" + (", log y" if options.is_log else ""))
        if min(curve.read_frac for curve in self.curves) < 1:
            parts.append(f"reading, {min(curve.read_frac for curve in self.curves):.0%}")
        segments = [Segment(" · ".join(parts), self._style("heading"))]
        if raster.note:
            segments.append(Segment(f" · {raster.note}", self._style("axis")))
        return self._strip(segments, width)

    def _cross_segments(self, raster: Raster, cross: int) -> list[Segment]:
        """Return the heading that names what each curve is at the crosshair."""
        assert raster.x_scale is not None, "a crosshair needs an axis"
        segments = [Segment(f" {plain(self.curves[0].metric, 40)} at ", self._style("heading"))]
        segments.append(Segment(x_text(raster.x_scale.value_of(cross), self.options.x_axis), self._style("heading")))
        for k in range(len(self.curves)):
            value = self.value_of(k, cross)
            text = "–" if math.isnan(value) else short_number(value)
            letter = f"{letter_of(self.places[k])} " if self.places else ""
            segments.append(Segment(f"  {letter}{text}", self._ink(LINE + k)))
        return segments

    def value_of(self, curve: int, cell: int) -> float:
        """Return what is drawn of a curve in a cell column; nan where nothing is."""
        if self.raster is None or not self.raster.lines_KC:
            return math.nan
        values = self.raster.lines_KC[curve][2 * cell : 2 * cell + 2]
        known = values[np.isfinite(values)]
        if not len(known):
            return math.nan
        return float(10.0 ** known.mean() if self.options.is_log else known.mean())

    def values_at(self, x: float) -> dict[int, float]:
        """Return what is drawn at a value of the x axis, by the place of the curve."""
        scale = self.raster.x_scale if self.raster else None
        if scale is None or not self.display:
            return {}
        cell = int(np.clip(scale.dots(np.array([x]), 1)[0], 0, scale.num_cells - 1))
        return {(self.places[k] if self.places else k): self.value_of(k, cell) for k in range(len(self.curves))}

    def _row(self, raster: Raster, row: int, cross: int | None, tags: dict[int, int]) -> list[Segment]:
        label = raster.y_ticks.get(row, "")
        segments = [Segment(f"{label:>{GUTTER}}{'┤' if label else '│'}", self._style("axis"))]
        ink_W, dots_W = raster.ink_HW[row].copy(), raster.dots_HW[row]
        chars = [chr(0x2800 + dots) if dots else " " for dots in dots_W.tolist()]
        if cross is not None and cross < len(chars) and ink_W[cross] in (EMPTY, BAND):
            chars[cross], ink_W[cross] = "│", EMPTY
        for column, k in tags.items():
            chars[column], ink_W[column] = letter_of(self.places[k]), LINE + k
        starts = np.flatnonzero(np.diff(ink_W, prepend=255)).tolist()
        for start, stop in zip(starts, [*starts[1:], len(ink_W)], strict=True):
            segments.append(Segment("".join(chars[start:stop]), self._ink(int(ink_W[start]))))
        return segments

    def _x_axis(self, raster: Raster, width: int) -> list[Strip]:
        chart = width - GUTTER - 1
        line, labels = ["─"] * max(chart, 0), [" "] * (width + 1)
        end = 0
        for column, label in sorted(raster.x_ticks.items()):
            start = min(max(GUTTER + 1 + column - len(label) // 2, 0), width - len(label))
            line[column] = "┬"
            if start > end or not end:
                labels[start : start + len(label)] = label
                end = start + len(label)
        texts = [" " * GUTTER + "└" + "".join(line), "".join(labels)]
        return [self._strip([Segment(text, self._style("axis"))], width) for text in texts]

    def _strip(self, segments: list[Segment], width: int) -> Strip:
        used = sum(cell_len(segment.text) for segment in segments)
        if used > width and len(segments) == 1:
            segments = [Segment(set_cell_size(segments[0].text, width), segments[0].style)]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _ink(self, ink: int) -> Style:
        if ink < LINE:
            return self._style({EMPTY: "axis", BAND: "band", BAD: "bad"}[ink])
        place = self.places[ink - LINE] if self.places else ink - LINE
        return self._style("axis") + Style(color=color_of(place, theme_of(self)))

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"plot--{name}")


def letter_of(curve: int) -> str:
    """Return the letter of a curve."""
    return LETTERS[curve % len(LETTERS)]


def color_of(curve: int, theme: str) -> str:
    """Return the colour of a curve."""
    return CURVES[theme][curve % len(CURVES[theme])]


def x_text(value: float, axis: str) -> str:
    """Return a value of the x axis with what it is."""
    if axis == "time":
        return short_seconds(value)
    return f"{axis} {value:,.0f}" if axis == "step" else f"{axis} {value:.2f}"
