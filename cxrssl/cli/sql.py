"""`cxrssl sql`: one read-only query over a cohort's tables or over the store of experiments."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, CohortName, WorkspacePath, open_workspace, print_damage, print_summary
from cxrssl.cli.streams import read_stdin
from cxrssl.core.errors import IntegrityError, UsageError

DEFAULT_LIMIT = 100


def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help='The query, or "-" to read it from stdin.')] = "",
    cohort: CohortName = "",
    results: Annotated[
        bool, typer.Option("--results", help="Query the store of runs and evaluations instead.")
    ] = False,
    tables: Annotated[bool, typer.Option("--tables", help="List tables, views, columns and what they mean.")] = False,
    limit: Annotated[int, typer.Option(help="Rows to show; 0 is all.", min=0)] = DEFAULT_LIMIT,
    timeout: Annotated[float, typer.Option(help="Seconds after which the query is stopped; 0 is never.", min=0)] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print rows as JSON objects.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print rows as CSV.")] = False,
    vertical: Annotated[bool, typer.Option("--vertical", help="Print a line for each value.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Query a cohort's tables and views with SQL (DuckDB's), read-only; a query reaches nothing but that database.

    Example: cxrssl sql "SELECT link_status, count(*) FROM film GROUP BY 1"
    """
    if as_json + as_csv + vertical > 1:
        given = [
            name for name, is_given in (("--json", as_json), ("--csv", as_csv), ("--vertical", vertical)) if is_given
        ]
        raise UsageError(f"{' and '.join(given)} exclude each other")
    query = read_stdin() if query == "-" and not timeout else query
    if bool(query.strip()) == tables:
        raise UsageError("give one query, or --tables", hint='cxrssl sql "SELECT * FROM film LIMIT 5"')
    path = _find_database(workspace, cohort, results)
    memory, threads = "", 0
    if timeout:
        from cxrssl.results import bounded

        if not bounded.is_bounded():
            raise typer.Exit(bounded.run_bounded(context.obj, timeout))
        memory, threads = bounded.limit_this_process()
        query = read_stdin() if query == "-" else query
    from cxrssl.db import open_database
    from cxrssl.results.sql import (
        describe_tables,
        format_records,
        format_table,
        list_damage,
        list_tables,
        make_unique,
        run_query,
        write_csv,
        write_json,
    )

    with (
        _naming_maker(path, results),
        closing(open_database(path, read_only=True, memory=memory, threads=threads)) as database,
    ):
        if tables:
            listing = list_tables(database)
            print_summary({"tables": listing}, as_json, describe_tables(listing))
            return
        # Under a timeout the process that watches this one ends it, and says so once.
        names, rows, is_cut = run_query(database, query, limit)
        damage = list_damage(database) if results else []
    names = make_unique(names)
    if as_json:
        write_json(names, rows, sys.stdout)
    elif as_csv:
        write_csv(names, rows, sys.stdout)
    else:
        typer.echo("\n".join((format_records if vertical else format_table)(names, rows)))
    print_damage(damage)
    if is_cut:
        typer.echo(f"cxrssl: note: only the first {limit:,} rows are shown; --limit 0 shows all", err=True)


@contextmanager
def _naming_maker(path: Path, results: bool) -> Iterator[None]:
    from cxrssl.cohort.again import naming_ingest

    try:
        with nullcontext() if results else naming_ingest(path.parent):
            yield
    except IntegrityError as error:
        error.hint = error.hint or "make it again: cxrssl db rebuild"
        raise


def _find_database(workspace_path: Path, cohort: str, results: bool) -> Path:
    from cxrssl.cohort.read import open_tables

    workspace = open_workspace(workspace_path)
    if not results:
        return open_tables(workspace.find_cohort(cohort)).path / "cohort.duckdb"
    if cohort:
        raise UsageError("--results and --cohort exclude each other", hint="the store of experiments is one for all")
    from cxrssl.results.bounded import is_bounded
    from cxrssl.results.seal import is_sealed
    from cxrssl.results.store import refresh_store

    if is_bounded():
        return workspace.store  # the process that watches has brought it up to date
    if workspace.store.is_file() and not is_sealed(workspace.store):
        what = "the store is damaged, or another program wrote to it"
        typer.echo(f"cxrssl: note: {what}; it is made again, as by cxrssl db rebuild", err=True)
    return refresh_store(workspace)
