"""Reading one declared table from csv or csv.gz, with every row accounted for.

In: a file and its declaration. Out: a Table, for which rows in the file = accepted + rejected at every moment.
Never: a row that is dropped, padded, cut or guessed without a reject row that names file, line, column and rule.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrssl.cohort.columns import Column, TableSpec, cast_cells
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun, nearest_hint, plain

CHUNK_ROWS = 50_000
MAX_GZIP_RATIO = 200
REJECT_SCHEMA = {"line": pl.Int64, "column": pl.String, "rule": pl.String}


@dataclass
class Table:
    """The rows of one source file."""

    file: str
    """Name relative to the dataset, as shown to people."""
    spec: TableSpec
    rows: int
    frame: pl.DataFrame
    """Accepted rows: `line` and the declared columns, typed."""
    rejects: pl.DataFrame
    blanked: dict[str, int] = field(default_factory=dict)
    """Cells that broke a rule and were made unknown, their rows kept: "column: rule" -> count."""
    remarks: list[str] = field(default_factory=list)

    def reject(self, is_bad: pl.Expr, rule: str, column: str = "") -> None:
        """Move the accepted rows for which `is_bad` is true to the rejects."""
        bad = self.frame.filter(is_bad.fill_null(False))
        if bad.is_empty():
            return
        self.frame = self.frame.filter(~is_bad.fill_null(False))
        self._add_rejects(bad.select("line", pl.lit(column).alias("column"), pl.lit(rule).alias("rule")))

    def blank(self, is_bad: pl.Expr, rule: str, columns: Sequence[str]) -> None:
        """Make `columns` unknown where `is_bad` is true, and count it."""
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
        """Return what each rule left, in the order of the rules, beginning with the rows of the file."""
        steps = [(f"rows in {self.file}", self.rows)]
        for column, rule, num in self.rejects.group_by("column", "rule", maintain_order=True).len().iter_rows():
            steps.append((f"without: {column}: {rule}" if column else f"without: {rule}", steps[-1][1] - num))
        return steps

    def check_account(self) -> None:
        """Assert that every row of the file is accepted or rejected."""
        assert self.rows == self.frame.height + self.rejects.height, f"{self.file}: rows are not accounted for"

    def _add_rejects(self, rejects: pl.DataFrame) -> None:
        self.rejects = pl.concat([self.rejects, rejects.cast(REJECT_SCHEMA)])  # type: ignore[arg-type]


def read_table(path: Path, file: str, spec: TableSpec, has_header: bool = True) -> Table:
    """Return the table in `path` after the rules for cells and for keys.

    Without a header the columns are taken in the order of `spec`.

    Raises: DataError when the file is missing, cut, damaged or empty, or lacks a declared column.
    """
    text = read_text(path, file)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = _read_header(rows, file, path) if has_header else [column.name for column in spec.columns]
    positions = [_find_column(header, column, file, path) for column in spec.columns]
    chunks: list[pl.DataFrame] = []
    blanked: dict[str, int] = {}
    broken: list[tuple[int, str, str]] = []
    for cells in _iter_chunks(rows, positions, len(header), spec, broken, file, path):
        checked = cast_cells(cells, spec)
        for column in spec.columns:
            if column.when_bad == "blank":
                _count_blanked(checked, column, blanked)
        chunks.append(checked)
    if not broken and not any(chunk.height for chunk in chunks):
        raise DataError(f"{file} has no rows", path, "the download may be cut: fetch the file again")
    table = _assemble(file, spec, chunks, broken, blanked)
    if text and text[-1] not in "\r\n":
        table.remarks.append("the last line does not end: the file may be cut")
    return table


def read_text(path: Path, file: str) -> str:
    """Return the text of a plain or gzipped file without its byte-order mark; bytes that are not UTF-8 become U+FFFD.

    Raises: DataError when the file is missing, cut short, damaged, or unpacks to more than 200 times its size.
    """
    try:
        data = _gunzip(path, file) if path.name.endswith(".gz") else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{file} is missing", path, "fetch the file again") from None
    except EOFError:
        hint = "fetch the file again and compare it with the publisher's SHA256SUMS.txt"
        raise DataError(f"{file} is cut short: the gzip stream does not end", path, hint) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        hint = "fetch the file again and compare it with the publisher's SHA256SUMS.txt"
        raise DataError(f"{file} is damaged: {plain(error)}", path, hint) from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}", path) from None
    return data.decode("utf-8", "replace").removeprefix("\ufeff")


def _gunzip(path: Path, file: str) -> bytes:
    limit = MAX_GZIP_RATIO * path.stat().st_size + (1 << 20)
    with gzip.open(path) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise DataError(f"{file} unpacks to more than {MAX_GZIP_RATIO} times its size", path, "this is no table")
    return data


def _read_header(rows: Iterator[list[str]], file: str, path: Path) -> list[str]:
    try:
        header = [name.strip() for name in next(rows)]
    except StopIteration:
        raise DataError(f"{file} is empty", path, "fetch the file again") from None
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


def _iter_chunks(
    rows: Iterator[list[str]],
    positions: list[int],
    width: int,
    spec: TableSpec,
    broken: list[tuple[int, str, str]],
    file: str,
    path: Path,
) -> Iterator[pl.DataFrame]:
    """Yield frames of text cells with their lines; rows that have no cells to speak of go to `broken`."""
    schema = {"line": pl.Int64(), **{column.name: pl.String() for column in spec.columns}}
    chunk: list[list[object]] = []
    for line, row, rule in _iter_rows(rows, width, file, path):
        if rule:
            broken.append((line, "", rule))
            continue
        chunk.append([line, *(row[position] for position in positions)])
        if len(chunk) == CHUNK_ROWS:
            yield pl.DataFrame(chunk, schema, orient="row")
            chunk = []
    yield pl.DataFrame(chunk, schema, orient="row")  # also when empty: it carries the column types


def _iter_rows(rows: Iterator[list[str]], width: int, file: str, path: Path) -> Iterator[tuple[int, list[str], str]]:
    """Yield (line, cells, broken rule or ""). A blank line is no row.

    Raises: DataError when an open quote swallows lines: what they held cannot be known.
    """
    while True:
        line = rows.line_num + 1  # type: ignore[attr-defined]
        rule, row = "", []
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            rule = f"not CSV: {error}"
        if not rule and not row:
            continue
        if not rule and (len(row) < width or any(row[width:])):
            rule = f"{count_noun(len(row), 'field')} where the header has {width}"
        if rule and rows.line_num > line:  # type: ignore[attr-defined]
            raise DataError(f"{file}: a quote that opens on line {line:,} does not close on it", path, "mend the file")
        yield line, row, rule


def _count_blanked(checked: pl.DataFrame, column: Column, blanked: dict[str, int]) -> None:
    for rule, num in checked[f"{column.name}?"].drop_nulls().value_counts().iter_rows():
        label = f"{column.name}: {rule}"
        blanked[label] = blanked.get(label, 0) + num


def _assemble(
    file: str,
    spec: TableSpec,
    chunks: list[pl.DataFrame],
    broken: list[tuple[int, str, str]],
    blanked: dict[str, int],
) -> Table:
    rejects = pl.DataFrame(broken, REJECT_SCHEMA, orient="row")
    checked = pl.concat(chunks)
    strict = [column.name for column in spec.columns if column.when_bad == "reject"]
    # The first broken column in declared order speaks for the row, so a row is rejected once.
    column = pl.coalesce(pl.when(pl.col(f"{name}?").is_not_null()).then(pl.lit(name)) for name in strict)
    rule = pl.coalesce(pl.col(f"{name}?") for name in strict)
    bad = checked.filter(rule.is_not_null()).select("line", column.alias("column"), rule.alias("rule"))
    frame = checked.filter(rule.is_null()).select("line", *(each.name for each in spec.columns))
    table = Table(file, spec, len(broken) + checked.height, frame, rejects, dict(blanked))
    table._add_rejects(bad)
    _reject_duplicates(table)
    table.check_account()
    return table


def _reject_duplicates(table: Table) -> None:
    """Keep one of several equal rows; reject all rows of one key that differ, because none can be preferred."""
    key = list(table.spec.key)
    if not key or not table.frame.select(key).is_duplicated().any():
        return
    columns = [column.name for column in table.spec.columns]
    num_contents = pl.struct(columns).n_unique().over(key)
    table.reject(num_contents > 1, "the same key with different content", key[0])
    first_line = pl.col("line").min().over(key)
    table.reject(pl.col("line") != first_line, "the same row again", key[0])
