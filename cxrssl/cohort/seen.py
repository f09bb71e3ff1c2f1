"""The films whose headers a cohort was made of: whether each still is the file that was read.

In: the films of a folder. Out: a list beside the published cohort. Never: the content of a cohort: the same files on
another disk make the same cohort.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from cxrssl.core.errors import DecodeError
from cxrssl.core.filestate import NO_FILE, Seen, is_settled, look_at, read_seen, write_seen
from cxrssl.core.filmfile import FilmFolder, hash_film, open_inside
from cxrssl.core.text import plain

UNREAD = Seen(NO_FILE, "")


class SeenFilms:
    """The states of films before their headers were read, for one published cohort."""

    def __init__(self, cohort: Path) -> None:
        self._path = cohort.parent / f".seen-{cohort.name}.json"

    def are_same(self, root: FilmFolder, paths: Collection[str], cohort_sha256: str) -> bool:
        """Return whether each file is the one that was read, and what could not be read still cannot."""
        seen = read_seen(self._path, cohort_sha256)
        return all(path in seen and _is_same(root, path, seen[path]) for path in paths)

    def keep(self, films: dict[str, Seen], unread: Collection[str], cohort_sha256: str) -> None:
        """Write down what `look_at_films` said; the `unread` could not be read for the moment."""
        write_seen(self._path, films | dict.fromkeys(unread, UNREAD), cohort_sha256)

    def forget(self) -> None:
        """Have every header read again."""
        self._path.unlink(missing_ok=True)


def look_at_films(root: FilmFolder, paths: Collection[str]) -> dict[str, Seen]:
    """Return the state of each film, and of one that changed just now, whose state does not settle it, the hash."""
    return {path: _look(root, path) for path in paths}


def _look(root: FilmFolder, path: str) -> Seen:
    state, at_s = look_at(root / path), time.time()
    if is_settled(state, at_s):
        return Seen(state, "")
    return Seen(NO_FILE, _hash(root, path))


def _is_same(root: FilmFolder, path: str, seen: Seen) -> bool:
    if seen.sha256:
        return _hash(root, path) == seen.sha256
    if seen != UNREAD:
        return look_at(root / path) == seen.state
    try:
        with open_inside(Path(path), root, plain(path)) as file:
            file.read(1)
    except DecodeError:
        return True
    return False


def _hash(root: FilmFolder, path: str) -> str:
    """Return the SHA-256 of a film's file, or nothing if it cannot be read: then it equals UNREAD."""
    try:
        return hash_film(Path(path), root, plain(path))
    except DecodeError:
        return ""
