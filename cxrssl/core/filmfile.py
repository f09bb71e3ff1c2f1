"""The file of one film, opened where it may lie: in the dataset folder.

In: a path relative to the dataset folder. Out: the open file, or a DecodeError with a named rule.
Never: a path that leaves the folder, a wait for what is no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from cxrssl.core.errors import DecodeError, SetupError
from cxrssl.core.filestate import NO_FILE, Seen, is_settled, state_of
from cxrssl.core.text import shell_word

MAX_FILE_BYTES = 256 * 1024**2
CHUNK_BYTES = 2**20
OF_A_MOMENT = frozenset({"file missing", "unreadable"})
"""Rules that say nothing of the film: the disk may be back, or a right be granted, when it is read next."""
OUTSIDE = "outside the dataset folder"
RETRIED = OF_A_MOMENT | {OUTSIDE}
"""Rules of files that were not read, whose state therefore says nothing of what they hold."""
MANY_IN_A_ROW = 32
UNREADABLE_HINT = "is its disk mounted, and may you read it? The same command resumes; take away what stays unreadable"


@dataclass(frozen=True)
class FilmFolder:
    """A dataset folder, and the folder elsewhere that links in it may lead into."""

    root: Path
    links: Path | None = None

    def __truediv__(self, path: str | Path) -> Path:
        return self.root / path

    def __str__(self) -> str:
        return str(self.root)


class FilmFile(NamedTuple):
    """The file of a film, read once: what is decoded is what was hashed."""

    data: bytes
    """Empty, and its SHA-256 too, if the file is too large to be decoded."""
    num_bytes: int
    seen: Seen


class Outage:
    """Films in a row that could not be read; many are no fault of the films."""

    def __init__(self, root: Path | FilmFolder) -> None:
        self._root, self._num = root, 0

    def note(self, rule: str) -> None:
        """Count a film that is rejected by this rule, or with an empty one was read.

        Raises: SetupError for the last of MANY_IN_A_ROW.
        """
        self._num = self._num + 1 if rule in OF_A_MOMENT else 0
        if self._num == MANY_IN_A_ROW:
            what = f"{MANY_IN_A_ROW} films in a row cannot be read, the last: {rule}"
            raise SetupError(what, str(self._root), UNREADABLE_HINT)


def refuse(rule: str, detail: str = "", where: str = "") -> DecodeError:
    """Return the error of a film that is rejected by this rule."""
    return DecodeError(rule, f"the film cannot be decoded: {rule}" + (f", {detail}" if detail else ""), where)


@contextlib.contextmanager
def open_inside(path: Path, root: Path | FilmFolder, where: str) -> Iterator[BinaryIO]:
    """Open the film at `path`, relative to `root`; `where` is the place that errors name.

    Raises: DecodeError, also for what the system refuses while the file is read.
    """
    if path.is_absolute() or ".." in path.parts:
        raise refuse(OUTSIDE, where=where)
    try:
        real = _resolve(path, root if isinstance(root, FilmFolder) else FilmFolder(root), where)
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


def read_film(path: Path, root: Path | FilmFolder, where: str) -> FilmFile:
    """Return the bytes of the film at `path`, relative to `root`; of a file above MAX_FILE_BYTES only their number.

    Raises: DecodeError.
    """
    with open_inside(path, root, where) as file:
        state, at_s = state_of(os.fstat(file.fileno())), time.time()
        if state.num_bytes > MAX_FILE_BYTES:
            return FilmFile(b"", state.num_bytes, Seen(NO_FILE, ""))
        data = file.read(state.num_bytes)
        # A file that grows or shrinks meanwhile is read again, as is one that changed just before.
        is_sure = len(data) == state.num_bytes and is_settled(state, at_s)
        return FilmFile(data, len(data), Seen(state if is_sure else NO_FILE, hashlib.sha256(data).hexdigest()))


def hash_film(path: Path, root: Path | FilmFolder, where: str) -> str:
    """Return the SHA-256 of the film at `path`, relative to `root`, however large it is.

    Raises: DecodeError.
    """
    digest = hashlib.sha256()
    with open_inside(path, root, where) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def describe_links(root: Path, paths: Sequence[str]) -> str:
    """Return a sentence on films that are links out of the dataset folder, and the option that has them read."""
    home = os.path.realpath(root)
    inside = [path for path in paths if not os.path.isabs(path) and ".." not in Path(path).parts]
    targets = {path: os.path.realpath(root / path) for path in inside}
    targets = {path: target for path, target in targets.items() if not Path(target).is_relative_to(home)}
    if not targets:
        return ""
    folder = os.path.commonpath([os.path.dirname(target) for target in targets.values()])
    links = "1 film is a link" if len(targets) == 1 else f"{len(targets):,} films are links"
    shown = shell_word(folder) if folder != "/" else "DIR, the folder that they lead into"
    return f"{links} out of the dataset folder, which cxrssl ingest reads with --follow-links {shown}"


def _resolve(path: Path, folder: FilmFolder, where: str) -> str:
    """Return where the film lies.

    A link in the dataset folder itself may lead to a folder elsewhere that does not hold the dataset folder, as `files`
    does to another disk. Other links may lead neither out of the dataset folder nor out of that one, but into the
    folder for links.
    """
    root, place, has_link = folder.root, str(folder.root), False
    for name in path.parts:
        place = f"{place}/{name}"
        has_link = has_link or os.path.islink(place)
    if not has_link:
        return place
    real, home, top = (Path(os.path.realpath(at)) for at in (place, root, root / path.parts[0]))
    allowed = [home]
    if top.is_dir() and not home.is_relative_to(top):
        allowed.append(top)
    if folder.links is not None:
        allowed.append(Path(os.path.realpath(folder.links)))
    if not any(real.is_relative_to(one) for one in allowed):
        raise refuse(OUTSIDE, "a link leaves it", where)
    return str(real)
