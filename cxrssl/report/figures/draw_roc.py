"""ROC and precision-recall figures drawn.

In: curves on a grid. Out: a page. Never: a curve without the number that it belongs to.
"""

from __future__ import annotations

from cxrssl.report.figures.ink import FAINT, SERIES, SOFT
from cxrssl.report.figures.page import Page
from cxrssl.report.figures.panels import Frame, Heading, open_panels
from cxrssl.report.figures.roc import NAMES, RocFigure, RocPanel


def draw_roc(figure: RocFigure) -> Page:
    """Return the page of a figure."""
    frame = Frame(figure.title, figure.names, NAMES[figure.kind][1], figure.notes)
    page, all_axes = open_panels(frame, [_head(panel) for panel in figure.panels])
    for axes, panel in zip(all_axes, figure.panels, strict=True):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        if figure.kind == "roc":
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.7, zorder=1)
        elif panel.prevalence is not None:
            axes.plot([0, 1], [panel.prevalence] * 2, color=SOFT, linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
        for series, line in zip(SERIES, panel.lines, strict=False):
            if line is None:
                continue
            if line.low:
                axes.fill_between(figure.x, line.low, line.high, color=series.colour, alpha=0.17, linewidth=0, zorder=2)
            style = (0, series.dashes) if series.dashes else "-"
            axes.plot(figure.x, line.y, color=series.colour, linewidth=1.1, linestyle=style, zorder=3)
    return page


def _head(panel: RocPanel) -> Heading:
    numbers = [(k, line.interval.to_text()) for k, line in enumerate(panel.lines) if line is not None]
    return Heading(panel.finding, panel.detail, tuple(numbers))
