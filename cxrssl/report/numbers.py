"""The CSV files of a report: every number in full, a row each, small cells hidden.

In: what was gathered. Out: tables by the name of their file, those without a row left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from cxrssl.report.ablations import list_ablation_rows
from cxrssl.report.cells import Cell, Number, Numbers
from cxrssl.report.difference_tables import COLUMNS, list_difference_rows
from cxrssl.report.gather import Gathered
from cxrssl.report.group_tables import list_matched_rows, list_subgroup_rows
from cxrssl.report.learning_tables import list_learning_rows
from cxrssl.report.peers import FILE as PUBLISHED
from cxrssl.report.peers import list_peer_rows
from cxrssl.report.seed_tables import list_seed_rows
from cxrssl.report.small import SmallCells, hide_in_row
from cxrssl.report.tables import ReportTable
from cxrssl.report.transfer_tables import fit_numbers
from cxrssl.results.rows import ResultRow, SeedRow, group_of, result_rows

BY_SEED = "by_seed"
MATCHED, SUBGROUPS = "matched.csv", "subgroups.csv"


def list_numbers(gathered: Gathered, small: SmallCells) -> dict[str, ReportTable]:
    """Return every number of what was chosen, by the name of its file."""
    chosen = gathered.chosen
    tables = {
        "results.csv": _list_results(gathered, small),
        MATCHED: list_matched_rows(chosen.evaluations),
        SUBGROUPS: list_subgroup_rows(chosen.evaluations, small),
        "differences.csv": _list_differences(gathered, small),
        "seeds.csv": _list_means(gathered, small),
        "learning.csv": list_learning_rows(gathered.curves, gathered.numbers, small),
        **fit_numbers(chosen.evaluations, small),
        "ablations.csv": list_ablation_rows(chosen.ablations, small),
        PUBLISHED: list_peer_rows(chosen.evaluations),
    }
    return {file: table for file, table in tables.items() if table.rows}


def _list_results(gathered: Gathered, small: SmallCells) -> ReportTable:
    """Return every number of every evaluation."""
    groups = group_of(gathered.groups)
    rows = [
        list_cells(hide_in_row(vars(row), each.scores.num_films, small))
        for each in gathered.chosen.evaluations
        for row in result_rows(each, groups[each.eval_id])
    ]
    return ReportTable("Results", [field.name for field in fields(ResultRow)], rows)


def _list_differences(gathered: Gathered, small: SmallCells) -> ReportTable:
    """Return every number of every paired difference of two evaluations."""
    ids = {each.eval_id for each in gathered.chosen.evaluations}
    pinned = gathered.pin.groups.values() if gathered.pin else ()
    ids |= {each.eval_id for base in pinned for each in base.evaluations}
    both = [(each, {each.settings.eval_id, each.settings.against_id}) for each in gathered.published.comparisons]
    records = [record for record, pair in both if gathered.choice.is_all or pair <= ids]
    rows = [list_cells(row) for row in list_difference_rows(records, small)]
    return ReportTable("Differences", COLUMNS, rows)


def _list_means(gathered: Gathered, small: SmallCells) -> ReportTable:
    """Return every number of every setup that was trained with several seeds."""
    rows = [list_cells(row) for row in list_seed_rows(gathered.seeds, gathered.averages, small, gathered.pin)]
    return ReportTable("Means over seeds", [field.name for field in fields(SeedRow)], rows)


def list_cells(row: Mapping[str, str | int | float | None]) -> list[Cell]:
    """Return the cells of a row of results."""
    return [_make_cell(name, value) for name, value in row.items()]


def _make_cell(name: str, value: str | int | float | None) -> Cell:
    if name == BY_SEED and isinstance(value, str):
        return Numbers(tuple(float(each) for each in value.split(",") if each))
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return Number(value) if isinstance(value, float) else value
