"""The page of any figure, and its bytes: what imports matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cxrssl.report.figures.draw_films import draw_films
from cxrssl.report.figures.draw_flow import draw_flow_page
from cxrssl.report.figures.draw_forest import draw_forest
from cxrssl.report.figures.draw_lines import draw_lines
from cxrssl.report.figures.draw_reliability import draw_reliability
from cxrssl.report.figures.draw_roc import draw_roc
from cxrssl.report.figures.draw_scatter import draw_scatter
from cxrssl.report.figures.films import FilmFigure
from cxrssl.report.figures.forest import Forest
from cxrssl.report.figures.formats import Format
from cxrssl.report.figures.lines import LineFigure
from cxrssl.report.figures.page import Page, render
from cxrssl.report.figures.reliability import ReliabilityFigure
from cxrssl.report.figures.roc import RocFigure
from cxrssl.report.figures.scatter import ScatterFigure
from cxrssl.report.flow import Flow

DRAWN: Mapping[type, Callable[[Any], Page]] = {
    FilmFigure: draw_films,
    Flow: draw_flow_page,
    Forest: draw_forest,
    RocFigure: draw_roc,
    LineFigure: draw_lines,
    ReliabilityFigure: draw_reliability,
    ScatterFigure: draw_scatter,
}


def draw_figure(figure: object, name: str, formats: Sequence[Format]) -> dict[Format, bytes]:
    """Return a figure of plain numbers in each format."""
    return render(lambda: DRAWN[type(figure)](figure), name, tuple(formats))
