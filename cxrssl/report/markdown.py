"""Tables in GitHub's Markdown.

In: tables whose cells may come from data. Out: Markdown. Never: a cell that breaks its table or carries control
characters.
"""

from __future__ import annotations

from cxrssl.core.columns import cell_width, pad_cells
from cxrssl.core.text import plain
from cxrssl.report.tables import ReportTable


def write_markdown(table: ReportTable) -> str:
    """Return the table with its columns padded, so that the source reads well too."""
    header, *lines = pad_cells([[_escape(text) for text in row] for row in [table.columns, *table.texts()]])
    rule = ["-" * cell_width(text) for text in header]
    body = "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))
    parts = [f"## {_escape(table.title)}", body]
    return "\n\n".join([*parts, table.note] if table.note else parts) + "\n"


def _escape(text: str) -> str:
    return plain(text, 200).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
