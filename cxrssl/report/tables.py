"""One table model for every output format: title, columns, rows of text cells, a note.

In: cells that may come from data. Out: Markdown. Never: a cell that breaks the table or carries control characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrssl.core.columns import cell_width, pad_cells
from cxrssl.core.text import plain


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown, columns padded so that the source reads well too."""
        cells = [[_escape(cell) for cell in row] for row in [self.columns, *self.rows]]
        header, *rows = pad_cells(cells)
        rule = ["-" * cell_width(cell) for cell in header]
        lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
        parts = [f"## {_escape(self.title)}", "\n".join(lines)]
        return "\n\n".join([*parts, self.note] if self.note else parts) + "\n"


def _escape(cell: str) -> str:
    return plain(cell, 200).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
