"""What the first bytes of a table show: its columns, and about how many rows it has.

In: a csv, csv.gz or Parquet. Out: names, an estimate. Never: a whole table read, or an estimate reported as a count.
"""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

from cxrssl.cohort.tables.content import decode_start, find_delimiter, is_packed, peek_bytes
from cxrssl.cohort.tables.parquet import is_parquet, parquet_columns, parquet_rows

PEEK_BYTES = 1 << 18


def peek_columns(path: Path) -> tuple[str, ...]:
    """Return the names in the first line, or none when the file cannot be read: `read_table` reports why.

    A table is known by its names also where other programs wrote it: with another delimiter, in UTF-16.
    """
    if is_parquet(path):
        return parquet_columns(path)
    line = next(iter(decode_start(peek_bytes(path, PEEK_BYTES)).splitlines()), "")
    try:
        header = next(csv.reader([line], delimiter=find_delimiter(line)), [])
    except csv.Error:
        return ()
    return tuple(name.strip() for name in header if name.strip())


def estimate_rows(path: Path) -> int:
    """Return about how many rows the table has, from the length of its first lines and the size of the file.

    The number is exact when the file is small and no cell holds a line break.
    """
    if is_parquet(path):
        return parquet_rows(path)
    data = peek_bytes(path, PEEK_BYTES)
    lines = data.count(b"\n")
    if len(data) < PEEK_BYTES:
        return max(lines - (1 if data.endswith(b"\n") else 0), 0)
    size = path.stat().st_size
    if is_packed(path):
        size = _unpacked_bytes(path, size * len(data) / len(zlib.compress(data)))
    return max(round(size / len(data) * lines) - 1, 0)


def _unpacked_bytes(path: Path, estimate: float) -> int:
    """Return the size recorded at the end of a gzip file (RFC 1952: of its last member, modulo 2^32), if plausible."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        recorded = int.from_bytes(file.read(4), "little")
    return recorded if estimate / 2 < recorded < estimate * 2 else round(estimate)
