"""One declared table, read from csv, csv.gz or Parquet with every row accounted for.

In: a file and its declaration. Out: a SourceTable, in which accepted + rejected = rows in the file at every moment.
Never: a row dropped, padded, cut or guessed without a reject row that names file, line, column and rule.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrssl.cohort.files import SourceFile
from cxrssl.cohort.tables.columns import Column, TableSpec, cast_cells, describe_form
from cxrssl.cohort.tables.content import explain_header, is_packed, read_bytes
from cxrssl.cohort.tables.lines import Broken, LineReader, read_cells
from cxrssl.cohort.tables.parquet import is_parquet, parquet_columns, read_parquet_cells
from cxrssl.core.errors import DataError
from cxrssl.core.progress import track
from cxrssl.core.text import count_noun, nearest_hint, plain

REPEATED = "the same row again"
STRANGER = "subject not in patients"
NUM_THREADS = 2
"""Files read at a time: more would only take more memory, since Polars has threads of its own."""
REJECT_SCHEMA = {"line": pl.Int64, "column": pl.String, "rule": pl.String, "subject": pl.String}
"""`subject` is the subject's own id where the row shows it, else null. It is never written: see `collect_rejects`."""


@dataclass
class SourceTable:
    """The rows of one source file."""

    file: str
    """Name relative to the dataset, as reported to people."""
    spec: TableSpec
    rows: int
    frame: pl.DataFrame
    """Accepted rows: `line` and the declared columns, typed."""
    rejects: pl.DataFrame
    blanked: dict[str, int] = field(default_factory=dict)
    """Cells that broke a rule and were made unknown while their rows were kept: "column: rule" -> count."""
    forms: dict[str, str] = field(default_factory=dict)
    """How the first cell that broke a rule is written: "column: rule" -> its form."""
    doubts: list[pl.Series] = field(default_factory=list)
    """Subjects of whom this table lost something without a rejected row."""
    remarks: list[str] = field(default_factory=list)
    row_files: pl.Series | None = None
    """Where the rows are files: the path of each; row k, counted from 1, has `line` k."""

    def reject(self, is_bad: pl.Expr, rule: str, column: str = "") -> None:
        """Move the accepted rows for which `is_bad` is true to the rejects."""
        bad = self.frame.filter(is_bad.fill_null(False))
        if bad.is_empty():
            return
        self.frame = self.frame.filter(~is_bad.fill_null(False))
        self._add_rejects(bad, column, rule)

    def blank(self, is_bad: pl.Expr, rule: str, columns: Sequence[str]) -> None:
        """Make `columns` unknown where `is_bad` is true, and count these rows."""
        is_bad = is_bad.fill_null(False)
        num_bad = self.frame.filter(is_bad).height
        if num_bad:
            self.frame = self.frame.with_columns(pl.when(~is_bad).then(pl.col(name)).alias(name) for name in columns)
            self.blanked[f"{columns[0]}: {rule}"] = num_bad

    def doubt(self, is_bad: pl.Expr, column: str = "") -> None:
        """Put the subjects of the accepted rows for which `is_bad` is true in doubt; `column` holds them."""
        bad = self.frame.filter(is_bad.fill_null(False))
        self.doubts.append(bad[column or self.spec.subject].alias("subject_id"))

    def lost(self) -> pl.DataFrame:
        """Return the rejects that cost something: neither repeated rows nor those of people we do not know."""
        return self.rejects.filter(~pl.col("rule").is_in([REPEATED, STRANGER]))

    def doubtful(self) -> pl.Series:
        """Return the subjects of whom the table lost a row, or a cell whose blank says "no"."""
        return pl.concat([self.lost()["subject"].alias("subject_id"), *self.doubts]).drop_nulls().unique()

    def check_fit(self, column: str, known: pl.Series, of: str, advice: str = "") -> None:
        """Raise DataError if none of the ids in `column` is among those that `of` has; it shows how each is written."""
        ids = self.frame[column].drop_nulls()
        if ids.is_empty() or known.is_empty() or known.is_in(ids.head(1_000).implode()).any():
            return  # a few ids decide nearly always, and are looked for in no time
        if ids.is_in(known.implode()).any():
            return
        theirs, ours = (plain(describe_form(each[0]), 80) for each in (ids, known))
        what = f"{self.file}: none of its {count_noun(len(ids), 'row')} fits {of}"
        hint = f"its {column} is such as {theirs}, that of {of} such as {ours}: {advice or 'are they of one release?'}"
        raise DataError(what, hint=hint)

    def reject_counts(self) -> dict[str, int]:
        """Return how many rows each rule rejected, "column: rule" or "rule" -> count."""
        label = pl.when(pl.col("column") == "").then(pl.col("rule")).otherwise(pl.format("{}: {}", "column", "rule"))
        counts = self.rejects.group_by(label.alias("label")).len().sort(["len", "label"], descending=[True, False])
        return dict(zip(counts["label"].to_list(), counts["len"].to_list(), strict=True))

    def flow(self) -> list[tuple[str, int]]:
        """Return how many rows each rule left, in the order of the rules, starting with the rows of the file."""
        steps = [(f"rows in {self.file}", self.rows)]
        for column, rule, num in self.rejects.group_by("column", "rule", maintain_order=True).len().iter_rows():
            steps.append((f"without: {column}: {rule}" if column else f"without: {rule}", steps[-1][1] - num))
        return steps

    def check_account(self) -> None:
        """Assert that every row of the file is accepted or rejected."""
        assert self.rows == self.frame.height + self.rejects.height, f"{self.file}: rows are not accounted for"

    def _add_rejects(self, rows: pl.DataFrame, column: str | pl.Series, rule: str | pl.Series) -> None:
        name = next((name for name in ("subject_id", self.spec.subject) if name in rows.columns), None)
        subject = rows[name] if name else None
        rejects = {"line": rows["line"], "column": column, "rule": rule, "subject": subject}
        self.rejects = pl.concat([self.rejects, pl.DataFrame(rejects, REJECT_SCHEMA)])


