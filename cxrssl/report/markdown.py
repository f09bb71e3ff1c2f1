"""Tables and texts in GitHub's Markdown.

In: tables whose cells may come from data, texts from data. Out: Markdown.
Never: a text from data that breaks its table, or becomes markup, a link, an image or a control character.
"""

from __future__ import annotations

import re

from cxrssl.core.columns import cell_width, pad_cells
from cxrssl.core.text import plain
from cxrssl.report.cells import Cell, show_cell
from cxrssl.report.tables import ReportTable

MAX_CELL, MAX_NOTE = 200, 5000
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITY = re.compile(r"&(?=#?[A-Za-z0-9]+;)")
_LINK = re.compile(r"(?<=[A-Za-z0-9]):(?=\S)|(?<=[wW]{3})\.|@")
"""What makes a link of bare text: the colon of a scheme, the point of "www.", the sign of a mail address."""
_BLOCK = re.compile(r"^(?:>|(?:#{1,6}|[-+=]+|[0-9]{1,9}[.)])(?=\s|$))")


def write_markdown(table: ReportTable, level: int = 2) -> str:
    """Return the table with its columns padded, so that the source reads well too, under a heading of this level."""
    texts = [[_cell_text(cell) for cell in row] for row in [table.columns, *table.rows]]
    header, *lines = pad_cells(texts)
    rule = ["-" * cell_width(text) for text in header]
    body = "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))
    parts = [f"{'#' * level} {escape(table.title)}", body]
    return "\n\n".join([*parts, escape(table.note, MAX_NOTE)] if table.note else parts) + "\n"


def escape(text: str, max_chars: int = MAX_CELL) -> str:
    """Return a text that Markdown shows as it is, also at the beginning of a line or list item."""
    shown = _ENTITY.sub("&amp;", plain(text.strip(), max_chars)).replace("<", "&lt;")
    shown = _LINK.sub(lambda found: f"\\{found[0]}", _MARKUP.sub(lambda found: f"\\{found[0]}", shown))
    return _BLOCK.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", shown)


def code(text: str, max_chars: int = MAX_CELL) -> str:
    """Return a text as code, fenced by more backticks than it holds; not for a table, where a bar would end it."""
    shown = plain(text, max_chars)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown or not shown.strip() else f"{fence}{shown}{fence}"


def image(title: str, file: str) -> str:
    """Return an image of a file beside the report."""
    target = "".join(f"%{byte:02X}" if chr(byte) not in _UNRESERVED else chr(byte) for byte in file.encode())
    return f"![{escape(title)}]({target})"


_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+")


def _cell_text(cell: Cell) -> str:
    return escape(cell) if isinstance(cell, str) else show_cell(cell)
