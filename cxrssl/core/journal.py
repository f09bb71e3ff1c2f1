"""Append-only JSON lines: the truth about runs, from which the DuckDB store is derived.

One record is one line and one `write` to an O_APPEND descriptor, so a kill loses nothing that was logged.
A reader takes whole lines only. JSON has no NaN: non-finite numbers are written as the strings "nan", "inf", "-inf".
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cxrssl.core.durable import renamed_os_errors, write_all
from cxrssl.core.held import check_held
from cxrssl.core.numbers import decode_number, encode_numbers

_decode_first = json.JSONDecoder().raw_decode


class Journal:
    """An open journal. Only the process that made it writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        check_held(path)
        with renamed_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            size = os.fstat(self._fd).st_size
            self._is_torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one record with its time stamp (`ts`, Unix seconds)."""
        line = json.dumps(
            {"ts": round(time.time(), 3), **encode_numbers(record)}, allow_nan=False, separators=(",", ":")
        )
        # A line that a killed process or a failed write left unfinished stays a line of its own.
        data = b"\n" * self._is_torn + line.encode() + b"\n"
        self._is_torn = True
        check_held(self.path)
        with renamed_os_errors(self.path):
            write_all(self._fd, data)
        self._is_torn = False

    def sync(self) -> None:
        """Force the journal to the disk, against power loss."""
        with renamed_os_errors(self.path):
            os.fdatasync(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append one record to a journal that is not held open."""
    journal = Journal(path)
    try:
        journal.log(record)
    finally:
        journal.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the records of a journal; an unfinished last line is not data. A missing file has no records."""
    return list(iter_records(path.read_bytes())) if path.exists() else []


def iter_records(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the records in `data`, whole lines only, skipping lines that are not JSON objects."""
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        record = _decode(line)
        if isinstance(record, dict):
            is_plain = b'n"' not in line and b'f"' not in line and b"\\" not in line  # no "nan", no "inf" in any form
            yield record if is_plain else {key: decode_number(value) for key, value in record.items()}


def _decode(line: bytes) -> Any:
    """Return the JSON value that all of `line` is, None when there is none.

    What is found at once is what `json.loads` finds in three times the time; it decides about anything else.
    """
    with contextlib.suppress(ValueError, RecursionError):
        text = line.decode("utf-8", "surrogatepass")
        value, end = _decode_first(text)
        if end == len(text):
            return value
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(line)
    return None