def read_tables(files: Mapping[str, SourceFile], specs: Mapping[str, TableSpec]) -> dict[str, SourceTable]:
    """Return the table in each of `files`, in their order, as declared under the same name in `specs`."""
    with track("read tables", len(files), "tables") as progress, ThreadPoolExecutor(NUM_THREADS) as pool:

        def read(name: str) -> SourceTable:
            table = read_table(files[name].path, files[name].shown, specs[name])
            progress.advance(note=files[name].shown)
            return table

        # The largest first, so that no large file is left for one thread at the end.
        order = sorted(files, key=lambda name: -_size(files[name].path))
        tables = dict(zip(order, pool.map(read, order), strict=True))
        return {name: tables[name] for name in files}


def read_table(path: Path, file: str, spec: TableSpec, has_header: bool = True) -> SourceTable:
    """Return the table in `path` after the rules for cells and for keys.

    Without a header the columns have the order of `spec`.

    Raises: DataError when the file is missing, cut short, damaged or empty, or lacks a declared column.
    """
    if has_header and is_parquet(path):
        return _read_parquet(path, file, spec)
    data = read_bytes(path, file)
    reader = LineReader(data)
    header = _read_header(reader, file, path) if has_header else [column.name for column in spec.columns]
    try:
        positions = [_find_column(header, column, file, path) for column in spec.columns]
    except DataError:
        what, hint = explain_header(data, spec.columns[0].name) if has_header else ("", "")
        if not what:
            raise
        raise DataError(f"{file} {what}", path, hint) from None
    first = reader.next_line if has_header else 0
    cells, broken = read_cells(reader, first, positions, len(header), file, path)
    if not broken and cells.is_empty():
        raise DataError(f"{file} has no rows", path, "the download may be incomplete: fetch the file again")
    table = _assemble(file, spec, cells, broken)
    if path.name.endswith(".gz") != is_packed(path):
        table.remarks.append(f"read as it is: {'packed' if is_packed(path) else 'plain text'}, which its name denies")
    if not data.endswith((b"\n", b"\r")):
        table.remarks.append("the last line does not end: the file may be cut short")
    return table


