"""One table model for every format: title, columns, rows of typed cells, marks, notes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cxrssl.report.cells import Cell, Estimate, Number, show_cell
from cxrssl.report.lines import Line, text_of

BEST = "Bold: the highest as shown; another whose interval holds it may be as good."


@dataclass(frozen=True)
class ReportTable:
    """A table that the formats lay out. All its texts are raw."""

    title: str
    """Says what the numbers are of, as the table may stand alone."""
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[Line] = ()
    """Sentences below it: what its marks mean, how its numbers were made."""
    short: str = ""
    """Its title where the section that it is in says the rest; empty for the title."""
    keys: int = 1
    """How many columns say what a row is: they are repeated where a wide table is shown in parts."""
    compared: Collection[int] = ()
    """Numbers of the columns that compare runs, where more is better: the highest of each stands out."""
    rivals: Collection[int] = ()
    """Numbers of the columns that are compared with each other, in each row."""
    quoted: Collection[int] = ()
    """Numbers of the rows that are others' numbers, not made here: they stand in grey, and none of them is best."""
    barred: Collection[int] = ()
    """Numbers of the rows that no fair test has made: none of them is best."""
    is_detail: bool = False
    """Whether a page folds it, however short it is: another table says the same in sum."""

    @property
    def note(self) -> str:
        """Its notes as one text."""
        return " ".join(map(text_of, self.notes))

    @property
    def notes_in_bold(self) -> Sequence[Line]:
        """Its notes for a format that sets the best in bold."""
        return [BEST, *self.notes] if self.best() else self.notes

    def texts(self) -> list[list[str]]:
        """Return the rows as people read them."""
        return [[show_cell(cell) for cell in row] for row in self.rows]

    def best(self) -> frozenset[tuple[int, int]]:
        """Return (row, column) of the cells that are best of their column or row; none where only one has a number.

        Numbers that read the same are best together.
        """
        rows = [at for at in range(len(self.rows)) if at not in self.quoted and at not in self.barred]
        lines = [[(row, column) for row in rows] for column in self.compared]
        lines += [[(row, column) for column in self.rivals] for row in rows]
        return frozenset(place for line in lines for place in self._best_of(line))

    def _best_of(self, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        shown = {(row, column): _shown_value(self.rows[row][column]) for row, column in places}
        values = {place: value for place, value in shown.items() if value is not None}
        return [place for place, value in values.items() if value == max(values.values())] if len(values) > 1 else []


def _shown_value(cell: Cell) -> float | None:
    """Return the value of a number as its text has it; None for a text, and for what is not defined."""
    value = cell.interval.value if isinstance(cell, Estimate) else cell.value if isinstance(cell, Number) else None
    return None if value is None or value != value else round(value, 3)
