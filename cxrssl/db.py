"""DuckDB, imported only here: open a locked-down database, apply a schema, insert and query frames.

In: a path or nothing (memory). Out: a Database. Errors of DuckDB leave this module as errors of our family.
Never: network, extensions, or files other than the database itself: SQL typed by a user cannot reach them.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from cxrssl.core.errors import CxrsslError, DataError, IntegrityError, SetupError, UsageError
from cxrssl.core.progress import track
from cxrssl.core.text import plain

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

# Order matters: the configuration is locked last, and after that no SQL statement can change it.
LOCK_DOWN = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET enable_progress_bar = false",  # it would print among the data on stdout
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
QUERIES = frozenset({"SELECT", "EXPLAIN", "MULTI"})
"""Kinds of statement that only read. SELECT is also WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE; MULTI is PIVOT."""
FETCHED_ROWS = 10_000
"""At once."""
SPILL = "spill"
"""Folder for what does not fit into the memory of a scratch database."""
WATCHED_S = 0.2
"""Between two looks at how far a statement is."""
CANNOT_WRITE = ("no space left", "permission denied", "file too large", "quota exceeded", "read-only file system")
OLDEST_READER = "v1.2.0"
"""Of DuckDB, that reads what `export_compatible` writes."""
WRITE_HINT = "free some space, or name another --workspace"
# The line of a DuckDB message that suggests names; some messages have a colon too many.
_CANDIDATES = re.compile(r"^(?:Candidate (?:bindings|tables)|Did you mean):?[ :]*(.+?)\??$", re.MULTILINE)


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
            return polars.DataFrame(_Stream(relation))

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
        return [name for name, *_ in self.rows(f"DESCRIBE {_quote(table)}")]

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Append the rows of a Polars frame, matching columns by name; absent columns become NULL.

        Raises: DataError for a column that the table has not; some names (NUL) would end the process in Polars.
        """
        known = self.columns(table)
        for name in frame.columns:
            if name not in known:
                raise DataError(f'table {table} has no column "{plain(name, 60)}"', self.path or "")
        names = ", ".join(_quote(name) for name in frame.columns)
        self._insert(f"INSERT INTO {_quote(table)} ({names}) SELECT {names} FROM incoming", frame, [])

    def insert_query(self, table: str, query: str, frame: pl.DataFrame, values: Sequence[Any] = ()) -> None:
        """Append the rows of a query on a Polars frame, which it calls `incoming`; they have the table's columns."""
        self._insert(f"INSERT INTO {_quote(table)} {query}", frame, values)

    def _insert(self, sql: str, frame: pl.DataFrame, values: Sequence[Any]) -> None:
        with self._renamed_errors():
            self._connection.register("incoming", _Stream(frame))
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


class _Stream:
    """A frame or a relation of which only the Arrow stream is visible.

    DuckDB reads a Polars frame only through pyarrow, which we avoid. Polars, given a whole relation, keeps references
    that DuckDB 2.0 complains about on stderr when Python ends.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._inner.__arrow_c_stream__(requested_schema)


def open_database(path: Path | None, read_only: bool = False, memory: str = "", threads: int = 0) -> Database:
    """Open the database at `path` (None: in memory) and lock it down.

    `memory` is DuckDB's limit, such as "4GB"; empty and 0 mean DuckDB's own choice.

    Raises: DataError when there is none to read, IntegrityError when the file is damaged, or another program has left
    a journal beside it that DuckDB would read as a part of it, SetupError when it is in use.
    """
    if read_only and path is not None and not path.is_file():
        raise DataError("there is no database", path)
    config: dict[str, str | bool | int | float | list[str]] = {}
    if memory:
        config["memory_limit"] = memory
    if threads:
        config["threads"] = threads
    if read_only:
        config["temp_directory"] = ""  # else a large query leaves <database>.tmp beside it, in a published folder
    with renamed_duckdb_errors(path):
        connection = duckdb.connect(str(path) if path else ":memory:", read_only=read_only, config=config)
        for statement in LOCK_DOWN:
            connection.execute(statement)
    if read_only and path is not None and journal_of(path).exists():
        connection.close()
        raise IntegrityError("another program wrote to the database and left a journal beside it", path)
    return Database(connection, path, is_writer=path is not None and not read_only)


def open_scratch(folder: Path, files: Sequence[Path] = (), memory: str = "", threads: int = 0) -> Database:
    """Open a database in memory that reads these files and reads and writes those of `folder`, and nothing else.

    What does not fit into `memory` lies under `folder` until it is closed.
    """
    config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": str(folder / SPILL)}
    if memory:
        config["memory_limit"] = memory
    if threads:
        config["threads"] = threads
    with renamed_duckdb_errors(folder):
        connection = duckdb.connect(":memory:", config=config)
        for key, paths in (("allowed_paths", files), ("allowed_directories", (folder,))):
            connection.execute(f"SET {key} = [{', '.join(_quote_text(str(path)) for path in paths)}]")
        for statement in ("SET enable_progress_bar = true", "SET enable_progress_bar_print = false", *LOCK_DOWN):
            connection.execute(statement)
    return Database(connection, None)


def journal_of(path: Path) -> Path:
    """Return where DuckDB keeps what is not in the file of a database yet."""
    return path.with_name(f"{path.name}.wal")


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet with text as Arrow's `string`, which strict readers need; Polars writes `large_string`.

    Raises: SetupError when it cannot be written.
    """
    with renamed_duckdb_errors(path), contextlib.closing(duckdb.connect(":memory:")) as connection:
        connection.register("incoming", _Stream(frame))
        connection.sql("SELECT * FROM incoming").write_parquet(str(path), compression="zstd")


