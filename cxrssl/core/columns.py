"""Cells of text in columns of equal width, as a terminal shows them: wide characters take two places, accents none.

In: rows of equal length. Out: the same, padded; or lines. Never: a cell that is cut, but by `cut_middle`.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Sequence
from itertools import zip_longest

GAP = "  "
ELLIPSIS = "…"
MAX_TAIL = 12
"""Places that the end of a name keeps when its middle is left out: it holds the seed and the hash."""


def align_rows(rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: str = "") -> list[str]:
    """Return a line for each row; the columns numbered in `right` are set flush right, the others left."""
    return [(indent + GAP.join(cells)).rstrip() for cells in pad_cells(rows, right)]


def wrap_rows(rows: Sequence[Sequence[str]], width: int, indent: str = "") -> list[str]:
    """Return lines of at most `width` places, as far as words allow: the widest columns are narrowed and wrapped."""
    widths = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    while len(indent) + sum(widths) + len(GAP) * (len(widths) - 1) > width and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    lines: list[str] = []
    for row in rows:
        wrapped = [textwrap.wrap(cell, room) for cell, room in zip(row, widths, strict=True)]
        for cells in zip_longest(*wrapped, fillvalue=""):
            padded = [_pad(cell, room, False) for cell, room in zip(cells, widths, strict=True)]
            lines.append((indent + GAP.join(padded)).rstrip())
    return lines


def pad_cells(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[list[str]]:
    """Return the rows with every cell as wide as the widest of its column."""
    widths = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    return [
        [_pad(cell, width, at in right) for at, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    ]


def cell_width(text: str) -> int:
    """Return the number of places that a terminal needs for `text`.

    Source: Unicode Standard Annex 11 (East Asian Width): W and F are wide; marks (Mn, Me) stand on the letter before.
    """
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def cut_middle(text: str, width: int) -> str:
    """Return a text without as much of its middle as it takes to fit: its end tells it from others."""
    if cell_width(text) <= width:
        return text
    tail = min(MAX_TAIL, max(width - 1, 0) // 2)
    return f"{take_start(text, max(width - tail - 1, 0))}{ELLIPSIS}{take_start(text[::-1], tail)[::-1]}"


def take_start(text: str, width: int) -> str:
    """Return as much of the start of a text as so many places hold."""
    text = text[: 2 * width]  # beside marks, which take no place, no character takes less than one
    while cell_width(text) > width:
        text = text[:-1]
    return text


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _pad(cell: str, width: int, is_right: bool) -> str:
    space = " " * (width - cell_width(cell))
    return space + cell if is_right else cell + space
