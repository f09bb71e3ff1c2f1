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
from cxrssl.report.figures.ink import INK, PAGE_IN, PAPER, SERIES, SHADE, SOFT
from cxrssl.report.figures.names import shorten_names
from cxrssl.report.figures.page import BODY, HEADING, SMALL, Page, line_height, measure, wrap

MARGIN, GUTTER, INDENT = 0.08, 0.12, 0.08
MAX_LABEL_IN, MIN_PLOT_IN = 2.6, 1.8
ROW_IN = 0.175
PRIMARY, OTHER = SERIES[1].colour, SERIES[0].colour


@dataclass(frozen=True)
class _Line:
    """What stands in one row of the page."""

    y: float
    height: float
    texts: list[str]
    row: ForestRow | None


def draw_forest(forest: Forest) -> Page:
    """Return the page of a forest."""
    remark_in, text_in = _measure_columns(forest)
    names, label_in = _fit_names(forest, PAGE_IN - 2 * MARGIN - text_in - remark_in - 3 * GUTTER - MIN_PLOT_IN)
    plot_left = MARGIN + label_in + GUTTER
    plot_in = PAGE_IN - 2 * MARGIN - label_in - remark_in - text_in - 3 * GUTTER
    title = wrap(forest.title, PAGE_IN - 2 * MARGIN, HEADING, True)
    top = MARGIN + len(title) * line_height(HEADING) + 0.08 + (line_height(SMALL) if forest.remark_heading else 0)
    lines, bottom = _place_lines(forest, names, label_in, top)
    notes = [each for note in forest.notes for each in wrap(note, PAGE_IN - 2 * MARGIN, SMALL)]
    below = 0.56 + len(notes) * line_height(SMALL) + (0.06 if notes else 0)
    page = Page(PAGE_IN, bottom + below)
    for k, each in enumerate(title):
        page.write(MARGIN, MARGIN + (k + 0.8) * line_height(HEADING), each, size=HEADING, is_bold=True)
    remark_right = PAGE_IN - MARGIN - text_in - GUTTER
    if forest.remark_heading:
        page.write(remark_right, top - 0.07, forest.remark_heading, size=SMALL, align="right", colour=SOFT)
    for line in lines:
        _write_line(page, line, remark_right)
    low, high = forest.limits or find_limits([forest])
    axes = page.add_axes(plot_left, top, plot_in, bottom - top)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    _draw_axis(axes, forest)
    for block in _list_blocks(lines):
        _draw_references(axes, forest, block[0].y, block[-1].y + block[-1].height)
        _draw_rows(axes, block)
    _write_sides(page, forest, (plot_left, plot_in), (low, high), bottom)
    page.write_lines(MARGIN, bottom + 0.56 + 0.04, notes)
    return page


def _measure_columns(forest: Forest) -> tuple[float, float]:
    """Return the widths of remarks and numbers."""
    rows = forest.rows
    text_in = max([measure(row.text, SMALL, row.is_primary) for row in rows], default=0.6) + 0.02
    remark_in = max([measure(row.remark, SMALL) for row in rows] + [measure(forest.remark_heading, SMALL)], default=0)
    return remark_in, text_in


def _fit_names(forest: Forest, room: float) -> tuple[list[str], float]:
    """Return the names of the rows, each of two lines at most, and the width of their column."""
    most = min(MAX_LABEL_IN, room)

    def fits(name: str) -> bool:
        return len(wrap(name, most - INDENT, BODY, True)) <= 2

    names = shorten_names([row.label for row in forest.rows], fits)
    widest = max([measure(name, BODY, row.is_bold) for name, row in zip(names, forest.rows, strict=True)], default=0.6)
    return names, min(most, widest + INDENT + 0.02)


def _place_lines(forest: Forest, names: Sequence[str], label_in: float, top: float) -> tuple[list[_Line], float]:
    """Return what stands where, and where it ends."""
    left = iter(names)
    lines, y = [], top
    for section in forest.sections:
        if section.heading:
            texts = wrap(section.heading, PAGE_IN - 2 * MARGIN, BODY, True)
            height = 0.06 + len(texts) * line_height(BODY)
            lines.append(_Line(y, height, texts, None))
            y += height
        for row in section.rows:
            texts = wrap(next(left), label_in - INDENT, BODY, row.is_bold)
            height = ROW_IN + (len(texts) - 1) * line_height(BODY) if texts else ROW_IN
            lines.append(_Line(y, height, texts, row))
            y += height
        y += 0.03
    return lines, max(y, top + ROW_IN)


def _write_line(page: Page, line: _Line, remark_right: float) -> None:
    row = line.row
    if row is not None and row.is_primary:
        page.shade(0, line.y, PAGE_IN, line.height, SHADE)
    is_bold = row is None or row.is_bold
    base = line.y + (line.height - (len(line.texts) - 1) * line_height(BODY)) / 2 + 0.036
    for k, text in enumerate(line.texts):
        left = MARGIN if row is None else MARGIN + INDENT
        y = base + k * line_height(BODY)
        page.write(left, y, text, is_bold=is_bold)
    if row is not None:
        middle = line.y + line.height / 2 + 0.034
        page.write(PAGE_IN - MARGIN, middle, row.text, size=SMALL, align="right", is_bold=row.is_primary)
        page.write(remark_right, middle, row.remark, size=SMALL, align="right", colour=SOFT)


def _draw_axis(axes: Axes, forest: Forest) -> None:
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_visible(False)
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.3g}".replace("-", "−") if abs(value) > 1e-12 else "0")
    axes.set_xlabel(forest.axis, labelpad=11)


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
        interval, y = row.interval, line.y + line.height / 2
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
