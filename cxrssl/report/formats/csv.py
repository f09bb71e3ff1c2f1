"""Tables as CSV, every number in full: an estimate takes three columns, its value and the ends of its interval, and in
a column of differences a fourth, the p-value that Holm adjusted.

In: tables. Out: CSV. What is not defined is an empty cell. Never: text that a spreadsheet would run as a formula.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import zip_longest

from cxrssl.core.text import csv_text
from cxrssl.report.cells import Cell, Estimate, Number, Numbers
from cxrssl.report.tables import ReportTable

PARTS = ("", " lo", " hi", " p_holm")


def write_csv(table: ReportTable, digits: int | None = None) -> str:
    """Return the table as CSV, its title and note left out; `digits` rounds its numbers to so many after the point."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    widths = [_count_fields([row[at] for row in table.rows]) for at in range(len(table.columns))]
    names = map(csv_text, table.columns)
    writer.writerow(name + part for name, width in zip(names, widths, strict=True) for part in PARTS[:width])
    for row in table.rows:
        fields = [_fields_of(cell, width, digits) for cell, width in zip(row, widths, strict=True)]
        writer.writerow(_round(field, digits) for cell in fields for field in cell)
    return buffer.getvalue()


def _count_fields(cells: Sequence[Cell]) -> int:
    estimates = [cell for cell in cells if isinstance(cell, Estimate)]
    has_p = any(not math.isnan(cell.p_holm) for cell in estimates)
    return len(PARTS) if has_p else len(PARTS) - 1 if estimates else 1


def _fields_of(cell: Cell, width: int, digits: int | None) -> list[str | int | float]:
    """Return the values of a cell, filled up to the width of its column."""
    if width == 1 and isinstance(cell, str):
        return [csv_text(cell)]
    if isinstance(cell, Numbers):
        joined = ",".join(f"{_rounded(value, digits)!r}" for value in cell.values)
        return [joined, *[""] * (width - 1)]
    if width == 1 and isinstance(cell, Number):
        return [_or_blank(cell.value)]
    values: list[str | int | float]
    if isinstance(cell, Estimate):
        numbers = cell.interval.value, cell.interval.lo, cell.interval.hi, cell.p_holm
        values = [_or_blank(value) for value in numbers[:width]]
    elif isinstance(cell, Number):
        values = [_or_blank(cell.value)]
    else:
        values = [csv_text(cell) if isinstance(cell, str) else cell]
    return [value for _, value in zip_longest(range(width), values, fillvalue="")]


def _round(field: str | int | float, digits: int | None) -> str | int | float:
    return _rounded(field, digits) if isinstance(field, float) else field


def _rounded(value: float, digits: int | None) -> float:
    return value if digits is None else round(value, digits)


def _or_blank(value: float) -> float | str:
    return "" if math.isnan(value) else value