def write_columns(columns: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write arrays of one length as the columns of a Parquet file. Raises: SetupError when it cannot be written."""
    import polars as pl

    write_parquet(pl.DataFrame({name: pl.Series(name, values) for name, values in columns.items()}), path)


def export_parquet(database: Path, folder: Path) -> None:
    """Write every table of a database into `folder` as Parquet, with schema.sql and load.sql. Raises: SetupError."""
    with renamed_duckdb_errors(folder), contextlib.closing(_open_unlocked(database)) as connection:
        connection.execute(f"EXPORT DATABASE {_text(folder)} (FORMAT parquet, COMPRESSION zstd)")


def export_compatible(database: Path, copy: Path) -> None:
    """Copy a database into a file that DuckDB 1.2 and later read; its own they do not. Raises: SetupError."""
    with renamed_duckdb_errors(copy), contextlib.closing(_open_unlocked(None)) as connection:
        connection.execute(f"ATTACH {_text(database)} AS here (READ_ONLY)")
        connection.execute(f"ATTACH {_text(copy)} AS there (STORAGE_VERSION {_text(OLDEST_READER)})")
        connection.execute("COPY FROM DATABASE here TO there")
        connection.execute("DETACH there")


def _open_unlocked(database: Path | None) -> duckdb.DuckDBPyConnection:
    """Return a connection that may read and write other files, for statements of our own alone; no extension loads."""
    config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": ""}
    config |= {"autoinstall_known_extensions": False}
    return duckdb.connect(str(database) if database else ":memory:", read_only=database is not None, config=config)


def _text(value: Path | str) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def apply_schema(database: Database, name: str) -> None:
    """Run the statements of `schemas/<name>`."""
    database.execute(read_schema(name))


def read_schema(name: str) -> str:
    """Return the text of `schemas/<name>`, as shipped in the package or, in an editable install, in the repository."""
    shipped = importlib.resources.files("cxrssl") / "schemas" / name
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parent.parent / "schemas" / name).read_text(encoding="utf-8")


@contextlib.contextmanager
def renamed_duckdb_errors(path: Path | None) -> Iterator[None]:
    """Turn any error of DuckDB into one of our family; `path` is the database it happened in."""
    try:
        yield
    except duckdb.Error as error:
        raise _rename(error, path or "") from error
    except RuntimeError as error:
        if "interrupted" in str(error).lower():  # DuckDB's error for Ctrl-C during a query
            raise KeyboardInterrupt from None
        raise


def _rename(error: duckdb.Error, where: Path | str) -> CxrsslError:
    text, line = str(error).lower(), _first_line(error)
    if any(words in text for words in CANNOT_WRITE):
        # DuckDB reports this in errors of several classes, a failed commit among them.
        return SetupError(f"cannot write the database: {line}", where, WRITE_HINT)
    if "corrupt" in text and not isinstance(error, duckdb.ProgrammingError | duckdb.DataError):
        # Of several classes too; a query that speaks of corruption itself fails with one of those two.
        return IntegrityError(f"the database is damaged: {line}", where)
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        found = _CANDIDATES.search(str(error))
        hint = f"nearest is {plain(found[1])}" if found else ""
        return UsageError(f"this SQL cannot run: {line}", where, hint)
    if isinstance(error, duckdb.PermissionException):
        return UsageError(f"this SQL is not allowed: {line}", where)
    if isinstance(error, duckdb.InterruptException):
        return UsageError("the query was stopped before its end", where)
    if isinstance(error, duckdb.OutOfMemoryException):
        return SetupError(f"not enough memory: {line}", where)
    if isinstance(error, duckdb.IOException | duckdb.ConnectionException):
        if "lock" in text or "different configuration" in text:
            return SetupError(f"the database is in use: {line}", where)
        return IntegrityError(f"the database cannot be read: {line}", where)
    return DataError(f"the database refused: {line}", where)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return plain(lines[0] if lines else type(error).__name__)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quote_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
