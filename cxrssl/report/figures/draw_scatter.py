"""Points in panels drawn: the same points in each, in other colours.

In: places and groups. Out: a page. Never: an axis with numbers, as they would mean nothing.
"""

from __future__ import annotations

import numpy as np

from cxrssl.report.figures.ink import FAINT, SERIES
from cxrssl.report.figures.page import Page
from cxrssl.report.figures.panels import Frame, Heading, open_panels
from cxrssl.report.figures.scatter import OTHER, ScatterFigure

GREY = "other or unknown"


def draw_scatter(figure: ScatterFigure) -> Page:
    """Return the page of a figure."""
    headings = [
        Heading(panel.title, GREY + " in grey" if np.any(panel.group_of == OTHER) else "", _number(panel.groups), True)
        for panel in figure.panels
    ]
    page, all_axes = open_panels(Frame(figure.title, (), ("", ""), figure.notes), headings)
    for axes, panel in zip(all_axes, figure.panels, strict=True):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.03)
        for group in (OTHER, *range(len(panel.groups))):
            x, y = figure.places_N2[panel.rows[panel.group_of == group]].T
            colour, marker = (FAINT, "o") if group == OTHER else (SERIES[group].colour, SERIES[group].marker)
            axes.plot(x, y, marker, color=colour, markersize=1.6, markeredgewidth=0, alpha=0.8, zorder=2 + group)
    return page


def _number(groups: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    return tuple(enumerate(groups))
