"""`cxrssl sql`: one read-only query over a cohort's tables or over the store of experiments."""

from __future__ import annotations

import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, CohortName, WorkspacePath, open_workspace, print_damage, print_summary
from cxrssl.core.columns import align_rows, cell_width
from cxrssl.core.errors import UsageError
from cxrssl.core.numbers import encode_number
from cxrssl.core.text import count_noun, plain

if TYPE_CHECKING:
    from cxrssl.db import Database

DEFAULT_LIMIT = 100
MAX_CELL = 60
TABLES = """
SELECT name, kind, rows, coalesce(comment, '') FROM (
    SELECT table_name AS name, 'table' AS kind, estimated_size AS rows, comment FROM duckdb_tables() WHERE NOT internal
    UNION ALL
    SELECT view_name, 'view', NULL, comment FROM duckdb_views() WHERE NOT internal
) ORDER BY kind, name"""
COLUMNS = """
SELECT table_name, column_name, data_type, coalesce(comment, '') FROM duckdb_columns()
WHERE NOT internal ORDER BY table_name, column_index"""


def sql(
    query: Annotated[str, typer.Argument(help='The query, or "-" to read it from stdin.')] = "",
    cohort: CohortName = "",
    results: Annotated[bool, typer.Option("--results", help="Ask the store of runs and evaluations instead.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="List tables, views, columns and what they mean.")] = False,
    limit: Annotated[int, typer.Option(help="Rows to show; 0 is all.", min=0)] = DEFAULT_LIMIT,
    timeout: Annotated[float, typer.Option(help="Seconds after which the query is stopped; 0 is never.", min=0)] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print rows as JSON objects.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print rows as CSV.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Query a cohort's tables and views with SQL (DuckDB's), read-only; nothing but that database can be reached.

    Example: cxrssl sql "SELECT link_status, count(*) FROM film GROUP BY 1"
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other")
    query = sys.stdin.read() if query == "-" else query
    if bool(query.strip()) == tables:
        raise UsageError("give one query, or --tables", hint='cxrssl sql "SELECT * FROM film LIMIT 5"')
    path = _find_database(workspace, cohort, results)
    from cxrssl.db import open_database
    from cxrssl.results import list_damage

    with closing(open_database(path, read_only=True)) as database:
        if tables:
            listing = list_tables(database)
            print_summary({"tables": listing}, as_json, describe_tables(listing))
            return
        names, rows, is_cut = run_query(database, query, limit, timeout)
        damage = list_damage(database) if results else []
    names = make_unique(names)
    if as_json:
        write_json(names, rows, sys.stdout)
    elif as_csv:
        write_csv(names, rows, sys.stdout)
    else:
        typer.echo("\n".join(format_table(names, rows)))
    print_damage(damage)
    if is_cut:
        typer.echo(f"cxrssl: note: only the first {limit:,} rows are shown; --limit 0 shows all", err=True)


def run_query(
    database: Database, query: str, limit: int = 0, timeout_s: float = 0.0
) -> tuple[list[str], list[tuple[Any, ...]], bool]:
    """Return names, rows and whether rows were left out.

    The query runs in a thread of its own, so that Ctrl-C and `timeout_s` (0: never) end it whatever DuckDB is at.

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


def write_csv(names: list[str], rows: list[tuple[Any, ...]], out: TextIO) -> None:
    """Write rows as CSV; NULL is an empty cell."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([plain(name) for name in names])
    writer.writerows(["" if value is None else plain(value, 1 << 24) for value in row] for row in rows)


def write_json(names: list[str], rows: list[tuple[Any, ...]], out: TextIO) -> None:
    """Write rows as an array of JSON objects, in ASCII; a number that JSON lacks is "nan", "inf" or "-inf"."""
    objects = [dict(zip(names, map(_to_json, row), strict=True)) for row in rows]
    body = ",\n ".join(json.dumps(item, allow_nan=False) for item in objects)
    out.write(f"[{body}]\n")


def _find_database(workspace_path: Path, cohort: str, results: bool) -> Path:
    from cxrssl.cohort.read import KIND
    from cxrssl.core.artefact import open_artefact

    workspace = open_workspace(workspace_path)
    if not results:
        return open_artefact(workspace.find_cohort(cohort), KIND, verify=False).path / "cohort.duckdb"
    if cohort:
        raise UsageError("--results and --cohort exclude each other", hint="the store of experiments is one for all")
    from cxrssl.results import is_store_current, rebuild_store

    return workspace.store if is_store_current(workspace) else rebuild_store(workspace)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


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