def _read_parquet(path: Path, file: str, spec: TableSpec) -> SourceTable:
    header = list(parquet_columns(path))
    positions = [_find_column(header, column, file, path) for column in spec.columns]
    cells = read_parquet_cells(path, file, [header[position] for position in positions])
    if cells.is_empty():
        raise DataError(f"{file} has no rows", path, "write the file again")
    return _assemble(file, spec, cells, [])


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _read_header(reader: LineReader, file: str, path: Path) -> list[str]:
    if not len(reader):
        raise DataError(f"{file} is empty", path, "fetch the file again")
    try:
        header = [name.strip() for name in reader.read_record(0)]
    except csv.Error as error:
        raise DataError(f"{file}: the header cannot be read: {error}", path) from None
    while header and not header[-1]:  # a comma after the last name, as in some copies of NIH's table
        header.pop()
    return header


def _find_column(header: list[str], column: Column, file: str, path: Path) -> int:
    names = [name for name in (column.name, *column.aliases) if name in header]
    if not names:
        raise DataError(f'{file}: column "{column.name}" is missing', path, plain(nearest_hint(column.name, header)))
    if header.count(names[0]) > 1 or len(names) > 1:
        raise DataError(f'{file}: column "{column.name}" occurs twice', path)
    return header.index(names[0])


def _assemble(file: str, spec: TableSpec, cells: pl.DataFrame, broken: list[Broken]) -> SourceTable:
    checked, rules = cast_cells(cells, spec)
    rejects = pl.DataFrame([(each.line, "", each.rule, None) for each in broken], REJECT_SCHEMA, orient="row")
    blanked = {
        f"{column.name}: {rule}": num
        for column in spec.columns
        if column.when_bad != "reject" and column.name in rules.columns
        for rule, num in rules[column.name].drop_nulls().value_counts().iter_rows()
    }
    table = SourceTable(
        file, spec, len(broken) + checked.height, checked, rejects, blanked, _find_forms(spec, cells, rules)
    )
    for each in spec.columns:
        if each.when_bad == "doubt" and each.name in rules.columns:
            table.doubts.append(checked.filter(rules[each.name].is_not_null())[spec.subject].alias("subject_id"))
    strict = [column.name for column in spec.columns if column.when_bad == "reject" and column.name in rules.columns]
    if strict:
        # A row is rejected once: under its first broken column in declared order.
        column = pl.coalesce(pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in strict)
        words = rules.select(column.alias("column"), pl.coalesce(strict).alias("rule"))
        is_bad = words["rule"].is_not_null()
        table.frame = checked.filter(~is_bad)
        table._add_rejects(checked.filter(is_bad), *words.filter(is_bad))
    _reject_duplicates(table)
    table.check_account()
    return table


def _find_forms(spec: TableSpec, cells: pl.DataFrame, rules: pl.DataFrame) -> dict[str, str]:
    """Return "column: rule" -> the form of the first cell that broke it."""
    forms = {}
    for number, column in enumerate(spec.columns):
        if column.name in rules.columns:
            pairs = pl.DataFrame({"rule": rules[column.name], "cell": cells[str(number)]}).drop_nulls("rule")
            for rule, cell in pairs.unique("rule", keep="first").iter_rows():
                forms[f"{column.name}: {rule}"] = plain(describe_form((cell or "").strip()), 60)
    return forms


def _reject_duplicates(table: SourceTable) -> None:
    """Keep one of several equal rows; reject all rows of a key that differ, because none can be preferred."""
    if not table.spec.key:
        return
    key = pl.struct(table.spec.key) if len(table.spec.key) > 1 else pl.col(table.spec.key)
    if table.frame.select(key.n_unique()).item() == table.frame.height:
        return
    again = table.frame.filter(key.is_duplicated())
    num_contents = pl.struct(column.name for column in table.spec.columns).n_unique().over(key)
    again = again.select(
        "line", is_conflict=num_contents > 1, is_first=pl.col("line") == pl.col("line").min().over(key)
    )
    conflicts, repeats = again.filter("is_conflict")["line"], again.filter(~pl.col("is_first"))["line"]
    first_key = table.spec.key[0]
    table.reject(pl.col("line").is_in(conflicts.implode()), "the same key with different content", first_key)
    table.reject(pl.col("line").is_in(repeats.implode()), REPEATED, first_key)
