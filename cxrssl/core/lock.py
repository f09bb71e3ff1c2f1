"""One process at a time: an advisory lock on a file, which ends with the process that holds it.

It is flock, which the kernel keeps for all containers and PID namespaces of a machine, and NFS for all its clients;
a process id in a file would say nothing to another container. The file says who holds it, for people alone.

In: a path, and the error that a second process gets. Out: a block that no other process is in. Never: a wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from cxrssl.core.durable import renamed_os_errors
from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.held import check_held
from cxrssl.core.process import describe_process
from cxrssl.core.text import plain


@contextlib.contextmanager
def hold_lock(path: Path, busy: UsageError) -> Iterator[None]:
    """Hold the lock file `path`, made with its folder if it is not there, while the block runs.

    Raises: `busy`, with the process id of the holder, when another process holds it; SetupError when it cannot be
    written, or its disk knows no locks.
    """
    descriptor = _open_locked(path, busy)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if _is_at(path, descriptor):
                path.unlink()  # while it is held, so that it is removed from under nobody
        os.close(descriptor)


def _open_locked(path: Path, busy: UsageError) -> int:
    while True:
        check_held(path)
        with renamed_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor, path, busy)
            if _is_at(path, descriptor):
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has removed it between the two calls


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, path: Path, busy: UsageError) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = _name_holder(descriptor)
        raise (type(busy)(f"{busy.what} ({who})", busy.where, busy.hint) if who else busy) from None
    except OSError as error:
        raise SetupError(f"cannot lock: {(error.strerror or '').lower()}", path) from error


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a full disk holds a lock all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(describe_process()).encode(), 0)


def _name_holder(descriptor: int) -> str:
    """Return the process that has signed a lock file in words, empty where there is no signature yet."""
    try:
        said = json.loads(os.pread(descriptor, 4096, 0))
        holder = {name: str(said[name]) for name in ("host", "boot", "pid_namespace", "pid")}
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    own = describe_process()
    where = ""
    if holder["host"] != own["host"] and holder["boot"] != own["boot"]:
        where = f" on {holder['host']}"
    elif holder["pid_namespace"] != own["pid_namespace"]:
        where = " of another container"
    return plain(f"PID {holder['pid']}{where}", 120)
