"""Forest plots drawn: names on the left, intervals in the middle, numbers on the right.

In: a Forest. Out: a page. Never: a number without the mark that its table gives it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes

from cxrssl.report.figures.forest import Forest, ForestRow, find_limits
from cxrssl.report.figures.ink import INK, PAPER, SERIES, SHADE, SOFT
from cxrssl.report.figures.names import shorten_names
from cxrssl.report.figures.page import BODY, HEADING, SMALL, Page, clean, line_height, measure, wrap
from cxrssl.report.figures.width import is_narrow, width_in

MARGIN, GUTTER, INDENT = 0.08, 0.12, 0.08
MAX_LABEL_IN, MIN_PLOT_IN = 2.6, 1.8
ROW_IN, STRIP_IN = 0.175, 0.14
"""Heights of a row of one line, and of the interval that stands below the name of a row in a column."""
TICK_IN = 0.12
"""Room for the half of a label at the end of an axis."""
PRIMARY, OTHER = SERIES[1].colour, SERIES[0].colour


@dataclass(frozen=True)
class _Columns:
    """Where names, intervals, remarks and numbers stand, in inches. In a narrow figure intervals are below names."""

    label_in: float
    plot_left: float
    plot_in: float
    remark_right: float
    names: list[str]
    heading: list[str]
    """Of the remarks."""


@dataclass(frozen=True)
class _Line:
    """What stands in one row of the page."""

    y: float
    height: float
    texts: list[str]
    row: ForestRow | None

    @property
    def strip(self) -> tuple[float, float]:
        """Where the interval of the row stands: its upper end and its height."""
        return (self.y + self.height - STRIP_IN, STRIP_IN) if is_narrow() else (self.y, self.height)

    @property
    def middle(self) -> float:
        top, height = self.strip
        return top + height / 2


def draw_forest(forest: Forest) -> Page:
    """Return the page of a forest."""
    columns, inner = _place_columns(forest), width_in() - 2 * MARGIN
    title = wrap(forest.title, inner, HEADING, True)
    top = MARGIN + len(title) * line_height(HEADING) + 0.08 + len(columns.heading) * line_height(SMALL)
    lines, bottom = _place_lines(forest, columns, top)
    notes = [each for note in forest.notes for each in wrap(note, inner, SMALL)]
    below = 0.56 + len(notes) * line_height(SMALL) + (0.06 if notes else 0)
    page = Page(width_in(), bottom + below)
    for k, each in enumerate(title):
        page.write(MARGIN, MARGIN + (k + 0.8) * line_height(HEADING), each, size=HEADING, is_bold=True)
    for k, each in enumerate(reversed(columns.heading)):
        base = top - 0.07 - k * line_height(SMALL)
        page.write(columns.remark_right, base, each, size=SMALL, align="right", colour=SOFT)
    for line in lines:
        _write_line(page, line, columns.remark_right)
    low, high = forest.limits or find_limits([forest])
    axes = page.add_axes(columns.plot_left, top, columns.plot_in, bottom - top)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    _draw_axis(axes, forest)
    for block in _list_blocks(lines):
        for strip in [line.strip for line in block] if is_narrow() else [(block[0].y, _end(block[-1]) - block[0].y)]:
            _draw_references(axes, forest, strip[0], sum(strip))
        _draw_rows(axes, block)
    _write_sides(page, forest, (columns.plot_left, columns.plot_in), (low, high), bottom)
    page.write_lines(MARGIN, bottom + 0.56 + 0.04, notes)
    return page


def _end(line: _Line) -> float:
    return line.y + line.height


def _place_columns(forest: Forest) -> _Columns:
    rows, inner = forest.rows, width_in() - 2 * MARGIN
    text_in = max([measure(row.text, SMALL, row.is_primary) for row in rows], default=0.6) + 0.02
    widest = max([measure(row.remark, SMALL) for row in rows], default=0.0)
    heading = [forest.remark_heading] if forest.remark_heading else []
    if is_narrow():
        heading = [line for text in heading for line in wrap(text, max(widest, inner / 4), SMALL)]
    remark_in = max([widest, *(measure(line, SMALL) for line in heading)])
    if is_narrow():
        room = inner - text_in - GUTTER
        plot_in = inner - 2 * TICK_IN - (remark_in + GUTTER if remark_in else 0.0)
        return _Columns(room, MARGIN + TICK_IN, plot_in, width_in() - MARGIN, _fit_names(forest, room), heading)
    most = min(MAX_LABEL_IN, inner - text_in - remark_in - 3 * GUTTER - MIN_PLOT_IN)
    names = _fit_names(forest, most)
    longest = max([measure(name, BODY, row.is_bold) for name, row in zip(names, rows, strict=True)], default=0.6)
    label_in = min(most, longest + INDENT + 0.02)
    plot_in = inner - label_in - remark_in - text_in - 3 * GUTTER
    remark_right = width_in() - MARGIN - text_in - GUTTER
    return _Columns(label_in, MARGIN + label_in + GUTTER, plot_in, remark_right, names, heading)


def _fit_names(forest: Forest, most: float) -> list[str]:
    """Return the names of the rows, each of two lines at most."""

    def fits(name: str) -> bool:
        return len(wrap(name, most - INDENT, BODY, True)) <= 2

    return shorten_names([row.label for row in forest.rows], fits)


def _place_lines(forest: Forest, columns: _Columns, top: float) -> tuple[list[_Line], float]:
    """Return what stands where, and where it ends."""
    left = iter(columns.names)
    lines, y = [], top
    for section in forest.sections:
        if section.heading:
            texts = wrap(section.heading, width_in() - 2 * MARGIN, BODY, True)
            height = 0.06 + len(texts) * line_height(BODY)
            lines.append(_Line(y, height, texts, None))
            y += height
        for row in section.rows:
            texts = wrap(next(left), columns.label_in - INDENT, BODY, row.is_bold)
            height = ROW_IN + max(len(texts) - 1, 0) * line_height(BODY) + (STRIP_IN if is_narrow() else 0.0)
            lines.append(_Line(y, height, texts, row))
            y += height
        y += 0.03
    return lines, max(y, top + ROW_IN)


def _write_line(page: Page, line: _Line, remark_right: float) -> None:
    row = line.row
    if row is not None and row.is_primary:
        page.shade(0, line.y, page.width_in, line.height, SHADE)
    is_bold, is_below = row is None or row.is_bold, is_narrow() and row is not None
    room = line.height - STRIP_IN if is_below else line.height
    base = line.y + (room - (len(line.texts) - 1) * line_height(BODY)) / 2 + 0.036
    for k, text in enumerate(line.texts):
        left = MARGIN if row is None else MARGIN + INDENT
        page.write(left, base + k * line_height(BODY), text, is_bold=is_bold)
    if row is not None:
        beside = base if is_below else line.middle + 0.034
        page.write(page.width_in - MARGIN, beside, row.text, size=SMALL, align="right", is_bold=row.is_primary)
        page.write(remark_right, line.middle + 0.034, row.remark, size=SMALL, align="right", colour=SOFT)


def _draw_axis(axes: Axes, forest: Forest) -> None:
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_visible(False)
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.3g}".replace("-", "−") if abs(value) > 1e-12 else "0")
    axes.set_xlabel(clean(forest.axis), labelpad=11)


def _list_blocks(lines: Sequence[_Line]) -> list[list[_Line]]:
    """Return the rows below each heading."""
    return [list(block) for is_row, block in groupby(lines, lambda line: line.row is not None) if is_row]


def _draw_references(axes: Axes, forest: Forest, top: float, bottom: float) -> None:
    """Draw the line of no difference, and those of the smallest that would matter, beside rows alone."""
    axes.plot([0, 0], [top, bottom], color=INK, linewidth=0.8, zorder=1)
    for end in (-forest.min_difference, forest.min_difference):
        if end:
            axes.plot([end, end], [top, bottom], color=SOFT, linewidth=0.6, dashes=(2, 2), zorder=1)


def _draw_rows(axes: Axes, lines: Sequence[_Line]) -> None:
    low, high = axes.get_xlim()
    for line in lines:
        row = line.row
        if row is None or math.isnan(row.interval.value):
            continue
        interval, y = row.interval, line.middle
        colour = PRIMARY if row.is_primary else OTHER
        if interval.has_interval:
            axes.plot([max(low, interval.lo), min(high, interval.hi)], [y, y], color=colour, linewidth=1.3, zorder=2)
            for end, marker in ((interval.lo, "<"), (interval.hi, ">")):
                if not low <= end <= high:
                    edge = low if end < low else high
                    axes.plot([edge], [y], marker, color=colour, markersize=3.5, clip_on=False, zorder=3)
        seeds = [each for each in row.by_seed if low <= each <= high]
        axes.plot(seeds, [y + 0.055] * len(seeds), "|", color=SOFT, markersize=2.6, markeredgewidth=0.7, zorder=2)
        is_open = interval.mark in ("few", "no interval")
        axes.plot(
            [interval.value],
            [y],
            "D" if row.is_bold else "s",
            markersize=4.6 if row.is_bold else 3.8,
            markerfacecolor=PAPER if is_open else colour,
            markeredgecolor=colour,
            markeredgewidth=0.9,
            zorder=4,
        )


def _write_sides(
    page: Page, forest: Forest, plot: tuple[float, float], limits: tuple[float, float], bottom: float
) -> None:
    """Write below the axis what its two sides mean, where there is room for it."""
    zero = plot[0] + plot[1] * (0 - limits[0]) / (limits[1] - limits[0])
    below, above = f"← {forest.sides[0]}", f"{forest.sides[1]} →"
    y = bottom + 0.275
    if measure(below, SMALL) < zero - plot[0] + GUTTER:
        page.write(zero - 0.05, y, below, size=SMALL, align="right", colour=SOFT)
    if measure(above, SMALL) < plot[0] + plot[1] - zero + GUTTER:
        page.write(zero + 0.05, y, above, size=SMALL, colour=SOFT)
