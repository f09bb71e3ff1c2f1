"""The file of one film, opened where it may lie: in the dataset folder.

In: a path relative to the dataset folder. Out: the open file, or a DecodeError with a named rule.
Never: a path that leaves the folder, a wait for what is no file.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cxrssl.core.errors import DecodeError


def refuse(rule: str, detail: str = "", where: str = "") -> DecodeError:
    """Return the error of a film that is rejected by this rule."""
    return DecodeError(rule, f"the film cannot be decoded: {rule}" + (f", {detail}" if detail else ""), where)


@contextlib.contextmanager
def open_inside(path: Path, root: Path, where: str) -> Iterator[BinaryIO]:
    """Open the film at `path`, relative to `root`; `where` is the place that errors name.

    Raises: DecodeError, also for what the system refuses while the file is read.
    """
    if path.is_absolute() or ".." in path.parts:
        raise refuse("outside the dataset folder", where=where)
    try:
        real = _resolve(path, root, where)
        # Without O_NONBLOCK a named pipe would block for ever.
        with open(os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise refuse("unreadable", "not a file", where)
            yield file
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # ValueError: a path that no file can have, such as one with a zero byte.
        raise refuse("file missing", where=where) from None
    except OSError as error:
        raise refuse("unreadable", (error.strerror or "").lower(), where) from None


def _resolve(path: Path, root: Path, where: str) -> str:
    """Return where the film lies.

    A link in the dataset folder itself may lead to a folder elsewhere that does not hold the dataset folder, as `files`
    does to another disk. Other links may lead neither out of the dataset folder nor out of that one.
    """
    place, has_link = str(root), False
    for name in path.parts:
        place = f"{place}/{name}"
        has_link = has_link or os.path.islink(place)
    if not has_link:
        return place
    real, home, top = (Path(os.path.realpath(at)) for at in (place, root, root / path.parts[0]))
    is_elsewhere = top.is_dir() and not home.is_relative_to(top)
    if not (real.is_relative_to(home) or (is_elsewhere and real.is_relative_to(top))):
        raise refuse("outside the dataset folder", "a link leaves it", where)
    return str(real)
