"""The CSV files of a report, held against the records that their rows name.

In: a published report, what else is published. Out: for each file the first cell that is not the one of its record, or
the first row that is missing or too many. Never: a count that is hidden taken for a wrong one, a row passed because
nothing has its name, a number passed that is written in other digits than the report has, or a report called wrong for
a file or a column that its version did not write.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from cxrssl.core.errors import CxrsslError
from cxrssl.core.text import from_csv_text, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.averages import PINNED, is_pinned
from cxrssl.evaluate.groups import group_seeds
from cxrssl.evaluate.learning import find_curves
from cxrssl.records.learning import CurveNumbers, find_curve
from cxrssl.records.published import Published
from cxrssl.records.setup import find_setups
from cxrssl.report.ablations import list_ablation_rows
from cxrssl.report.difference_tables import COLUMNS, list_difference_rows
from cxrssl.report.formats.csv import write_csv
from cxrssl.report.group_tables import list_matched_rows, list_subgroup_rows
from cxrssl.report.learning_tables import list_learning_rows
from cxrssl.report.numbers import MATCHED, SUBGROUPS, list_cells
from cxrssl.report.small import DIGITS, SmallCells, hide_in_row
from cxrssl.report.tables import ReportTable
from cxrssl.report.transfer_tables import fit_numbers
from cxrssl.results.rows import ResultRow, SeedRow, group_of, result_rows, seed_rows

RESULTS, SEEDS, LEARNING, ABLATIONS = "results.csv", "seeds.csv", "learning.csv", "ablations.csv"
KEYS = {
    RESULTS: ("eval_id", "finding", "metric"),
    MATCHED: ("eval_id", "finding"),
    SUBGROUPS: ("eval_id", "attribute", "group", "finding"),
    "differences.csv": ("comparison_id", "finding", "metric"),
    SEEDS: ("group_id", "against", "finding", "metric"),
    LEARNING: ("candidate_id", "cohort", "split", "asked", "fraction", "finding", "metric"),
    "thresholds.csv": ("eval_id", "finding", "rule"),
    "calibration.csv": ("eval_id", "finding", "map"),
    "reliability.csv": ("eval_id", "finding", "map", "bin"),
    ABLATIONS: ("ablation", "cohort", "arm", "against", "metric"),
}
"""The columns that name a row; the first is its record."""
WHOLE = {SEEDS: 2, LEARNING: 5}
"""How many of KEYS name rows that a report has all or none of, where it is not the record: a later baseline or share
adds rows to the record, and no report made before is wrong for that."""
EVAL_ID, OF_SETUP = "eval_id", ("control", "group_id")
"""Columns of a result: its record; those that are not known when its run is gone."""
NUMBERED = re.compile(r"\bcondition \d+ \(")
Row = Mapping[str, str]
Key = tuple[str, ...]


@dataclass(frozen=True)
class KnownNumbers:
    """The rows of one file as the records of a workspace give them."""

    keys: Sequence[str]
    num_whole: int
    """How many of the keys name rows that a report has all or none of."""
    rows: Mapping[Key, Sequence[Row]]
    """Those of one name; which of several is meant is not known."""
    records: Collection[str]
    """Names of the records that are there."""

    def find_wrong(self, row: Row, of: ReportOf) -> str:
        """Return what of a row is not as its record has it, in words; empty where all is, or the record is gone."""
        record = from_csv_text(row.get(self.keys[0]) or "")
        if self.keys[0] == EVAL_ID and of.evaluations is not None and record not in of.evaluations:
            return f"is of evaluation {_or_nothing(record)}, which the report is not of"
        if record not in self.records:
            return f"is of {self.keys[0]} {_or_nothing(record)}, of which there is no record" if of.is_whole else ""
        wanted = self.rows.get(_name_row(row, self.keys), ())
        if not wanted:
            return f"is of {_show_key(self.keys, _name_row(row, self.keys))}, which its record does not have"
        found = [next(self._list_wrong(row, each), "") for each in wanted]
        return "" if "" in found else found[0]

    def list_miscounted(self, rows: Sequence[Row], of: ReportOf) -> Iterator[str]:
        """Yield the rows of records that a file lacks, or has more often than its record, in words."""
        if not rows:
            return  # of a version that did not write this file
        shown = Counter(_name_row(row, self.keys) for row in rows)
        begun = {key[: self.num_whole] for key in shown}
        if self.keys[0] == EVAL_ID:
            begun |= {(each,) for each in of.evaluations or ()}
        for key, wanted in self.rows.items():
            record = f"{self.keys[0]} {_or_nothing(key[0])}, {_show_key(self.keys, key)}"
            if key not in shown and key[: self.num_whole] in begun:
                yield f"lacks a row of {record}"
            elif shown[key] > len(wanted):
                yield f"has {shown[key]:,} rows of {record}, its record {len(wanted):,}"

    def _list_wrong(self, row: Row, wanted: Row) -> Iterator[str]:
        for column, value in wanted.items():
            shown = row.get(column)
            if column not in self.keys and shown is not None and shown != value:
                yield f"says {column} {_or_nothing(shown)}, its record {_or_nothing(value)}"


@dataclass(frozen=True)
class ReportOf:
    """What a report says that it is of."""

    evaluations: Collection[str] | None = None
    """Their ids; None where it does not say."""
    is_whole: bool = True
    """Whether all records are there that can be missed: without one that is damaged or gone, and is named as that."""


ByFile = Mapping[str, KnownNumbers]


def list_known(workspace: Workspace, published: Published, small: SmallCells) -> list[ByFile]:
    """Return what the rows of each file are held against, in a report that hides small counts or shows them.

    All numbers of a report are in full, or rounded beside hidden counts (`report.write.list_files`): one result a way.
    """
    tables = _list_tables(workspace, published, small)
    known = {run.run_id for run in published.runs if run.description}
    alone = {each.eval_id for each in published.evaluations if each.settings.run_id not in ("", *known)}
    ways = (None,) if small == "show" else (None, DIGITS)
    return [{file: _index(file, table, digits, alone) for file, table in tables.items()} for digits in ways]


def _list_tables(workspace: Workspace, published: Published, small: SmallCells) -> dict[str, ReportTable]:
    scored, setups = published.evaluations, find_setups((run.run_id, run.description) for run in published.runs)
    groups = group_of(group_seeds(scored, setups))
    results = [
        hide_in_row(vars(row), each.scores.num_films, small)
        for each in scored
        for row in result_rows(each, groups[each.eval_id])
    ]
    means = [vars(row) for each in published.groups for row in seed_rows(each)]
    return {
        RESULTS: _make_table(ResultRow, results),
        MATCHED: list_matched_rows(scored),
        SUBGROUPS: list_subgroup_rows(scored, small),
        "differences.csv": ReportTable(
            "", COLUMNS, [list_cells(row) for row in list_difference_rows(published.comparisons, small)]
        ),
        SEEDS: _make_table(SeedRow, means),
        LEARNING: _list_learning(workspace, published, small),
        **fit_numbers(scored, small),
        ABLATIONS: list_ablation_rows(published.ablations, small),
    }


def find_wrong_numbers(path: Path, ways: Sequence[ByFile], of: ReportOf) -> list[str]:
    """Return for each file of a report the first row that is not as its record has it, in words.

    The report is of the way in which most rows are right, so that a number that was rounded by hand is a wrong one.
    """
    files = {file: _read_rows(path / file) for file in KEYS}
    best: dict[str, list[str]] | None = None
    for known in ways:
        found = {file: _list_wrong_rows(file, files[file], numbers, of) for file, numbers in known.items()}
        if best is None or _count(found) < _count(best):
            best = found
        if not _count(best):
            break
    return [each[0] for each in (best or {}).values() if each]


def _list_wrong_rows(file: str, rows: Sequence[Row], known: KnownNumbers, of: ReportOf) -> list[str]:
    pairs = ((line, known.find_wrong(row, of)) for line, row in enumerate(rows, 2))
    wrong = [f"{file}, line {line:,}, {each}" for line, each in pairs if each]
    return wrong or [f"{file} {each}" for each in known.list_miscounted(rows, of)]


def _count(found: Mapping[str, Sequence[str]]) -> int:
    return sum(map(len, found.values()))


def list_ablations_of(path: Path) -> list[str]:
    """Return the names of the ablations whose numbers a report holds."""
    return list(dict.fromkeys(from_csv_text(row.get("ablation") or "") for row in _read_rows(path / ABLATIONS)))


def _make_table(kind: type, rows: Sequence[Mapping[str, str | int | float | None]]) -> ReportTable:
    return ReportTable("", [field.name for field in fields(kind)], [list_cells(row) for row in rows])


def _list_learning(workspace: Workspace, published: Published, small: SmallCells) -> ReportTable:
    """Return the numbers of the curves that are published."""
    curves, numbers = find_curves(published.evaluations, published.points), dict[str, CurveNumbers]()
    for curve in curves:
        with suppress(CxrsslError):
            found = find_curve(workspace, curve.to_record())
            numbers |= {} if found is None else {curve.curve_id: found}
    return list_learning_rows([each for each in curves if each.curve_id in numbers], numbers, small)


def _index(file: str, table: ReportTable, digits: int | None, alone: Collection[str]) -> KnownNumbers:
    """Return the rows by name, what is not known of evaluations that stand `alone`, as their run is gone, left out."""
    keys, rows = KEYS[file], dict[Key, list[Row]]()
    for row in csv.DictReader(io.StringIO(write_csv(table, digits), newline="")):
        left_out = OF_SETUP if file == RESULTS and row[EVAL_ID] in alone else ()
        known = {column: value for column, value in row.items() if column not in left_out}
        rows.setdefault(_name_row(row, keys), []).append(known)
    return KnownNumbers(keys, WHOLE.get(file, 1), rows, {name[0] for name in rows})


def _read_rows(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), restval=""))


def _name_row(row: Row, keys: Sequence[str]) -> Key:
    return tuple(_without_name(key, from_csv_text(row.get(key) or "")) for key in keys)


def _without_name(key: str, text: str) -> str:
    """Return what is of the record: a pinned baseline without its name, a hidden condition without its number."""
    if key == "asked":
        return NUMBERED.sub("condition (", text)
    return PINNED if key == "against" and is_pinned(text) else text


def _or_nothing(text: str) -> str:
    return plain(text, 40) or "nothing"


def _show_key(keys: Sequence[str], key: Key) -> str:
    return ", ".join(f"{name} {plain(each or '-', 40)}" for name, each in zip(keys[1:], key[1:], strict=True))
