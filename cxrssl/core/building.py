"""Folders that are being built: whose they are, when they are left over, and how one takes its final place.

In: the final place of an artefact. Out: a folder beside it that one process owns, exchanged for it in one rename.
Never: a folder that two processes fill, one removed while its owner may still fill it, or a version that replaces
another than the one that its process has seen.

A name is `.building-<final name>~<use>~<host>~<boot>~<random>`. Its owner holds a lock on the folder, which ends with
the process. The kernel that wrote the boot id into the name knows of that lock, whatever container or namespace asks;
of a folder that another machine made, or this one before its last start, only the age tells.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from cxrssl.core.durable import kill_point
from cxrssl.core.errors import UsageError
from cxrssl.core.manifest import MANIFEST
from cxrssl.core.process import boot_mark, owner_mark

AGE_S = 86_400.0
"""A folder of another machine in which nothing has changed for so long is left over."""
NEW, OLD, REMOVED = "new", "old", "removed"
PREFIX = ".building-"
RENAME_EXCHANGE = 2
AT_CWD = -100
Identity = tuple[int, int, int] | None


class Taken(UsageError):
    """Another process has published in this place since this one has looked."""


class Building:
    """A folder that this process alone fills, and the place that it is for."""

    def __init__(self, dest: Path, resume_key: str = "") -> None:
        """Make the folder, or take over one of the same key that its owner has left."""
        self.dest = dest
        self.is_kept = bool(resume_key)
        """Whether it stays for a process that resumes, should this one come to no end."""
        with _turn(dest.parent):
            _restore_old(dest)
        self._before = _identity(dest)
        self.path, self._lock = (resume_key and _take_over(dest, resume_key)) or _make(dest, resume_key or NEW)
        _remove_left(dest)

    def close(self) -> None:
        """Let go of the folder; it is removed unless it is kept for a process that resumes."""
        if not self.is_kept:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def put_in_place(self) -> None:
        """Rename the folder to its final name, exchanging it atomically for an older version, which is then removed.

        Raises: Taken when another process has published there in the meantime; nothing was changed then.
        """
        with _turn(self.dest.parent), self._out_of_resume():
            if _identity(self.dest) != self._before:
                raise _taken(self.dest)
            if self._before is None:
                self._rename()
            elif not self._exchange():
                self._rename_by_way_of_old()

    @contextlib.contextmanager
    def _out_of_resume(self) -> Iterator[None]:
        """Take the folder out of its resumable name: after an exchange another version would be found under it."""
        resumable, was_kept = self.path, self.is_kept
        if was_kept:
            self.path = _name(self.dest, NEW)
            os.rename(resumable, self.path)
            self.is_kept = False
        try:
            yield
        except OSError:
            if was_kept:
                os.rename(self.path, resumable)
                self.path, self.is_kept = resumable, True
            raise

    def _rename(self) -> None:
        try:
            os.rename(self.path, self.dest)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise _taken(self.dest) from None
            raise

    def _exchange(self) -> bool:
        """Return whether the file system could exchange the two folders."""
        if not _exchange(self.path, self.dest):
            return False
        if _identity(self.path) != self._before:  # published by another machine between the look and the exchange
            _exchange(self.path, self.dest)
            raise _taken(self.dest)
        shutil.rmtree(self.path, ignore_errors=True)
        return True

    def _rename_by_way_of_old(self) -> None:
        aside = _name(self.dest, OLD)
        with _put_aside(self.dest, aside):
            kill_point("publish-between-renames")
            try:
                self._rename()
            except OSError:
                os.rename(aside, self.dest)
                raise
            finally:
                if self.dest.exists():
                    shutil.rmtree(aside, ignore_errors=True)


def remove_published(dest: Path) -> None:
    """Remove a published folder; it is never seen by halves: its name goes first."""
    going = _name(dest, REMOVED)
    with _put_aside(dest, going):
        kill_point("remove-after-rename")
        shutil.rmtree(going, ignore_errors=True)


def is_put_aside(dest: Path) -> bool:
    """Return whether the published version of a place is kept beside it, where the next process puts it back from."""
    return not dest.exists() and bool(_beside(dest, f"{OLD}~"))


def is_owned(path: Path) -> bool:
    """Return whether a process holds a folder that is being built, or a published version waits in it."""
    lock, _ = _try_lock(path)
    if lock is not None:
        os.close(lock)
    return lock is None or _is_wanted_back(path)


def remove_left(path: Path) -> None:
    """Remove a folder that a killed process has left, unless it `is_owned` by now."""
    lock, _ = _try_lock(path)
    if lock is None:
        return
    if not _is_wanted_back(path):
        shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _is_wanted_back(path: Path) -> bool:
    name, _, rest = path.name.removeprefix(PREFIX).partition("~")
    return rest.startswith(f"{OLD}~") and is_put_aside(path.parent / name)


@contextlib.contextmanager
def _put_aside(dest: Path, aside: Path) -> Iterator[None]:
    """Rename a published folder, locked so that it is not taken for a left-over while the block runs."""
    lock, _ = _try_lock(dest)
    try:
        os.rename(dest, aside)
        yield
    finally:
        if lock is not None:
            os.close(lock)


def _taken(dest: Path) -> Taken:
    what = f"another process has published {dest.name} meanwhile; its version stays, and that of this process is gone"
    return Taken(what, dest, "run the same command again")


def _name(dest: Path, use: str) -> Path:
    return dest.parent / f"{_prefix(dest)}{use}~{owner_mark()}"


def _prefix(dest: Path) -> str:
    """The tilde is in no artefact's name, so that `mimic` never takes what is being built for `mimic-small`."""
    return f"{PREFIX}{dest.name}~"


