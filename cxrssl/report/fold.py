"""Wide tables in parts: which columns stand side by side in so many places, and how wide each is.

In: a table and the places of a line. Out: parts, each with the columns that say what a row is. Never: a number wrapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxrssl.core.columns import cell_width
from cxrssl.report.cells import Cell
from cxrssl.report.tables import ReportTable

MAX_TEXT, MIN_TEXT = 34, 12
"""Places of a column of texts, which wrap; of a narrow line a third at most."""
MAX_WORD = 16
"""Places that a word of a heading may ask for."""


@dataclass(frozen=True)
class Part:
    """Columns that stand side by side."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    """In places; texts and headings wrap to them."""
    rows: tuple[int, ...]
    """Those that have anything in these columns."""


def is_number(cell: Cell) -> bool:
    """Return whether a cell has no words that could wrap."""
    return not isinstance(cell, str)


def fold_table(table: ReportTable, room: int, gap: int, wraps: bool = True) -> list[Part]:
    """Return the table in parts of at most `room` places with `gap` between columns; one column too wide stays alone.

    Without `wraps` every cell and heading takes one line.
    """
    widths = measure_columns(table, min(MAX_TEXT, room // 3) if wraps else 0)
    keys = tuple(range(min(table.keys, len(widths))))
    if wraps:
        widths = _narrow(widths, keys, room, gap)
    free = room - sum(widths[at] + gap for at in keys)
    others = [widths[at] + gap for at in range(len(keys), len(widths))]
    parts = [tuple(len(keys) + at for at in part) for part in _share_out(others, free)]
    made = [_make_part(table, (*keys, *part), widths, len(keys), len(parts) > 1) for part in parts]
    return [part for part in made if part.rows] or made[:1]


def _share_out(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return columns by number in as few parts as have room for them, each of about the same width."""
    best = _fill(widths, room)
    for narrower in range(room - 1, max(widths, default=0), -1):
        parts = _fill(widths, narrower)
        if len(parts) > len(best):
            break
        best = parts
    return best


def _fill(widths: Sequence[int], room: int) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    left = room
    for at, width in enumerate(widths):
        if parts[-1] and width > left:
            parts.append([])
            left = room
        parts[-1].append(at)
        left -= width
    return parts


def _make_part(table: ReportTable, columns: tuple[int, ...], widths: Sequence[int], keys: int, is_split: bool) -> Part:
    """Return some columns; of a table in several parts without the rows that have nothing there."""
    rows = [at for at, row in enumerate(table.rows) if not is_split or any(row[c] != "" for c in columns[keys:])]
    return Part(columns, tuple(widths[at] for at in columns), tuple(rows))


def measure_columns(table: ReportTable, max_text: int = 0) -> list[int]:
    """Return the places of each column; of texts and headings `max_text` at most, where that is given."""
    texts = table.texts()
    return [_measure(table, texts, at, name, max_text) for at, name in enumerate(table.columns)]


def _measure(table: ReportTable, texts: Sequence[Sequence[str]], at: int, name: str, max_text: int) -> int:
    numbers = [cell_width(row[at]) for row, cells in zip(texts, table.rows, strict=True) if is_number(cells[at])]
    words = [cell_width(row[at]) for row, cells in zip(texts, table.rows, strict=True) if not is_number(cells[at])]
    if not max_text:
        return max([*numbers, *words, cell_width(name)])
    heading = max((min(cell_width(word), MAX_WORD) for word in name.split()), default=1)
    return max([*numbers, *(min(width, max_text) for width in words), heading])


def _narrow(widths: Sequence[int], keys: Sequence[int], room: int, gap: int) -> list[int]:
    """Return the widths with room left for the widest number beside the keys, as far as texts can be narrowed."""
    narrowed = list(widths)
    others = [widths[at] for at in range(len(keys), len(widths))]
    wanted = room - (max(others) if others else 0) - gap * len(keys)
    while sum(narrowed[at] for at in keys) > wanted:
        widest = max(keys, key=lambda at: narrowed[at])
        if narrowed[widest] <= MIN_TEXT:
            break
        narrowed[widest] -= 1
    return narrowed
