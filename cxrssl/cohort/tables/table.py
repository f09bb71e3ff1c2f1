"""One declared table, read from csv or csv.gz with every row accounted for.

In: a file and its declaration. Out: a SourceTable, in which accepted + rejected = rows in the file at every moment.
Never: a row dropped, padded, cut or guessed without a reject row that names file, line, column and rule.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from isal import igzip as gzip
from isal import isal_zlib as zlib

from cxrssl.cohort.files import SourceFile
from cxrssl.cohort.tables.columns import Column, TableSpec, cast_cells
from cxrssl.cohort.tables.lines import Broken, LineReader, read_cells
from cxrssl.core.errors import DataError
from cxrssl.core.progress import track
from cxrssl.core.text import nearest_hint, plain

MAX_GZIP_RATIO = 200
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
    with track("read tables", len(files), "table") as progress, ThreadPoolExecutor(NUM_THREADS) as pool:

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
    data = read_bytes(path, file)
    reader = LineReader(data)
    header = _read_header(reader, file, path) if has_header else [column.name for column in spec.columns]
    positions = [_find_column(header, column, file, path) for column in spec.columns]
    first = reader.next_line if has_header else 0
    cells, broken = read_cells(reader, first, positions, len(header), file, path)
    if not broken and cells.is_empty():
        raise DataError(f"{file} has no rows", path, "the download may be incomplete: fetch the file again")
    table = _assemble(file, spec, cells, broken)
    if not data.endswith((b"\n", b"\r")):
        table.remarks.append("the last line does not end: the file may be cut short")
    return table


def read_bytes(path: Path, file: str) -> bytes:
    """Return the bytes of a plain or gzipped file without its byte-order mark.

    Raises: DataError when the file is missing, cut short, damaged, or unpacks to more than 200 times its size.
    """
    try:
        data = _gunzip(path, file) if path.name.endswith(".gz") else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{file} is missing", path, "fetch the file again") from None
    except EOFError:
        hint = "fetch the file again and compare it with the publisher's SHA256SUMS.txt"
        raise DataError(f"{file} is cut short: the gzip stream does not end", path, hint) from None
    except (gzip.BadGzipFile, zlib.error) as error:  # type: ignore[misc]
        hint = "fetch the file again and compare it with the publisher's SHA256SUMS.txt"
        raise DataError(f"{file} is damaged: {plain(error)}", path, hint) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}", path) from None
    return data.removeprefix(codecs.BOM_UTF8)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _gunzip(path: Path, file: str) -> bytes:
    limit = MAX_GZIP_RATIO * path.stat().st_size + (1 << 20)
    with gzip.open(path) as stream:  # type: ignore[no-untyped-call]
        data: bytes = stream.read(limit + 1)
    if len(data) > limit:
        raise DataError(f"{file} unpacks to more than {MAX_GZIP_RATIO} times its size", path, "this is not a table")
    return data


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
        if column.when_bad == "blank" and column.name in rules.columns
        for rule, num in rules[column.name].drop_nulls().value_counts().iter_rows()
    }
    table = SourceTable(file, spec, len(broken) + checked.height, checked, rejects, blanked)
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
    table.reject(pl.col("line").is_in(repeats.implode()), "the same row again", first_key)
