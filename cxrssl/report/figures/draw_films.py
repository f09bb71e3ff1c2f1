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
HEADS = ("Test film", "Nearest films of other train subjects")


def draw_films(figure: FilmFigure) -> Page:
    """Return the page of a figure."""
    inner = PAGE_IN - 2 * MARGIN
    num_columns = max([len(row) for row in figure.rows], default=1)
    side = min(1.4, (inner - GAP * num_columns) / num_columns)
    row_in = side + NUM_LINES * line_height(TINY) + 0.12
    title = wrap(figure.title, inner, HEADING, True)
    notes = [line for note in figure.notes for line in wrap(note, inner, SMALL)]
    top = MARGIN + len(title) * line_height(HEADING) + (0.24 if figure.rows else 0.05)
    bottom = top + len(figure.rows) * row_in
    page = Page(PAGE_IN, bottom + len(notes) * line_height(SMALL) + 0.16)
    for k, line in enumerate(title):
        page.write(MARGIN, MARGIN + (k + 0.8) * line_height(HEADING), line, size=HEADING, is_bold=True)
    if figure.rows:
        page.write(MARGIN, top - 0.06, HEADS[0], is_bold=True)
        page.write(MARGIN + side + 2 * GAP, top - 0.06, HEADS[1], is_bold=True)
    for k, row in enumerate(figure.rows):
        for number, cell in enumerate(row):
            left = MARGIN + number * (side + GAP) + (GAP if number else 0)
            _draw_cell(page, cell, left, top + k * row_in, side)
    page.write_lines(MARGIN, bottom + 0.1, notes)
    return page


def _draw_cell(page: Page, cell: FilmCell, left: float, top: float, side: float) -> None:
    axes: Axes = page.add_axes(left, top, side, side)
    axes.imshow(cell.pixels_CC, cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    lines = [line for text in cell.lines for line in wrap(text, side, TINY)]
    if len(lines) > NUM_LINES:
        lines = [*lines[: NUM_LINES - 1], _cut(lines[NUM_LINES - 1], side)]
    page.write_lines(left, top + side + 0.1, lines, size=TINY, colour=SOFT)


def _cut(line: str, width: float) -> str:
    while line and measure(f"{line} …", TINY) > width:
        line = line[:-1]
    return f"{line} …"
