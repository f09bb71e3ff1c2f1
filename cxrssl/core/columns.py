"""Cells of text in columns of equal width, as a terminal shows them: wide characters take two places, accents none.

In: rows of equal length. Out: the same, padded; or lines. Never: a cell that is cut.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Sequence
from itertools import zip_longest

GAP = "  "


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


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _pad(cell: str, width: int, is_right: bool) -> str:
    space = " " * (width - cell_width(cell))
    return space + cell if is_right else cell + space
