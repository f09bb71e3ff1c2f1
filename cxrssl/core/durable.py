"""Files that are whole or absent: written beside their place, fsynced, renamed; and the hashes that distinguish them.

In: bytes or JSON. Out: a file, or SetupError. Never: success when a write failed, or a file that is half there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrssl.core.errors import SetupError
from cxrssl.core.held import check_held
from cxrssl.core.process import owner_mark

# A crash test sets "name:count": the process kills itself when it passes kill point `name` for the count-th time.
_KILL_AT = os.environ.get("CXRSSL_KILL_AT", "")
_passed: dict[str, int] = {}


def kill_point(name: str) -> None:
    """Do nothing, unless a crash test armed this point: then die as by `kill -9`."""
    if not _KILL_AT:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if f"{name}:{_passed[name]}" == _KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that it is either absent or whole: sibling temp file, fsync, rename."""
    temp = path.with_name(f".{path.name}.{owner_mark()}.tmp")
    with renamed_os_errors(path):
        check_held(path)
        try:
            _write_through(temp, data)
            kill_point("write-before-rename")
            os.replace(temp, path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
        fsync_path(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, atomically; no line ends it, so that no cut leaves it readable."""
    write_bytes(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode())


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`: a full disk takes a part first and says why only when it is asked again."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def fsync_path(path: Path) -> None:
    """Force a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def renamed_os_errors(where: Path) -> Iterator[None]:
    """Turn an operating-system error of a write into a SetupError that names the path."""
    try:
        yield
    except OSError as error:
        check_held(where)
        place = error.filename or where
        reason = error.strerror or str(error)
        hint = "choose another folder with --workspace, or free some space"
        raise SetupError(f"cannot write: {reason.lower()}", place, hint) from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_settings(settings: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def find_leftovers(folder: Path) -> list[Path]:
    """Return what killed processes left in `folder`: files and artefacts that were being written or removed.

    Only who knows that no process writes there may call them left over.
    """
    return sorted(path for pattern in (".building-*", ".*.tmp") for path in folder.glob(pattern))


def remove_leftover(path: Path) -> None:
    """Remove one of those, as far as the permissions allow."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _write_through(path: Path, data: bytes | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        write_all(descriptor, data)
        kill_point("write-before-fsync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
