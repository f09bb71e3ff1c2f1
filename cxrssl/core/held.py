"""Folders that a command writes into, held open: one that is moved or removed meanwhile is noticed, not made again.

In: a folder when the command begins, and each place that it is about to write. Out: nothing, or one sentence that says
where the folder is now.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cxrssl.core.errors import SetupError

_held: dict[Path, int] = {}


def hold_folder(path: Path) -> None:
    """Hold the folder that lies at `path` now, until it is released."""
    release_folder(path)
    _held[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def release_folder(path: Path) -> None:
    """Let go of a folder, if it is held."""
    if (descriptor := _held.pop(path, None)) is not None:
        os.close(descriptor)


def release_all() -> None:
    """Let go of all folders, as at the end of a command."""
    for path in list(_held):
        release_folder(path)


@contextlib.contextmanager
def folder_held(path: Path) -> Iterator[None]:
    """Hold the folder that lies at `path` now while the block runs."""
    hold_folder(path)
    try:
        yield
    finally:
        release_folder(path)


def check_held(path: Path) -> None:
    """Raise SetupError if a held folder that `path` lies in is not at its place any more."""
    for folder in (path, *path.parents):
        if (descriptor := _held.get(folder)) is not None and not _is_at(folder, descriptor):
            raise _describe(folder, descriptor)


def explain_lost(error: BaseException) -> SetupError | None:
    """Return what to say of a file of a held folder that was there when the command looked, and then was not."""
    if not isinstance(error, FileNotFoundError) or not isinstance(error.filename, str | Path):
        return None
    path = Path(error.filename)
    if not any(folder in _held for folder in path.parents):
        return None
    what = f"{path.name} was removed while this command ran"
    return SetupError(what, path, "run the same command again; what is missing then is named")


def _is_at(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(folder), os.fstat(descriptor))
    except OSError:
        return False


def _describe(folder: Path, descriptor: int) -> SetupError:
    now = os.readlink(f"/proc/self/fd/{descriptor}")
    if os.fstat(descriptor).st_nlink == 0 or now == str(folder):
        what = f"the folder {folder.name} was removed while this command ran"
        return SetupError(what, folder, "bring it back from a copy, or run the same command again to start over")
    what = f"the folder {folder.name} was moved to {now} while this command ran"
    return SetupError(what, folder, "move it back, or run the same command on the workspace at its new place")
