"""What a command says, laid out for a terminal: sentences wrapped at its width, tables whose numbers stay whole.

In: sentences and tables. Out: lines. Never: a number that is cut or wrapped.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from cxrssl.core.columns import GAP, cell_width, pad_cells

NARROWEST, WIDEST = 60, 120
MIN_NAME = 16
"""Places that names in the first column keep, however wide the numbers are."""
MIN_HEAD = 8
INDENT = "  "


@dataclass(frozen=True)
class Table:
    """Rows of a name and numbers, with a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Collection[int] = ()
    """Columns that are set flush right."""

    def fits(self, width: int) -> bool:
        """Return whether it can be set in lines of this width."""
        return len(INDENT) + MIN_NAME + self._room_of_numbers(self._wrapped_head()) <= width

    def lines(self, width: int) -> list[str]:
        """Return it in lines of `width` places where its numbers leave room for names of `MIN_NAME`."""
        if not self.rows:
            return []
        head = self._wrapped_head()
        room = max(MIN_NAME, width - len(INDENT) - self._room_of_numbers(head))
        rows = [*head, *(line for row in self.rows for line in _wrap_name(row, room))]
        return [(INDENT + GAP.join(cells)).rstrip() for cells in pad_cells(rows, self.right)]

    def _wrapped_head(self) -> list[list[str]]:
        """Return the head in as many rows as it takes to be no wider than the numbers under it, or than `MIN_HEAD`."""
        if not any(self.head):
            return []
        wrapped = []
        for name, *cells in zip(self.head, *self.rows, strict=True):
            room = max(map(cell_width, cells), default=1)
            wrapped.append(textwrap.wrap(name, max(room, MIN_HEAD), break_long_words=False, break_on_hyphens=False))
        tall = max(map(len, wrapped))
        return [list(row) for row in zip(*([""] * (tall - len(each)) + each for each in wrapped), strict=True)]

    def _room_of_numbers(self, head: Sequence[Sequence[str]]) -> int:
        columns = list(zip(*head, *self.rows, strict=True))[1:]
        return sum(len(GAP) + max(map(cell_width, column)) for column in columns)


Part = str | Table


def terminal_width() -> int:
    """Return the places of a line: those of the terminal, within bounds; 120 where there is no terminal."""
    return min(max(shutil.get_terminal_size((WIDEST, 24)).columns, NARROWEST), WIDEST)


def lay_out(parts: Iterable[Part], width: int) -> list[str]:
    """Return the lines of sentences and tables."""
    return [line for part in parts for line in (part.lines(width) if isinstance(part, Table) else wrap(part, width))]


def wrap(sentence: str, width: int) -> list[str]:
    """Return a sentence in lines of `width` places, those after the first set in; a line that is set in stays so."""
    if not sentence:
        return [""]
    indent = sentence[: len(sentence) - len(sentence.lstrip())]
    return textwrap.wrap(
        sentence.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=indent + INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrap_name(row: Sequence[str], room: int) -> list[list[str]]:
    first, *more = textwrap.wrap(row[0], room) or [""]
    return [[first, *row[1:]], *([name, *[""] * (len(row) - 1)] for name in more)]
