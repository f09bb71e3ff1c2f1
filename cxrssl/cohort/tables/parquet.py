"""A table in Parquet as cells of text, so that the rules for CSV hold for it.

In: a Parquet file. Out: its columns as text. Never: a nested column, or a table beyond MAX_TABLE_BYTES.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrssl.cohort.tables.content import MAX_TABLE_BYTES
from cxrssl.core.errors import DataError
from cxrssl.core.text import format_bytes, plain

MAGIC = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Return whether the file begins as Parquet does."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def parquet_columns(path: Path) -> tuple[str, ...]:
    """Return the names of the columns; none where the file cannot be read."""
    try:
        return tuple(pl.read_parquet_schema(path))
    except (OSError, pl.exceptions.PolarsError):
        return ()


def parquet_rows(path: Path) -> int:
    """Return the number of rows; 0 where the file cannot be read."""
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError):
        return 0


def read_parquet_cells(path: Path, file: str, names: list[str]) -> pl.DataFrame:
    """Return `line`, counted from 1, and the columns as text, named "0", "1", ... in the order of `names`.

    Raises: DataError when the file is damaged or too large, or a column holds lists.
    """
    size = path.stat().st_size
    if size > MAX_TABLE_BYTES:
        raise DataError(f"{file} has {format_bytes(size)}, more than {format_bytes(MAX_TABLE_BYTES)}", path)
    try:
        frame = pl.read_parquet(path, columns=names, memory_map=False)
        for name in names:
            if frame[name].dtype.is_nested():
                raise DataError(f'{file}: column "{plain(name, 60)}" holds lists', path, "write one value a cell")
        cells = frame.select(_as_text(frame[name]).alias(str(number)) for number, name in enumerate(names))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file} cannot be read as Parquet: {plain(error, 200)}", path) from None
    return cells.select(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("line"), pl.all())


def _as_text(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int8).cast(pl.String)
    if isinstance(values.dtype, pl.Datetime):
        return values.dt.replace_time_zone(None).dt.to_string("%Y-%m-%d %H:%M:%S%.6f")
    return values.cast(pl.String)
