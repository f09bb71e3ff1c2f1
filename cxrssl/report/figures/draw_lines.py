"""Lines in panels drawn.

In: lines. Out: a page. Never: values joined over a gap.
"""

from __future__ import annotations

from matplotlib.axes import Axes

from cxrssl.report.figures.ink import PAPER, SERIES
from cxrssl.report.figures.lines import Line, LineFigure
from cxrssl.report.figures.page import Page
from cxrssl.report.figures.panels import Frame, Heading, open_panels


def draw_lines(figure: LineFigure) -> Page:
    """Return the page of a figure."""
    frame = Frame(figure.title, figure.names, (figure.x_label, ""), figure.notes, has_own_ticks=True)
    page, all_axes = open_panels(frame, [Heading(panel.title, panel.detail) for panel in figure.panels])
    for axes, panel in zip(all_axes, figure.panels, strict=True):
        for line in panel.lines:
            _draw_line(axes, line, figure.has_marks)
        _set_ticks(axes, figure)
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


def _set_ticks(axes: Axes, figure: LineFigure) -> None:
    if figure.ticks:
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(list(figure.ticks), list(figure.tick_labels))
        axes.set_xlim(min(figure.ticks) / 1.25, max(figure.ticks) * 1.25)
    else:
        axes.margins(x=0.02)
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value == round(value) else f"{value:g}")
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
