"""A report as a terminal shows it: lines of at most so many places, details left to the files.

In: a document, whose texts may come from data. Out: plain text. Never: a control character, or a number that wraps.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from cxrssl.core.columns import cell_width
from cxrssl.core.text import count_noun, plain
from cxrssl.report.document import Block, Document, Figure, Item, Listing, Section
from cxrssl.report.fold import Part, fold_table
from cxrssl.report.lines import Line, text_of
from cxrssl.report.tables import ReportTable

MIN_WIDTH, MAX_WIDTH = 40, 120
GAP = 2
MAX_LINE = 5000
FACT = 14
"""Places of the name of a fact."""


def write_terminal(document: Document, width: int = 80) -> str:
    """Return the document in lines of `width` places, of MIN_WIDTH to MAX_WIDTH."""
    width = max(MIN_WIDTH, min(width, MAX_WIDTH))
    head = [_wrap(document.headline, width), _underline(plain(document.title, width), "=")]
    facts = [_wrap(fact.text, width, f"{plain(fact.name, FACT - 1):{FACT}}", " " * FACT) for fact in document.facts]
    blocks = list(_write_blocks(document, document.blocks, width, "="))
    left = _list_left_out(document, document.blocks)
    answer = [_wrap(line, width) for line in document.answer]
    parts = [*head, *answer, "\n".join(facts), *blocks, *([_wrap(left, width)] if left else [])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _write_blocks(document: Document, blocks: Sequence[Block], width: int, rule: str) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Section):
            if not block.is_detail:
                yield _underline(plain(block.title, 500), rule, width)
                yield from _write_blocks(document, block.blocks, width, "-")
        elif isinstance(block, ReportTable):
            yield from _write_table(document, block, width)
        elif isinstance(block, Listing):
            yield "\n".join(_write_items(block.items, width))
        elif isinstance(block, Figure):
            yield _wrap(f"Figure {document.number_of(block)}: {block.title} ({block.name}.svg)", width)
        else:
            yield _wrap(block.text, width, "! " if block.tone == "warning" else "")


def _underline(title: str, rule: str, width: int = MAX_WIDTH) -> str:
    lines = textwrap.wrap(title, width) or [""]
    return "\n".join([*lines, rule * max(map(cell_width, lines))])


def _wrap(line: Line, width: int, first: str = "", others: str | None = None) -> str:
    text = plain(text_of(line), MAX_LINE)
    indent = " " * len(first) if others is None else others
    return "\n".join(_wrap_wide(text, width, first, indent)) or first.rstrip()


def _wrap_wide(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    """Return lines of at most `width` places: letters that are wide count twice."""
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
    if text.isascii() or all(cell_width(line) <= width for line in lines):
        return lines
    return _wrap_wide(text, max(width * 2 // 3, 2), first, others) if width > 2 else lines


def _write_items(items: Sequence[Item], width: int, indent: str = "") -> Iterator[str]:
    for item in items:
        yield _wrap(item.text, width, f"{indent}- ", f"{indent}  ")
        yield from _write_items(item.items, width, f"{indent}  ")


def _write_table(document: Document, table: ReportTable, width: int) -> Iterator[str]:
    title = f"Table {document.number_of(table)}. {plain(table.short or table.title, 500)}"
    parts = [_write_part(table, part) for part in fold_table(table, width, GAP)]
    yield "\n".join([_wrap(title, width), "", "\n\n".join(parts)])
    if table.notes:
        yield "\n".join(_wrap(note, width) for note in table.notes)


def _write_part(table: ReportTable, part: Part) -> str:
    right = {at for at in part.columns if all(is_count(row[at]) for row in table.rows)}
    texts = table.texts()
    heading = _write_row([table.columns[at] for at in part.columns], part, right)
    rule = (" " * GAP).join("-" * width for width in part.widths)
    rows = ["\n".join(_write_row([texts[row][at] for at in part.columns], part, right)) for row in part.rows]
    return "\n".join([*heading, rule, *rows])


def is_count(cell: object) -> bool:
    """Return whether a cell is a whole number, which stands flush right."""
    return isinstance(cell, int)


def _write_row(cells: Sequence[str], part: Part, right: set[int]) -> list[str]:
    """Return the lines of a row, its texts wrapped to the widths of their columns."""
    wrapped = [_wrap_wide(plain(cell), width) for cell, width in zip(cells, part.widths, strict=True)]
    lines = []
    for line in zip_longest(*wrapped, fillvalue=""):
        padded = [
            _pad(text, width, at in right) for text, width, at in zip(line, part.widths, part.columns, strict=True)
        ]
        lines.append((" " * GAP).join(padded).rstrip())
    return lines or [""]


def _pad(text: str, width: int, is_right: bool) -> str:
    space = " " * (width - cell_width(text))
    return space + text if is_right else text + space


def _list_left_out(document: Document, blocks: Sequence[Block]) -> str:
    """Return what the files hold beside this, in a sentence; empty where that is nothing."""
    details = [block for block in document.walk() if isinstance(block, Section) and block.is_detail]
    num = sum(isinstance(block, ReportTable) for each in details for block in Document("", "", (), each.blocks).walk())
    if not details:
        return ""
    names = list(dict.fromkeys(plain(each.title, 80) for each in details))
    shown = names if len(names) <= 8 else [*names[:7], f"{len(names) - 7} more"]
    return f"In the files, with {count_noun(num, 'further table')}: {'; '.join(shown)}."
