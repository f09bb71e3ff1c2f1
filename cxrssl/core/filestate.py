"""What tells whether a file is still the one that was read: its state, cheap to look at, and the SHA-256 of its bytes.

In: a file. Out: its state; a list of files seen, kept beside what was made of them.
Never: "still the same" from size and time of writing alone, which a copy or an edit may restore. A write also changes
the time of change, which nobody can set, and a file put in another's place has another inode. Where states differ
(another disk, a network folder that invents inodes) the bytes decide.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cxrssl.core.durable import write_json
from cxrssl.core.errors import SetupError

CLOCK_STEP_S = 2.0
"""A file changed so shortly before it was read may change again with the same times: FAT counts in steps of 2 s."""
_RANGE = 2**63


class FileState(NamedTuple):
    """What the file system says of a file; two files, or two contents of one, never share it unless it is `recent`."""

    num_bytes: int
    """-1: there is no such file, or it cannot be looked at."""
    written_ns: int
    changed_ns: int
    inode: int


NO_FILE = FileState(-1, 0, 0, 0)


class Seen(NamedTuple):
    """A file when it was read."""

    state: FileState
    """NO_FILE when its state says nothing: it was recent, or could not be looked at."""
    sha256: str
    """Of its bytes, empty if only a part was read."""


def state_of(status: os.stat_result) -> FileState:
    """Return the state of a file; each number fits into 64 bits with a sign."""
    times = (status.st_mtime_ns % _RANGE, status.st_ctime_ns % _RANGE)
    return FileState(status.st_size, *times, status.st_ino % _RANGE)


def look_at(path: str | Path) -> FileState:
    """Return the state of the file at `path`, following links, or NO_FILE."""
    try:
        return state_of(os.stat(path))
    except (OSError, ValueError):  # ValueError: a path that no file can have
        return NO_FILE


def is_settled(state: FileState, looked_at_s: float) -> bool:
    """Return whether a file in this state at that time shows it when it changes again."""
    return state.num_bytes >= 0 and state.changed_ns < (looked_at_s - CLOCK_STEP_S) * 1e9


def read_seen(path: Path, made: str = "") -> dict[str, Seen]:
    """Return name -> file as it was when it was read; nothing if there is no such list, or it is damaged.

    `made` names what was made of the files, if the list is of no use for anything else.
    """
    try:
        kept = json.loads(path.read_text())
        files = kept["files"] if kept["made"] == made else {}
        return {name: Seen(FileState(*map(int, entry[:4])), str(entry[4])) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return {}


def write_seen(path: Path, seen: Mapping[str, Seen], made: str = "") -> None:
    """Keep the list; without it, as in a folder that may not be written to, files are read again."""
    files = {name: [*entry.state, entry.sha256] for name, entry in seen.items()}
    with contextlib.suppress(SetupError):
        write_json(path, {"made": made, "files": files})
