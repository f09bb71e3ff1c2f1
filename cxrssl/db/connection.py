"""Opening a database and locking it down: SQL typed by a user reaches the database and nothing else.

In: a path or nothing (memory). Out: a Database. Never: network, extensions, or files that the caller did not name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from cxrssl.core.errors import DataError, IntegrityError
from cxrssl.db.database import Database, journal_of
from cxrssl.db.errors import renamed_duckdb_errors
from cxrssl.db.quote import quote_text

# Order matters: the configuration is locked last, and after that no SQL statement can change it.
LOCK_DOWN = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET enable_progress_bar = false",  # it would print among the data on stdout
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
SPILL = "spill"
"""Folder for what does not fit into the memory of a scratch database."""


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
            connection.execute(f"SET {key} = [{', '.join(quote_text(str(path)) for path in paths)}]")
        for statement in ("SET enable_progress_bar = true", "SET enable_progress_bar_print = false", *LOCK_DOWN):
            connection.execute(statement)
    return Database(connection, None)
