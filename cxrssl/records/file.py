"""Files that anything may have put there: only plain ones are opened, without a wait, and no further than they should.

In: a path. Out: an open file, a JSON value, or what a second look at a folder compares. Never: a link followed.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

from cxrssl.core.errors import IntegrityError

MAX_JSON_BYTES = 16 << 20


class Entry(NamedTuple):
    """A file as it lies in its folder: another version of it has another entry."""

    name: str
    modified_ns: int
    changed_ns: int
    """When it was last written to or renamed; unlike `modified_ns`, no program can set it back."""
    num_bytes: int
    inode: int
    is_plain: bool


def open_plain(path: Path) -> IO[bytes]:
    """Return the open file. Raises: OSError, also for what is no plain file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a plain file", str(path))
    return os.fdopen(descriptor, "rb")


def read_json(path: Path) -> Any:
    """Return the value of a small JSON file.

    Raises: IntegrityError with the reason in words.
    """
    try:
        with open_plain(path) as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise IntegrityError(f"{path.name} is larger than any that cxrssl writes", path)
        return json.loads(data)
    except OSError as error:
        raise IntegrityError(f"{path.name} {describe_os_error(error)}", path) from None
    except (ValueError, RecursionError):
        raise IntegrityError(f"{path.name} is not JSON", path) from None


def as_read(value: Any) -> Any:
    """Return a value as it is read after it was published: what was just made looks as it will the next time."""
    return json.loads(json.dumps(value, sort_keys=True))


def describe_os_error(error: OSError) -> str:
    """Return why a file could not be read, as a predicate."""
    if error.errno == errno.ENOENT:
        return "is missing"
    if error.errno in (errno.EINVAL, errno.ELOOP, errno.EISDIR, errno.ENXIO):
        return "is not a plain file"
    return f"cannot be read: {(error.strerror or 'no reason given').lower()}"


def list_entries(folder: Path, is_wanted: Callable[[str], bool] = lambda name: True) -> tuple[Entry, ...]:
    """Return the wanted entries of a folder, by name. Raises: OSError."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_wanted(entry.name):
                info = entry.stat(follow_symlinks=False)
                is_plain = stat.S_ISREG(info.st_mode)
                found.append(Entry(entry.name, info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino, is_plain))
    return tuple(sorted(found))
