"""An open database: run statements, insert and query frames."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from cxrssl.core.errors import CxrsslError, DataError, SetupError, UsageError
from cxrssl.core.progress import track
from cxrssl.core.text import plain
from cxrssl.db.errors import WRITE_HINT, renamed_duckdb_errors
from cxrssl.db.quote import quote_name

if TYPE_CHECKING:
    import polars as pl

QUERIES = frozenset({"SELECT", "EXPLAIN", "MULTI"})
"""Kinds of statement that only read. SELECT is also WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE; MULTI is PIVOT."""
FETCHED_ROWS = 10_000
"""At once."""
WATCHED_S = 0.2
"""Between two looks at how far a statement is."""


class Database:
    """An open database. Close it, or use it as a context manager."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path | None, is_writer: bool = False) -> None:
        self._connection = connection
        self.path = path
        self._is_writer = is_writer

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run one or more statements whose result is not needed."""
        with self._renamed_errors():
            self._connection.execute(sql, list(values) or None).fetchall()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the result of a query as tuples."""
        with self._renamed_errors():
            found: list[tuple[Any, ...]] = self._connection.execute(sql, list(values) or None).fetchall()
            return found

    def query(self, sql: str, values: Sequence[Any] = ()) -> pl.DataFrame:
        """Return the result of a query as a Polars frame."""
        import polars

        with self._renamed_errors():
            relation = self._connection.sql(sql, params=list(values) or None)
            return polars.DataFrame(ArrowStream(relation))

    def read(self, sql: str, limit: int = 0) -> tuple[list[str], list[tuple[Any, ...]], bool]:
        """Return the column names of a query, its rows (at most `limit`, 0 is all), and whether there are more.

        Raises: UsageError when `sql` is anything but one query.
        """
        with self._renamed_errors():
            kinds = [statement.type.name for statement in duckdb.extract_statements(sql)]
            if len(kinds) != 1:
                raise UsageError(f"one query at a time: this is {len(kinds)} statements")
            if kinds[0] not in QUERIES:
                raise UsageError(f"only a query is allowed, and this is {kinds[0]}", hint="begin with SELECT")
            cursor = self._connection.execute(sql)
            names = [str(column[0]) for column in cursor.description or ()]
            rows: list[tuple[Any, ...]] = []
            while (not limit or len(rows) <= limit) and (batch := cursor.fetchmany(FETCHED_ROWS)):
                rows += batch  # in pieces: nothing else runs while rows are turned into Python's
        return names, rows[:limit] if limit else rows, bool(limit) and len(rows) > limit

    def interrupt(self) -> None:
        """Stop the query that another thread runs on this database; it ends in a UsageError."""
        self._connection.interrupt()

    def watch(self, sql: str, what: str) -> None:
        """Run a statement that takes long, and show how far it is."""
        failed: list[BaseException] = []

        def run() -> None:
            try:
                self.execute(sql)
            except BaseException as error:
                failed.append(error)

        worker = threading.Thread(target=run, daemon=True)
        with track(what, 1000, "parts") as progress:
            shown = 0
            worker.start()
            try:
                while worker.is_alive():
                    worker.join(WATCHED_S)
                    now = max(shown, round(10 * self._connection.query_progress()))
                    progress.advance(now - shown)
                    shown = now
            except BaseException:
                self.interrupt()
                worker.join()
                raise
            if not failed:
                progress.advance(1000 - shown)
        if failed:
            raise failed[0]

    def columns(self, table: str) -> list[str]:
        """Return the column names of a table or view."""
        return [name for name, *_ in self.rows(f"DESCRIBE {quote_name(table)}")]

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Append the rows of a Polars frame, matching columns by name; absent columns become NULL.

        Raises: DataError for a column that the table has not; some names (NUL) would end the process in Polars.
        """
        known = self.columns(table)
        for name in frame.columns:
            if name not in known:
                raise DataError(f'table {table} has no column "{plain(name, 60)}"', self.path or "")
        names = ", ".join(quote_name(name) for name in frame.columns)
        self._insert(f"INSERT INTO {quote_name(table)} ({names}) SELECT {names} FROM incoming", frame, [])

    def insert_query(self, table: str, query: str, frame: pl.DataFrame, values: Sequence[Any] = ()) -> None:
        """Append the rows of a query on a Polars frame, which it calls `incoming`; they have the table's columns."""
        self._insert(f"INSERT INTO {quote_name(table)} {query}", frame, values)

    def _insert(self, sql: str, frame: pl.DataFrame, values: Sequence[Any]) -> None:
        with self._renamed_errors():
            self._connection.register("incoming", ArrowStream(frame))
            try:
                self._connection.execute(sql, list(values) or None).fetchall()
            finally:
                self._connection.unregister("incoming")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep or lose what the block writes as one: many inserts are then written once, not to a journal first."""
        self.execute("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            with contextlib.suppress(CxrsslError):
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def beside(self) -> Database:
        """Return a second connection to the same open database, for another thread. Close it as well."""
        with self._renamed_errors():
            return Database(self._connection.cursor(), self.path)

    def close(self) -> None:
        """Write everything to the file and release it.

        Raises: SetupError when not everything could be written. DuckDB itself keeps that to itself: it leaves the rows
        in a journal beside the file.
        """
        with self._renamed_errors():
            try:
                if self._is_writer:
                    self._connection.execute("CHECKPOINT")
            finally:
                self._connection.close()
        if self._is_writer and self.path is not None and journal_of(self.path).exists():
            raise SetupError("cannot write the database: a part of it did not reach its file", self.path, WRITE_HINT)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if kind is None:
            self.close()
        else:
            self._connection.close()  # what ended the block says more than why the rest cannot be written

    @contextlib.contextmanager
    def _renamed_errors(self) -> Iterator[None]:
        with renamed_duckdb_errors(self.path):
            yield


class ArrowStream:
    """A frame or a relation of which only the Arrow stream is visible.

    DuckDB reads a Polars frame only through pyarrow, which we avoid. Polars, given a whole relation, keeps references
    that DuckDB 2.0 complains about on stderr when Python ends.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._inner.__arrow_c_stream__(requested_schema)


def journal_of(path: Path) -> Path:
    """Return where DuckDB keeps what is not in the file of a database yet."""
    return path.with_name(f"{path.name}.wal")
