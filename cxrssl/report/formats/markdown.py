"""A report in GitHub's Markdown.

In: a document, whose texts may come from data. Out: Markdown, whose tables read well in the source too.
Never: a text from data that breaks its table, or becomes markup, a link, an image or a control character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cxrssl.core.columns import cell_width, pad_cells
from cxrssl.core.text import plain
from cxrssl.report.cells import Cell, show_cell
from cxrssl.report.document import Block, Document, Figure, Item, Listing, Paragraph, Section
from cxrssl.report.fold import Part, fold_table
from cxrssl.report.lines import Code, Line, Strong, spans_of
from cxrssl.report.tables import ReportTable

MAX_CELL, MAX_LINE = 200, 5000
ROOM, GAP = 120, 3
"""Places of a line of a table, as far as its widest column allows."""
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITY = re.compile(r"&(?=#?[A-Za-z0-9]+;)")
_LINK = re.compile(r"(?<=[A-Za-z0-9]):(?=\S)|(?<=[wW]{3})\.|@")
"""What makes a link of bare text: the colon of a scheme, the point of "www.", the sign of a mail address."""
_BLOCK = re.compile(r"^(?:>|(?:#{1,6}|[-+=]+|[0-9]{1,9}[.)])(?=\s|$))")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+")


def write_markdown(document: Document) -> str:
    """Return the document; its first line is the headline."""
    facts = [Item([Strong(f"{fact.name}: "), *spans_of(fact.text)]) for fact in document.facts]
    head = [line_text(document.headline), f"# {escape(document.title)}", *map(line_text, document.answer)]
    head += [_write_items(facts)] if facts else []
    return "\n\n".join([*head, *_write_blocks(document.blocks, 2)]) + "\n"


def write_table(table: ReportTable, level: int = 2) -> str:
    """Return the table in parts that fit a line, with its notes, under a heading of this level."""
    parts = [_write_part(table, part) for part in fold_table(table, ROOM, GAP, wraps=False)]
    notes = [line_text(note) for note in table.notes_in_bold]
    return "\n\n".join([f"{'#' * level} {escape(table.title)}", *parts, *notes]) + "\n"


def _write_blocks(blocks: Sequence[Block], level: int) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Section):
            yield f"{'#' * min(level, 6)} {escape(block.title)}"
            yield from _write_blocks(block.blocks, level + 1)
        elif isinstance(block, ReportTable):
            yield write_table(block, min(level, 6)).rstrip("\n")
        elif isinstance(block, Listing):
            yield _write_items(block.items)
        elif isinstance(block, Figure):
            yield image(block.title, f"{block.name}.svg")
        else:
            yield _write_paragraph(block)


def _write_paragraph(paragraph: Paragraph) -> str:
    text = line_text(paragraph.text)
    return f"> {text}" if paragraph.tone == "warning" else text


def _write_items(items: Sequence[Item], indent: str = "") -> str:
    lines = []
    for item in items:
        lines.append(f"{indent}- {line_text(item.text)}")
        lines += [_write_items(item.items, f"{indent}  ")] if item.items else []
    return "\n".join(lines)


def _write_part(table: ReportTable, part: Part) -> str:
    best = table.best()
    rows = [[_cell_text(table.rows[number][at], (number, at) in best) for at in part.columns] for number in part.rows]
    header, *lines = pad_cells([[escape(table.columns[at]) for at in part.columns], *rows])
    rule = ["-" * cell_width(text) for text in header]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def _cell_text(cell: Cell, is_best: bool) -> str:
    text = escape(cell) if isinstance(cell, str) else show_cell(cell)
    return f"**{text}**" if is_best else text


def line_text(line: Line) -> str:
    """Return a line with its spans."""
    parts = []
    for span in spans_of(line):
        if isinstance(span, Code):
            parts.append(code(span.text))
        elif isinstance(span, Strong):
            space = " " if span.text.endswith(" ") else ""
            parts.append(f"**{escape(span.text, MAX_LINE)}**{space}")
        else:
            parts.append(_escape_inside(span))
    return "".join(parts).strip()


def _escape_inside(text: str) -> str:
    """Return a text that is escaped with the spaces at its ends, where other spans may stand."""
    head = " " if text[:1] == " " else ""
    tail = " " if text[-1:] == " " and text.strip() else ""
    return f"{head}{escape(text, MAX_LINE)}{tail}"


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
