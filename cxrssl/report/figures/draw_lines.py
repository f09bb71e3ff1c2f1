"""Lines in panels drawn.

In: lines. Out: a page. Never: values joined over a gap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from cxrssl.report.figures.ink import PAPER, SERIES
from cxrssl.report.figures.lines import Line, LineFigure
from cxrssl.report.figures.page import SMALL, Page, measure
from cxrssl.report.figures.panels import Frame, Heading, open_panels


def draw_lines(figure: LineFigure) -> Page:
    """Return the page of a figure."""
    frame = Frame(figure.title, figure.names, (figure.x_label, ""), figure.notes, has_own_ticks=True)
    page, all_axes = open_panels(frame, [Heading(panel.title, panel.detail) for panel in figure.panels])
    for axes, panel in zip(all_axes, figure.panels, strict=True):
        for line in panel.lines:
            _draw_line(axes, line, figure.has_marks)
        _set_ticks(axes, figure, page.width_in)
    return page


def _draw_line(axes: Axes, line: Line, has_marks: bool) -> None:
    series = SERIES[line.series]
    if line.low:
        axes.fill_between(line.x, line.low, line.high, color=series.colour, alpha=0.14, linewidth=0, zorder=2)
    axes.plot(
        [x for x, _ in line.dots],
        [y for _, y in line.dots],
        ".",
        color=series.colour,
        markersize=2.4,
        alpha=0.6,
        zorder=3,
    )
    style = (0, series.dashes) if series.dashes else "solid"
    axes.plot(line.x, line.y, color=series.colour, linewidth=1.0 if has_marks else 0.8, linestyle=style, zorder=3)
    if not has_marks:
        return
    for is_open in (False, True):
        places = [k for k in range(len(line.x)) if bool(line.is_few and line.is_few[k]) is is_open]
        axes.plot(
            [line.x[k] for k in places],
            [line.y[k] for k in places],
            series.marker,
            markersize=3.8,
            markerfacecolor=PAPER if is_open else series.colour,
            markeredgecolor=series.colour,
            markeredgewidth=0.9,
            zorder=4,
        )


def _drop_crowded(labels: Sequence[str], places: Sequence[float]) -> list[str]:
    """Return the labels of ticks at these places, in inches, the last first; empty where one would touch the next."""
    shown, left = [""] * len(labels), math.inf
    for k in range(len(labels) - 1, -1, -1):
        half = measure(labels[k], SMALL) / 2
        if places[k] + half < left - 0.04:
            shown[k], left = labels[k], places[k] - half
    return shown


def _set_ticks(axes: Axes, figure: LineFigure, page_in: float) -> None:
    if figure.ticks:
        axes.set_xscale("log")
        axes.minorticks_off()
        low, high = min(figure.ticks) / 1.25, max(figure.ticks) * 1.25
        axes.set_xlim(low, high)
        width = axes.get_position().width * page_in
        places = [width * math.log(tick / low) / math.log(high / low) for tick in figure.ticks]
        axes.set_xticks(list(figure.ticks), _drop_crowded(figure.tick_labels, places))
    else:
        axes.margins(x=0.02)
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value == round(value) else f"{value:g}")
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
