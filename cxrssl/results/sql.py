"""One query over a DuckDB file, run so that it can be stopped, and its answer as a table, CSV or JSON.

In: an open database, the text of a query. Out: names and rows, lines for people, streams for programs.
Never: control characters from data in what a terminal shows.
"""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor, wait
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

from cxrssl.core.columns import align_rows, cell_width
from cxrssl.core.errors import UsageError
from cxrssl.core.numbers import encode_number
from cxrssl.core.text import count_noun, csv_text, dump_json, plain
from cxrssl.records.damage import Damage

if TYPE_CHECKING:
    from cxrssl.db import Database

MAX_CELL, MAX_RECORD_CELL = 60, 10_000
TABLES = """
SELECT name, kind, rows, coalesce(comment, '') FROM (
    SELECT table_name AS name, 'table' AS kind, estimated_size AS rows, comment FROM duckdb_tables() WHERE NOT internal
    UNION ALL
    SELECT view_name, 'view', NULL, comment FROM duckdb_views() WHERE NOT internal
) ORDER BY kind, name"""
COLUMNS = """
SELECT table_name, column_name, data_type, coalesce(comment, '') FROM duckdb_columns()
WHERE NOT internal ORDER BY table_name, column_index"""


def run_query(
    database: Database, query: str, limit: int = 0, timeout_s: float = 0.0
) -> tuple[list[str], list[tuple[Any, ...]], bool]:
    """Return names, rows and whether rows were left out.

    The query runs in a thread of its own, so that Ctrl-C and `timeout_s` (0: never) end it whatever DuckDB is doing.

    Raises: UsageError for what is no query, and when it takes too long.
    """
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(database.read, query, limit)
        try:
            return answer.result(timeout_s or None)
        except BaseException as error:
            while not answer.done():  # repeated, because it is lost on a query that has not begun
                database.interrupt()
                wait([answer], 0.05)
            if isinstance(error, TimeoutError):
                raise UsageError(f"the query took longer than {timeout_s:g} s", hint="raise --timeout") from None
            raise


def list_tables(database: Database) -> list[dict[str, Any]]:
    """Return every table and view of a database with its comment, its columns and their comments."""
    columns: dict[str, list[dict[str, str]]] = {}
    for table, name, kind, comment in database.rows(COLUMNS):
        columns.setdefault(table, []).append({"name": name, "type": kind, "comment": comment})
    keys = ("name", "kind", "rows", "comment")
    return [{**dict(zip(keys, row, strict=True)), "columns": columns[row[0]]} for row in database.rows(TABLES)]


def describe_tables(listing: list[dict[str, Any]]) -> list[str]:
    """Return the lines that list tables and views for people."""
    lines = []
    for table in listing:
        rows = "" if table["rows"] is None else f", {table['rows']:,} rows"
        lines.append(f"{table['name']} ({table['kind']}{rows})  {table['comment']}".rstrip())
        width = max(len(column["name"]) for column in table["columns"])
        for column in table["columns"]:
            kind = "VARCHAR" if column["type"].startswith("ENUM") else column["type"]
            lines.append(f"  {column['name'].ljust(width)}  {kind.lower().ljust(9)}  {column['comment']}".rstrip())
    return lines


def make_unique(names: list[str]) -> list[str]:
    """Return column names of which none occurs twice: `a, a` becomes `a, a_2`."""
    unique: list[str] = []
    for name in names:
        count = 1
        while (wanted := name if count == 1 else f"{name}_{count}") in unique:
            count += 1
        unique.append(wanted)
    return unique


def format_table(names: list[str], rows: list[tuple[Any, ...]]) -> list[str]:
    """Return aligned lines: a header, a rule, the rows; numbers flush right, an unknown value as NULL."""
    cells = [["NULL" if value is None else plain(_show(value), MAX_CELL) for value in row] for row in rows]
    header = [plain(name, MAX_CELL) for name in names]
    numeric = {
        at
        for at in range(len(names))
        if any(_is_number(row[at]) for row in rows) and all(row[at] is None or _is_number(row[at]) for row in rows)
    }
    rule = ["-" * max(map(cell_width, column)) for column in zip(header, *cells, strict=True)]
    return [*align_rows([header, rule, *cells], numeric), f"({count_noun(len(rows), 'row')})"]


def format_records(names: list[str], rows: list[tuple[Any, ...]]) -> list[str]:
    """Return a line for each value of each row: the name of its column, and the value in full."""
    width = max((cell_width(plain(name, MAX_CELL)) for name in names), default=0)
    lines: list[str] = []
    for number, row in enumerate(rows, 1):
        lines.append(f"-- row {number}")
        for name, value in zip(names, row, strict=True):
            shown = "NULL" if value is None else plain(_show(value), MAX_RECORD_CELL)
            head = plain(name, MAX_CELL)
            lines.append(f"{head}{' ' * (width - cell_width(head))}  {shown}".rstrip())
    return [*lines, f"({count_noun(len(rows), 'row')})"]


def write_csv(names: list[str], rows: list[tuple[Any, ...]], out: TextIO) -> None:
    """Write rows as CSV; NULL is an empty cell, and text that a spreadsheet would run has ' before it."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([csv_text(name) for name in names])
    writer.writerows([_csv_cell(value) for value in row] for row in rows)


def write_json(names: list[str], rows: list[tuple[Any, ...]], out: TextIO) -> None:
    """Write rows as an array of JSON objects, in ASCII; a number that JSON lacks is "nan", "inf" or "-inf"."""
    objects = [dict(zip(names, map(_to_json, row), strict=True)) for row in rows]
    body = ",\n ".join(dump_json(item) for item in objects)
    out.write(f"[{body}]\n")


def list_damage(database: Database) -> list[Damage]:
    """Return what the store of experiments could not use, or not in full."""
    return [Damage(*row) for row in database.rows("SELECT kind, name, what FROM damage ORDER BY ALL")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if _is_number(value) else csv_text(str(value))


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _to_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return encode_number(value)
    if isinstance(value, dict):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
