"""Reading journals while they grow: whole lines only, from where the last reading ended, in bounded pieces.

In: the path of a journal. Out: its new records; or its last few; or the step it begins at.
Never: a wait on something that is not a plain file, or memory that grows with the journal.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cxrssl.core.journal import iter_records
from cxrssl.core.numbers import is_count, number_of
from cxrssl.records.file import describe_os_error, open_plain

PIECE_BYTES = 4 << 20
"""At most this much is read at once."""
TIP_BYTES = 32 << 10
"""Holds the last 20 records of a metrics journal several times over."""
Record = dict[str, Any]
Wanted = Callable[[Record], bool]


class JournalTail:
    """A place in a journal: everything before it has been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.is_at_end = False
        """Whether the last reading reached the end of the file."""
        self.num_replaced = 0
        """How often the file turned out to be another one, or shorter: what was read before is void then."""
        self._inode = 0

    def read(self, max_bytes: int = PIECE_BYTES) -> list[Record]:
        """Return the records that came since the last reading, from at most `max_bytes` of the file."""
        self.is_at_end = True
        try:
            with open_plain(self.path) as file:
                info = os.fstat(file.fileno())
                if (self._inode and info.st_ino != self._inode) or info.st_size < self.offset:
                    self.offset, self.num_replaced = 0, self.num_replaced + 1
                self._inode = info.st_ino
                file.seek(self.offset)
                data = file.read(max_bytes)
        except OSError:
            return []
        self.is_at_end = len(data) < max_bytes
        end = data.rfind(b"\n") + 1
        # A line longer than a piece is no record: it is passed over, and its rest is not JSON.
        self.offset += end if end or self.is_at_end else len(data)
        return records_in(data[:end])


def iter_journal(path: Path) -> Iterator[Record]:
    """Yield all records of a journal, as far as it can be read now."""
    tail = JournalTail(path)
    while True:
        yield from tail.read()
        if tail.is_at_end or tail.num_replaced:
            return


def read_tip(path: Path, is_wanted: Wanted = bool, most: int = 1000) -> list[Record]:
    """Return the last records of a journal, those alone that are wanted; nothing only if there is none."""
    for max_bytes in (TIP_BYTES, 8 * TIP_BYTES, PIECE_BYTES):
        records = _last_records(_read_end(path, max_bytes), is_wanted, most)
        if records:
            return records
    return list(deque((record for record in iter_journal(path) if is_wanted(record)), maxlen=1))


def first_step(path: Path) -> int | None:
    """Return the step that a metrics journal begins at, None while it has no record."""
    for max_bytes in (TIP_BYTES, PIECE_BYTES):
        steps = (int(record["step"]) for record in iter_records(_read_start(path, max_bytes)) if is_metric(record))
        first = next(steps, None)
        if first is not None:
            return first
    return None


def find_journal_fault(path: Path, is_wanted: Wanted) -> str:
    """Return why nothing of a journal can be used; "" when something can, or nothing was written yet."""
    try:
        with open_plain(path) as file:
            data = file.read(TIP_BYTES)
    except OSError as error:
        return f"{path.name} {describe_os_error(error)}"
    is_begun = b"\n" in data or len(data) == TIP_BYTES
    return f"{path.name} holds no record" if is_begun and not read_tip(path, is_wanted, 1) else ""


def _read_start(path: Path, max_bytes: int) -> bytes:
    try:
        with open_plain(path) as file:
            return file.read(max_bytes)
    except OSError:
        return b""


def _last_records(data: bytes, is_wanted: Wanted, most: int) -> list[Record]:
    """Return the wanted records of whole lines, read from the last line back until there are enough."""
    found: list[Record] = []
    for line in reversed(data[: data.rfind(b"\n") + 1].splitlines()):
        found += [record for record in iter_records(line + b"\n") if is_wanted(record)]
        if len(found) == most:
            break
    return found[::-1]


def _read_end(path: Path, max_bytes: int) -> bytes:
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(size - max_bytes, 0))
            data = file.read(max_bytes)
    except OSError:
        return b""
    return data if size <= max_bytes else data[data.find(b"\n") + 1 :]


def is_metric(record: Record) -> bool:
    """Return whether this is a record of a step: its step a count and its time stamp a finite number."""
    return is_count(record.get("step")) and math.isfinite(number_of(record.get("ts")))


def records_in(data: bytes) -> list[Record]:
    """Return the records of whole lines."""
    return list(iter_records(data))
