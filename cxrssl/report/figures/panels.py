"""Small panels of one size, one for each finding, below a legend that all share.

In: headings and lines of text above each panel. Out: a page and the axes of its panels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from cxrssl.report.figures.ink import INK, SERIES, SOFT, Series
from cxrssl.report.figures.names import shorten_names
from cxrssl.report.figures.page import BODY, HEADING, SMALL, TINY, Page, line_height, measure, wrap
from cxrssl.report.figures.width import width_in

COLUMN_OF_PANELS_IN = 1.7
"""Least width of a panel with its numbers and ticks."""
MARGIN, Y_LABEL_IN, TICKS_IN = 0.08, 0.2, 0.3
LINE_IN = 0.27
"""Of a sample of a line."""


@dataclass(frozen=True)
class Heading:
    """What stands above a panel."""

    title: str
    detail: str = ""
    """How many subjects there are with the finding and without it."""
    numbers: tuple[tuple[int, str], ...] = ()
    """Which series, and its number."""
    has_dots: bool = False
    """Whether a series is dots, else a line."""


@dataclass(frozen=True)
class Frame:
    """What stands around the panels."""

    title: str
    legend: tuple[str, ...]
    """Names of the series, in the order of SERIES."""
    axes: tuple[str, str]
    """What x and y are."""
    notes: tuple[str, ...] = ()
    has_own_ticks: bool = False
    """Whether each panel has its own axes; else those at the left and below are labelled."""
    is_filled: bool = False
    """Whether panels may be larger than usual, so that fewer places of a sheet stay empty."""


def open_panels(frame: Frame, headings: Sequence[Heading]) -> tuple[Page, list[Axes]]:
    """Return a page with titles, legend and notes, and the empty axes of its panels."""
    inner = width_in() - 2 * MARGIN
    title, notes = (
        wrap(frame.title, inner, HEADING, True),
        [line for note in frame.notes for line in wrap(note, inner, SMALL)],
    )
    legend = _place_legend(frame.legend, inner)
    num_columns = _count_columns(len(headings), frame.is_filled)
    step = (inner - Y_LABEL_IN) / num_columns
    size = step - (TICKS_IN + 0.08)
    num_numbers = max((len(each.numbers) for each in headings), default=0)
    rooms = [min(size + TICKS_IN, inner - Y_LABEL_IN - TICKS_IN - k % num_columns * step) for k in range(len(headings))]
    titles_of = [_fit_title(each.title, room) for each, room in zip(headings, rooms, strict=True)]
    num_lines = max((len(lines) for lines, _ in titles_of), default=1)
    above = (
        num_lines * line_height(BODY) + line_height(TINY) * (num_numbers + any(each.detail for each in headings)) + 0.03
    )
    row_in = above + size + (0.3 if frame.has_own_ticks else 0.16)
    num_rows = -(-len(headings) // num_columns)
    top = MARGIN + len(title) * line_height(HEADING) + 0.05 + len(legend) * 0.16 + 0.06
    bottom = top + num_rows * row_in + (0.0 if frame.has_own_ticks else 0.14)
    page = Page(width_in(), bottom + (0.24 if headings else 0.0) + len(notes) * line_height(SMALL) + MARGIN)
    for k, line in enumerate(title):
        page.write(MARGIN, MARGIN + (k + 0.8) * line_height(HEADING), line, size=HEADING, is_bold=True)
    for k, row in enumerate(legend):
        for x, number, text in row:
            y = MARGIN + len(title) * line_height(HEADING) + 0.16 + k * 0.16
            draw_sample(page, x, y - 0.033, SERIES[number])
            page.write(x + LINE_IN + 0.06, y, text)
    made = []
    for k, heading in enumerate(headings):
        x, y = MARGIN + Y_LABEL_IN + k % num_columns * step + TICKS_IN, top + k // num_columns * row_in
        lines, title_size = titles_of[k]
        for at, line in enumerate(lines, 1 + num_lines - len(lines)):
            page.write(x, y + (at - 0.2) * line_height(BODY), line, size=title_size, is_bold=True, colour=INK)
        _write_numbers(page, heading, x, y + (num_lines - 0.2) * line_height(BODY) + line_height(TINY))
        axes = page.add_axes(x, y + above, size, size)
        if not frame.has_own_ticks:
            is_lowest = k + num_columns >= len(headings)
            axes.tick_params(labelleft=k % num_columns == 0, labelbottom=is_lowest)
        made.append(axes)
    if headings:
        _write_axes(page, frame, top, bottom)
    page.write_lines(MARGIN, bottom + (0.24 if headings else 0.0) + 0.08, notes)
    return page, made


def _count_columns(num_panels: int, is_filled: bool) -> int:
    """Return how many panels stand side by side; to fill a sheet one fewer than fit, where that leaves less empty."""
    fit = min(int(width_in() / COLUMN_OF_PANELS_IN), max(2, num_panels))
    if not is_filled or not 2 < fit < num_panels <= (fit - 1) ** 2:  # else it would be higher than a page
        return fit
    return min((fit, fit - 1), key=lambda num: -num_panels % num)


def draw_sample(page: Page, x: float, y: float, series: Series, width: float = LINE_IN) -> None:
    """Draw a short line of a series with its mark."""
    page.draw_line(x, x + width, y, colour=series.colour, width_pt=1.1, dashes=series.dashes)
    page.draw_mark(x + width / 2, y, series)


def _place_legend(names: Sequence[str], width: float) -> list[list[tuple[float, int, str]]]:
    """Return rows of (x, number of the series, text)."""
    shown = shorten_names(names, lambda text: measure(text, BODY) <= width - LINE_IN - 0.06)
    rows: list[list[tuple[float, int, str]]] = []
    x = width + 1
    for number, text in enumerate(shown):
        needed = LINE_IN + 0.06 + measure(text, BODY)
        if x + needed > width + MARGIN:
            rows.append([])
            x = MARGIN
        rows[-1].append((x, number, text))
        x += needed + 0.25
    return rows


def _fit_title(title: str, room: float) -> tuple[list[str], float]:
    """Return the title of a panel in one line, or in two, and its size; a longer one loses its middle."""
    for size in (BODY, SMALL):
        if measure(title, size, True) <= room:
            return [title], size
    lines = wrap(title, room, SMALL, True)
    return (
        lines if len(lines) == 2 else shorten_names([title], lambda text: measure(text, SMALL, True) <= room)
    ), SMALL


def _write_numbers(page: Page, heading: Heading, x: float, y: float) -> None:
    if heading.detail:
        page.write(x, y, heading.detail, size=TINY, colour=SOFT)
        y += line_height(TINY)
    for number, text in heading.numbers:
        series = SERIES[number]
        if heading.has_dots:
            page.draw_mark(x + 0.08, y - 0.03, series, 3.0)
        else:
            page.draw_line(x, x + 0.16, y - 0.026, colour=series.colour, width_pt=1.1, dashes=series.dashes)
        page.write(x + 0.2, y, text, size=TINY)
        y += line_height(TINY)


def _write_axes(page: Page, frame: Frame, top: float, bottom: float) -> None:
    x_label, y_label = frame.axes
    page.write((page.width_in + Y_LABEL_IN) / 2, bottom + 0.1, x_label, align="center")
    if y_label:
        page.write_upwards(MARGIN + 0.1, (top + bottom) / 2, y_label)
