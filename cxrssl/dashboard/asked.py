"""A query over the store of experiments or over a cohort, read-only, and its answer as a table.

In: a workspace, where to ask, SQL. Out: Answer. Never: a database that is written, or an exception for what was typed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from cxrssl.core.errors import CxrsslError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.text.sheet import Cell, Column, Sheet

RESULTS = "results"
"""The store of experiments; any other place is the name of a cohort."""
LIMIT = 1000
TIMEOUT_S = 60.0
MAX_CELL = 60
USUAL_QUERIES = (
    ("macro scores", RESULTS, "SELECT * FROM macro"),
    ("means over seeds", RESULTS, "SELECT label, against, value, lo, hi, num_seeds FROM seed_mean"),
    ("runs by state", RESULTS, "SELECT state, count(*) AS runs FROM run GROUP BY ALL"),
    ("films by link", "", "SELECT link_status, count(*) AS films, avg(gap_h) FROM film GROUP BY ALL"),
)
"""Name, place ("" is any cohort) and text."""
TABLES = """SELECT table_name AS "table", string_agg(column_name, ', ' ORDER BY column_index) AS columns
FROM duckdb_columns() WHERE NOT internal GROUP BY table_name ORDER BY table_name"""
_NUMBER = re.compile(r"-?[0-9][0-9.e+-]*|nan|inf|-inf")


@dataclass(frozen=True)
class Answer:
    """What a query gave."""

    query: str = ""
    place: str = ""
    sheet: Sheet | None = None
    error: str = ""
    seconds: float = 0.0
    is_cut: bool = False
    """Whether there are more rows than are shown."""
    is_reading: bool = False
    is_listing: bool = False
    """Whether this lists the tables, and no query was asked."""

    @property
    def line(self) -> str:
        """What came of it, in words."""
        if self.error:
            return self.error
        if self.is_listing:
            return "type a query and press enter; tab goes to the tables, enter there shows one"
        if self.sheet is None:
            return "type a query and press enter; tab goes to the answer"
        more = f", the first {LIMIT:,}" if self.is_cut else ""
        return f"{count_noun(len(self.sheet.rows), 'row')}{more}, {self.seconds:.2f} s"


def list_tables(workspace: Workspace, place: str) -> Answer:
    """Return the tables and views of a place, each with its columns."""
    answer = ask(workspace, place, TABLES)
    if answer.sheet is None:
        return answer
    names, columns = answer.sheet.columns
    sheet = replace(answer.sheet, columns=(names, replace(columns, width=0)))
    return replace(answer, query="", sheet=sheet, is_listing=True)


def ask(workspace: Workspace, place: str, query: str) -> Answer:
    """Return the answer to a query."""
    from cxrssl.db import open_database
    from cxrssl.results.sql import make_unique, run_query

    started = time.monotonic()
    path = workspace.store if place == RESULTS else workspace.cohorts / place / "cohort.duckdb"
    if not path.is_file():
        hint = 'cxrssl sql --results "FROM run" makes it' if place == RESULTS else "cxrssl ingest makes it"
        return Answer(query, place, error=f"there is no {path.name} yet: {hint}")
    try:
        with closing(open_database(path, read_only=True, memory="1GB", threads=2)) as database:
            names, rows, is_cut = run_query(database, query, LIMIT, TIMEOUT_S)
    except CxrsslError as error:
        hint = f" ({plain(error.hint, 120)})" if error.hint else ""
        return Answer(query, place, error=plain(error.what, 300) + hint)
    sheet = make_sheet(make_unique(names), rows)
    return Answer(query, place, sheet, "", time.monotonic() - started, is_cut)


def make_sheet(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Sheet:
    """Return an answer as a table; numbers are flush right."""
    texts = [[_show(value) for value in row] for row in rows]
    columns = []
    for at, name in enumerate(names):
        is_number = all(_NUMBER.fullmatch(row[at]) or row[at] == "NULL" for row in texts) and bool(texts)
        columns.append(Column(plain(name, MAX_CELL), MAX_CELL, not is_number))
    return Sheet("", tuple(columns), {f"{at}": tuple(map(Cell, row)) for at, row in enumerate(texts)})


def _show(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else plain(value, 2000)
