"""One table model for every format: title, columns, rows of typed cells, marks, a note."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cxrssl.report.cells import Cell, Estimate, Number, show_cell


@dataclass(frozen=True)
class ReportTable:
    """A table that the formats lay out. All its texts are raw."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    compared: Collection[int] = ()
    """Numbers of the columns that compare runs, where more is better: the highest stands out."""
    quoted: Collection[int] = ()
    """Numbers of the rows that are others' numbers, not made here: they stand in grey, and none of them is best."""

    def texts(self) -> list[list[str]]:
        """Return the rows as people read them."""
        return [[show_cell(cell) for cell in row] for row in self.rows]

    def best(self) -> frozenset[tuple[int, int]]:
        """Return (row, column) of the cells that are best of their column, as shown; none where only one has a number.

        Rows that read the same are best together.
        """
        return frozenset(place for column in self.compared for place in self._best_of(column))

    def _best_of(self, column: int) -> list[tuple[int, int]]:
        shown = {at: _shown_value(row[column]) for at, row in enumerate(self.rows) if at not in self.quoted}
        values = {at: value for at, value in shown.items() if value is not None}
        if len(values) < 2:
            return []
        return [(at, column) for at, value in values.items() if value == max(values.values())]


def _shown_value(cell: Cell) -> float | None:
    """Return the value of a number as its text has it; None for a text, and for what is not defined."""
    value = cell.interval.value if isinstance(cell, Estimate) else cell.value if isinstance(cell, Number) else None
    return None if value is None or value != value else round(value, 3)
