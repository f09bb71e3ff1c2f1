"""A table as it is shown and printed: the same cells on the screen and as text; files.py writes them into files.

In: columns and rows of Cell. Out: lines. Never: a control character from data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cxrssl.core.columns import align_rows, cell_width
from cxrssl.core.text import plain

GAP = 2


@dataclass(frozen=True)
class Column:
    """A column; of a screen that is too narrow those of the highest rank are left out first."""

    name: str
    width: int = 0
    is_left: bool = False
    rank: int = 0
    """0 is never left out."""
    label: str = ""
    """What its head says, if not its name."""
    is_drawn: bool = False
    """Whether it is a picture in characters, which has no place in a file."""

    @property
    def head(self) -> str:
        return self.label or self.name


@dataclass(frozen=True)
class Cell:
    text: str
    style: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table with its title and what a reader must know of it."""

    title: str
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[Cell, ...]]
    """By key."""
    notes: tuple[str, ...] = ()

    def measure(self) -> Sheet:
        """Return it with every column as wide as its widest text; a width that was given is the most."""
        columns = []
        for at, column in enumerate(self.columns):
            widest = max([cell_width(column.head), *(cell_width(row[at].text) for row in self.rows.values())])
            columns.append(replace(column, width=min(widest, column.width) if column.width else widest))
        return replace(self, columns=tuple(columns))

    def fit(self, width: int, gap: int = GAP) -> tuple[Sheet, tuple[str, ...]]:
        """Return it without the columns for which there is no room, and the names of these."""
        sheet, left_out = self.measure(), []
        while sum(column.width + gap for column in sheet.columns) > width:
            droppable = [at for at, column in enumerate(sheet.columns) if column.rank]
            if not droppable:
                break
            last = max(droppable, key=lambda at: (sheet.columns[at].rank, at))
            left_out.append(sheet.columns[last].head)
            sheet = sheet.without(last)
        return sheet, tuple(left_out[::-1])

    def without(self, at: int) -> Sheet:
        """Return it without a column."""
        rows = {key: (*row[:at], *row[at + 1 :]) for key, row in self.rows.items()}
        return replace(self, columns=(*self.columns[:at], *self.columns[at + 1 :]), rows=rows)

    def texts(self) -> list[list[str]]:
        """Return the head and the rows."""
        return [[column.head for column in self.columns], *([cell.text for cell in row] for row in self.rows.values())]


def make_rows(texts: Mapping[str, Sequence[str]]) -> dict[str, tuple[Cell, ...]]:
    """Return rows of cells without colour."""
    return {key: tuple(Cell(text) for text in row) for key, row in texts.items()}


def to_text(sheet: Sheet, width: int | None = None) -> list[str]:
    """Return the lines of a table; without a width no column is left out."""
    fitted, left_out = sheet.fit(width) if width else (sheet, ())
    right = {at for at, column in enumerate(fitted.columns) if not column.is_left}
    texts = [[plain(cell) for cell in row] for row in fitted.texts()]
    if all(row[:1] and row[0].startswith("  ") for row in texts):
        texts = [[row[0][2:], *row[1:]] for row in texts]  # room for marks, of which there are none
    lines = align_rows(texts, right)
    if width:
        lines = [cut(line, width) for line in lines]
    title = [plain(sheet.title)] if sheet.title else []
    notes = [plain(note) for note in sheet.notes]
    narrow = [f"no room for: {', '.join(map(plain, left_out))}"] if left_out else []
    return [*title, *lines, *notes, *narrow]


def cut(line: str, width: int) -> str:
    """Return a line of at most so many places."""
    if cell_width(line) <= width:
        return line
    while cell_width(line) > width - 1:
        line = line[:-1]
    return line + "…"
