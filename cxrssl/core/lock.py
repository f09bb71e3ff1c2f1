"""One process at a time: an advisory lock on a file, which ends with the process that holds it.

In: a path, and the error that a second process gets. Out: a block that no other process is in. Never: a wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from cxrssl.core.durable import renamed_os_errors
from cxrssl.core.errors import SetupError, UsageError


@contextlib.contextmanager
def hold_lock(path: Path, busy: UsageError) -> Iterator[None]:
    """Hold the lock file `path`, made with its folder if it is not there, while the block runs.

    Raises: `busy` when another process holds it; SetupError when it cannot be written, or its disk knows no locks.
    """
    with renamed_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, path, busy)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, busy: UsageError) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy from None
    except OSError as error:
        raise SetupError(f"cannot lock: {(error.strerror or '').lower()}", path) from error
