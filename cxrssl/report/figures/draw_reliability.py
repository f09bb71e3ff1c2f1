"""Reliability diagrams drawn.

In: groups of films with neighbouring scores. Out: a page.
"""

from __future__ import annotations

import math

from cxrssl.report.figures.ink import FAINT, PAPER, SERIES
from cxrssl.report.figures.page import Page
from cxrssl.report.figures.panels import Frame, Heading, open_panels
from cxrssl.report.figures.reliability import ReliabilityFigure, find_end

AXES = ("Predicted probability", "Observed share")


def draw_reliability(figure: ReliabilityFigure) -> Page:
    """Return the page of a figure."""
    frame = Frame(figure.title, figure.names, AXES, figure.notes, has_own_ticks=True, is_filled=True)
    headings = [Heading(each.finding, each.detail, each.numbers) for each in figure.panels]
    page, all_axes = open_panels(frame, headings)
    for axes, panel in zip(all_axes, figure.panels, strict=True):
        end = find_end(panel)
        axes.set_xlim(0, end)
        axes.set_ylim(0, end)
        ticks = [0, end / 2, end]
        axes.set_xticks(ticks, [f"{each:g}" for each in ticks])
        axes.set_yticks(ticks, [f"{each:g}" for each in ticks])
        axes.plot([0, end], [0, end], color=FAINT, linewidth=0.8, zorder=1)
        for k, series in enumerate(SERIES[: len(figure.names)]):
            held = [point for point in panel.points if len(point.predicted) > k]
            points = sorted(held, key=lambda point: point.predicted[k])
            xs, ys = [point.predicted[k] for point in points], [point.observed for point in points]
            for point, x in zip(points, xs, strict=True):
                if not k and not math.isnan(point.low):
                    axes.plot([x, x], [point.low, point.high], color=series.colour, linewidth=0.8, zorder=2)
            axes.plot(
                xs,
                ys,
                color=series.colour,
                linewidth=0.9,
                linestyle=(0, series.dashes) if series.dashes else "-",
                marker=series.marker,
                markersize=3.2,
                markerfacecolor=PAPER if k else series.colour,
                markeredgewidth=0.8,
                clip_on=False,
                zorder=3,
            )
    return page
