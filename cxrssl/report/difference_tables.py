"""The tables of a report on differences by finding: one column a difference, whose findings are a family of Holm's.

In: evaluations or setups on equal terms, their published differences. Out: tables in which a number that is left after
the adjustment has its mark, and every paired difference as rows for CSV.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from cxrssl.core.text import plain
from cxrssl.evaluate.averages import Averages
from cxrssl.evaluate.compare import Differences, Group
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.comparison import ComparisonRecord
from cxrssl.records.group import GroupRecord
from cxrssl.report.cells import Cell, Estimate
from cxrssl.report.pin import Pin, differences_of, references_of
from cxrssl.report.probe_tables import describe_row, explain_cells, name_terms
from cxrssl.report.seed_tables import BASELINES
from cxrssl.report.small import SmallCells, hide_in_row
from cxrssl.report.tables import ReportTable
from cxrssl.results.rows import DifferenceRow, difference_rows
from cxrssl.stats.holm import adjust_named, explain_mark, p_of_interval
from cxrssl.stats.resample import Interval

COLUMNS = tuple(field.name for field in fields(DifferenceRow))
"""Of `list_difference_rows`."""


class _Family(NamedTuple):
    """A difference with its findings."""

    features: str
    minus: str
    findings: Mapping[str, Interval]
    p_values: Mapping[str, float]
    remark: str = ""

    @property
    def heading(self) -> str:
        return f"{self.features} - {self.minus}" + (f" ({self.remark})" if self.remark else "")


def difference_table(group: Group, differences: Differences, pin: Pin | None = None) -> ReportTable:
    """Return differences in AUROC by finding, of single evaluations to what they are compared with, or to a pin."""
    title = f"Differences in AUROC by finding: {name_terms(group[0].settings)}"
    return _make_table(title, list(_list_families(group, differences, pin)))


def seed_difference_table(table: Sequence[SeedGroup], averages: Averages, pin: Pin | None = None) -> ReportTable:
    """Return differences in AUROC by finding, of means over seeds."""
    families = []
    for group in table:
        record = averages[group.group_id]
        found = differences_of(record, pin) if isinstance(record, GroupRecord) else {}
        for minus in [*(name for name in BASELINES if name in found), *sorted(found.keys() - set(BASELINES))]:
            scores = found[minus]
            means = {name: numbers.auroc for name, numbers in scores.findings.items()}
            p_values = {name: mean.p_value for name, mean in means.items()}
            intervals = {name: mean.interval for name, mean in means.items()}
            is_of_one = scores.macro.auroc.says_nothing_about_method
            remark = "one seed" if is_of_one else "" if scores.is_paired else "unpaired"
            shown = minus if pin or minus in BASELINES else f"{plain(minus, 60)} record"
            families.append(_Family(group.name, shown, intervals, p_values, remark))
    title = f"Differences in AUROC by finding, means over seeds: {name_terms(table[0].settings)}"
    return _make_table(title, families)


def list_difference_rows(records: Sequence[ComparisonRecord], small: SmallCells) -> list[dict[str, Any]]:
    """Return every number of every paired difference; see `DifferenceRow`."""
    return [
        hide_in_row(vars(row), record.differences.num_films, small)
        for record in records
        for row in difference_rows(record)
    ]


def _list_families(group: Group, differences: Differences, pin: Pin | None) -> Iterator[_Family]:
    for evaluation in group:
        for minus, find in references_of(pin).items():
            other = find(evaluation, group)
            difference = differences[evaluation.eval_id, other.eval_id] if other else ""
            if not isinstance(difference, str):
                intervals = {name: score.auroc for name, score in difference.findings.items()}
                p_values = {name: p_of_interval(each, difference.level) for name, each in intervals.items()}
                yield _Family(describe_row(evaluation), minus, intervals, p_values)


def _make_table(title: str, families: Sequence[_Family]) -> ReportTable:
    """Return a row for each finding that is defined somewhere, a column for each difference; none without any."""
    named = dict.fromkeys(
        name for each in families for name, number in each.findings.items() if number.mark != "not defined"
    )
    adjusted = [adjust_named(family.p_values) for family in families]
    rows: list[list[Cell]] = [
        [name, *(_difference_cell(family, p, name) for family, p in zip(families, adjusted, strict=True))]
        for name in named
    ]
    marks = explain_mark([p for each in adjusted for p in each.values()], "findings of its column")
    notes = [*([marks] if marks else []), *explain_cells(rows)]
    columns = ["Finding", *(family.heading for family in families)]
    short = title.partition(":")[0]
    return ReportTable(title, columns, rows, notes, short=short)


def _difference_cell(family: _Family, adjusted: Mapping[str, float], name: str) -> Cell:
    found = family.findings.get(name)
    return "" if found is None else Estimate(found, is_difference=True, p_holm=adjusted[name])
