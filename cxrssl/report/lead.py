"""What a report found, before all else: declared comparisons, or the scores of what was trained.

In: what was gathered, the main table of what was scored on equal terms. Out: sentences. Never: the best of several
setups picked by the films that score them, as the end of a range too; a number without its interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cxrssl.core.text import count_noun, plain
from cxrssl.records.ablation import Ablation
from cxrssl.report.cells import Cell, Estimate, show_cell
from cxrssl.report.lines import Line, Strong
from cxrssl.report.tables import ReportTable

MAX_NAMED = 3
"""Setups, and tables, of which scores are said."""
SCORE, MINUS = "AUROC", "AUROC - "
"""Columns of a main table."""


def lead_of_ablations(ablations: Sequence[Ablation]) -> list[Line]:
    """Return the primary comparison of each ablation, with the smallest difference that would matter."""
    lines: list[Line] = []
    for each in ablations:
        table = each.table
        least = f"; smallest difference that would matter: {table.min_difference:g}" if table.min_difference else ""
        lines.append([Strong(f"Ablation {plain(each.name, 80)}: "), f"{table.describe_primary()}{least}."])
    return lines


def lead_of_table(terms: str, table: ReportTable, trained: Sequence[int]) -> Line:
    """Return the scores of the rows that were trained; of many their number."""
    rows = [row for row in (table.rows[at] for at in trained) if isinstance(row[_find(table, SCORE)], Estimate)]
    if not rows:
        return ""
    place = _find(table, SCORE)
    if len(rows) > MAX_NAMED:
        said = f"{count_noun(len(rows), 'trained setup')}; the table of them has the macro AUROC of each"
        missing = sum(math.isnan(cell.interval.value) for row in rows if isinstance(cell := row[place], Estimate))
        return [Strong(f"{terms}: "), f"{said}{f', which is not defined for {missing:,}' if missing else ''}."]
    return [Strong(f"{terms}: "), "; ".join(_say(table, row, place) for row in rows), "."]


def _say(table: ReportTable, row: Sequence[Cell], place: int) -> str:
    against = [
        f"minus {name.removeprefix(MINUS)} {show_cell(cell)}"
        for name, cell in zip(table.columns, row, strict=True)
        if name.startswith(MINUS) and isinstance(cell, Estimate)
    ]
    return ", ".join([f"{plain(row[0], 120)} macro AUROC {show_cell(row[place])}", *against])


def _find(table: ReportTable, column: str) -> int:
    return list(table.columns).index(column)