def _beside(dest: Path, use: str = "") -> list[Path]:
    return list(dest.parent.glob(glob.escape(_prefix(dest) + use) + "*"))


def _make(dest: Path, use: str) -> tuple[Path, int]:
    while True:
        path = _name(dest, use)
        os.mkdir(path)
        lock, _ = _try_lock(path)
        if lock is not None:
            return path, lock
        # Between the two calls another process took the folder for a left-over.


def _take_over(dest: Path, use: str) -> tuple[Path, int] | None:
    """Take a folder of this use whose owner is gone: renamed, so that an owner that is not would notice it."""
    for path in sorted(_beside(dest, f"{use}~"), key=_changed_at, reverse=True):
        lock, _ = _try_lock(path)
        if lock is None:
            continue
        own = _name(dest, use)
        try:
            os.rename(path, own)
        except FileNotFoundError:
            os.close(lock)
        else:
            return own, lock
    return None


def _remove_left(dest: Path) -> None:
    for path in _beside(dest):
        lock, is_known = _try_lock(path)
        if lock is None:
            continue
        if (is_known and _is_ours(path)) or time.time() - _changed_at(path) > AGE_S:
            shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _restore_old(dest: Path) -> None:
    """Give back the older version that a killed process has put aside, where folders cannot be exchanged."""
    for aside in _beside(dest, OLD):
        if not dest.exists():
            with contextlib.suppress(FileNotFoundError):
                os.rename(aside, dest)


def _is_ours(path: Path) -> bool:
    """Return whether this kernel, since it was started, would know of a lock that the folder's owner holds."""
    return path.name.split("~")[-2:-1] == [boot_mark()]


def _try_lock(path: Path) -> tuple[int | None, bool]:
    """Return a descriptor of a folder, None when another process holds its lock or it is gone; and whether that lock
    is held now, which a file system that knows no locks does not allow."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None, False
    is_locked = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None, False
    except OSError:
        is_locked = False
    with contextlib.suppress(OSError):
        if os.path.samestat(os.stat(path), os.fstat(descriptor)):
            return descriptor, is_locked
    os.close(descriptor)
    return None, False


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Let one process of this machine at a time rename in `folder`: for the moment that it takes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # a file system that knows no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity(folder: Path) -> Identity:
    """Return what two versions do not share: the number of a removed folder is soon given to another."""
    try:
        status = folder.stat()
    except OSError:
        return None
    with contextlib.suppress(OSError):
        return status.st_dev, status.st_ino, (folder / MANIFEST).stat().st_mtime_ns
    return status.st_dev, status.st_ino, 0


def _changed_at(folder: Path) -> float:
    """Return when a folder, or a file directly in it, was last changed; Unix seconds."""
    times = [0.0]
    for path in [folder, *folder.glob("*")]:
        with contextlib.suppress(OSError):
            times.append(path.lstat().st_mtime)
    return max(times)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, or return False where the system cannot."""
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return exchange is not None and exchange(AT_CWD, os.fsencode(one), AT_CWD, os.fsencode(other), RENAME_EXCHANGE) == 0
