"""One table model for every format: title, columns, rows of typed cells, a note."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrssl.report.cells import Cell, show_cell


@dataclass(frozen=True)
class ReportTable:
    """A table that `markdown` and `csv` lay out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def texts(self) -> list[list[str]]:
        """Return the rows as people read them."""
        return [[show_cell(cell) for cell in row] for row in self.rows]
