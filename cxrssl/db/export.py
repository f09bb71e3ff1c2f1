"""Tables and databases as files that other programs read: Parquet, and a file of an older DuckDB.

Never: SQL that a user typed. Its statements are our own, because they may read and write other files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from cxrssl.db.database import ArrowStream
from cxrssl.db.errors import renamed_duckdb_errors
from cxrssl.db.quote import quote_text

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

OLDEST_READER = "v1.2.0"
"""Of DuckDB, that reads what `export_compatible` writes."""


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet with text as Arrow's `string`, which strict readers need; Polars writes `large_string`.

    Raises: SetupError when it cannot be written.
    """
    with renamed_duckdb_errors(path), contextlib.closing(duckdb.connect(":memory:")) as connection:
        connection.register("incoming", ArrowStream(frame))
        connection.sql("SELECT * FROM incoming").write_parquet(str(path), compression="zstd")


def write_columns(columns: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write arrays of one length as the columns of a Parquet file. Raises: SetupError when it cannot be written."""
    import polars as pl

    write_parquet(pl.DataFrame({name: pl.Series(name, values) for name, values in columns.items()}), path)


def export_parquet(database: Path, folder: Path) -> None:
    """Write every table of a database into `folder` as Parquet, with schema.sql and load.sql. Raises: SetupError."""
    with renamed_duckdb_errors(folder), contextlib.closing(_open_unlocked(database)) as connection:
        connection.execute(f"EXPORT DATABASE {quote_text(str(folder))} (FORMAT parquet, COMPRESSION zstd)")


def export_compatible(database: Path, copy: Path) -> None:
    """Copy a database into a file that DuckDB 1.2 and later read; its own they do not. Raises: SetupError."""
    with renamed_duckdb_errors(copy), contextlib.closing(_open_unlocked(None)) as connection:
        connection.execute(f"ATTACH {quote_text(str(database))} AS here (READ_ONLY)")
        connection.execute(f"ATTACH {quote_text(str(copy))} AS there (STORAGE_VERSION {quote_text(OLDEST_READER)})")
        connection.execute("COPY FROM DATABASE here TO there")
        connection.execute("DETACH there")


def _open_unlocked(database: Path | None) -> duckdb.DuckDBPyConnection:
    """Return a connection that may read and write other files, for statements of our own alone; no extension loads."""
    config: dict[str, str | bool | int | float | list[str]] = {"temp_directory": ""}
    config |= {"autoinstall_known_extensions": False}
    return duckdb.connect(str(database) if database else ":memory:", read_only=database is not None, config=config)
