"""Films beside each other drawn.

In: copies of films. Out: a page. Never: a film larger than its copy.
"""

from __future__ import annotations

from matplotlib.axes import Axes

from cxrssl.report.figures.films import FilmCell, FilmFigure
from cxrssl.report.figures.ink import PAGE_IN, SOFT
from cxrssl.report.figures.page import HEADING, SMALL, TINY, Page, line_height, measure, wrap

MARGIN, GAP = 0.08, 0.1
NUM_LINES = 3


def draw_films(figure: FilmFigure) -> Page:
    """Return the page of a figure."""
    inner = PAGE_IN - 2 * MARGIN
    num_columns = max([len(row) for row in figure.rows], default=1)
    side = min(1.4, (inner - GAP * num_columns) / num_columns)
    texts = [[_fit_lines(cell, side) for cell in row] for row in figure.rows]
    heights = [side + max(map(len, lines), default=0) * line_height(TINY) + 0.12 for lines in texts]
    title = wrap(figure.title, inner, HEADING, True)
    notes = [line for note in figure.notes for line in wrap(note, inner, SMALL)]
    top = MARGIN + len(title) * line_height(HEADING) + (0.24 if figure.rows else 0.05)
    bottom = top + sum(heights)
    page = Page(PAGE_IN, bottom + len(notes) * line_height(SMALL) + 0.16)
    for k, line in enumerate(title):
        page.write(MARGIN, MARGIN + (k + 0.8) * line_height(HEADING), line, size=HEADING, is_bold=True)
    if figure.rows:
        page.write(MARGIN, top - 0.06, figure.heads[0], is_bold=True)
        page.write(MARGIN + side + 2 * GAP, top - 0.06, figure.heads[1], is_bold=True)
    y = top
    for row, lines, height in zip(figure.rows, texts, heights, strict=True):
        for number, (cell, below) in enumerate(zip(row, lines, strict=True)):
            left = MARGIN + number * (side + GAP) + (GAP if number and figure.heads[1] else 0)
            _draw_cell(page, cell, (left, y), side)
            page.write_lines(left, y + side + 0.1, below, size=TINY, colour=SOFT)
        y += height
    page.write_lines(MARGIN, bottom + 0.1, notes)
    return page


def _draw_cell(page: Page, cell: FilmCell, place: tuple[float, float], side: float) -> None:
    axes: Axes = page.add_axes(*place, side, side)
    axes.imshow(cell.pixels_CC, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    axes.set_axis_off()


def _fit_lines(cell: FilmCell, side: float) -> list[str]:
    """Return what stands below a film, in NUM_LINES lines at most."""
    lines = [line for text in cell.lines for line in wrap(text, side, TINY)]
    return lines if len(lines) <= NUM_LINES else [*lines[: NUM_LINES - 1], _cut(lines[NUM_LINES - 1], side)]


def _cut(line: str, width: float) -> str:
    while line and measure(f"{line} …", TINY) > width:
        line = line[:-1]
    return f"{line} …"
