"""The CSV files of a report, held against the records that their rows name.

In: a published report, what else is published. Out: for each file the first number that is not the one of its record.
Never: a count that is hidden taken for a wrong one, a row passed because nothing has its name, or a number passed that
is written in other digits than the report has.
"""

from __future__ import annotations

import csv
import io
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
from cxrssl.report.small import DIGITS, HIDDEN, SmallCells, hide_in_row
from cxrssl.report.tables import ReportTable
from cxrssl.report.transfer_tables import fit_numbers
from cxrssl.results.rows import ResultRow, SeedRow, group_of, result_rows, seed_rows

SEEDS, LEARNING, ABLATIONS = "seeds.csv", "learning.csv", "ablations.csv"
KEYS = {
    "results.csv": ("eval_id", "finding", "metric"),
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
Row = Mapping[str, str]
Key = tuple[str, ...]


@dataclass(frozen=True)
class KnownNumbers:
    """The rows of one file as the records of a workspace give them."""

    keys: Sequence[str]
    columns: Sequence[str]
    """Those that hold numbers, or nothing, and the marks of numbers."""
    rows: Mapping[Key, Sequence[Row]]
    """Those of one name; which of several is meant is not known."""
    records: Collection[str]
    """Names of the records that are there."""

    def find_wrong(self, row: Row) -> str:
        """Return what of a row is not as its record has it, in words; empty where all is, or the record is gone."""
        if from_csv_text(row.get(self.keys[0]) or "") not in self.records:
            return ""
        wanted = self.rows.get(_name_row(row, self.keys), ())
        if not wanted:
            shown = ", ".join(f"{key} {plain(row.get(key) or '-', 40)}" for key in self.keys[1:])
            return f"is of {shown}, which its record does not have"
        found = [next(self._list_wrong(row, each), "") for each in wanted]
        return "" if "" in found else found[0]

    def _list_wrong(self, row: Row, wanted: Row) -> Iterator[str]:
        for column in self.columns:
            shown, value = row.get(column), wanted[column]
            if shown is not None and shown != value:
                yield f"says {column} {_or_nothing(shown)}, its record {_or_nothing(value)}"


ByFile = Mapping[str, KnownNumbers]


def list_known(workspace: Workspace, published: Published, small: SmallCells) -> list[ByFile]:
    """Return what the rows of each file are held against, in a report that hides small counts or shows them.

    All numbers of a report are in full, or rounded beside hidden counts (`report.write.list_files`): one result a way.
    """
    tables = _list_tables(workspace, published, small)
    ways = (None,) if small == "show" else (None, DIGITS)
    return [{file: _index(table, KEYS[file], digits) for file, table in tables.items()} for digits in ways]


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
        "results.csv": _make_table(ResultRow, results),
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


def find_wrong_numbers(path: Path, ways: Sequence[ByFile]) -> list[str]:
    """Return for each file of a report the first row that is not as its record has it, in words.

    The report is of the way in which most rows are right, so that a number that was rounded by hand is a wrong one.
    """
    files = {file: _read_rows(path / file) for file in KEYS}
    best: dict[str, list[str]] | None = None
    for known in ways:
        found = {file: _list_wrong_rows(file, files[file], numbers) for file, numbers in known.items()}
        if best is None or _count(found) < _count(best):
            best = found
        if not _count(best):
            break
    return [each[0] for each in (best or {}).values() if each]


def _list_wrong_rows(file: str, rows: Sequence[Row], known: KnownNumbers) -> list[str]:
    pairs = ((line, known.find_wrong(row)) for line, row in enumerate(rows, 2))
    return [f"{file}, line {line:,}, {wrong}" for line, wrong in pairs if wrong]


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


def _index(table: ReportTable, keys: Sequence[str], digits: int | None) -> KnownNumbers:
    found = list(csv.DictReader(io.StringIO(write_csv(table, digits), newline="")))
    rows: dict[Key, list[Row]] = {}
    for row in found:
        rows.setdefault(_name_row(row, keys), []).append(row)
    names = [name for name in (found[0] if found else {}) if name not in keys]
    columns = [
        name for name in names if name.endswith("mark") or all(not row[name] or _is_numeric(row[name]) for row in found)
    ]
    return KnownNumbers(keys, columns, rows, {name[0] for name in rows})


def _read_rows(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))


def _name_row(row: Row, keys: Sequence[str]) -> Key:
    return tuple(_without_name(key, from_csv_text(row.get(key) or "")) for key in keys)


def _without_name(key: str, text: str) -> str:
    """Return a pinned baseline without its name, which is of the report and not of the record."""
    return PINNED if key == "against" and is_pinned(text) else text


def _or_nothing(text: str) -> str:
    return plain(text, 40) or "nothing"


def _is_numeric(text: str) -> bool:
    """Return whether a cell holds a number, several with commas between them, or a count that is hidden."""
    return _is_hidden(text) or all(_is_number(part) for part in text.split(","))


def _is_hidden(text: str) -> bool:
    return HIDDEN in text or text.startswith("about ")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
