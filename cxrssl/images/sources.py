"""The files that packed films were made of: which bytes they were, and whether they still are.

In: films' paths. Out: `sources.npz` in a pack (the SHA-256 of each film's file), and a list beside the packs of the
states in which files had these hashes, so that files that lie there as before are not read again.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import DecodeError
from cxrssl.core.filestate import NO_FILE, FileState, Seen, look_at, read_seen, write_seen
from cxrssl.core.filmfile import FilmFolder, read_film
from cxrssl.core.progress import track
from cxrssl.core.text import plain
from cxrssl.images.shard import FilmRecords

SOURCES = "sources.npz"
MAX_THREADS = 8
UNREAD = Seen(NO_FILE, "")


class Sources:
    """The films' files as they are now; one is read only if its state does not tell that its bytes are known."""

    def __init__(self, root: Path | FilmFolder, paths: Sequence[str], seen_path: Path) -> None:
        self._root, self._paths, self._seen_path = root, paths, seen_path
        self._before = read_seen(seen_path)
        self._now: dict[int, Seen] = {}
        self.faults: dict[int, str] = {}
        """Film -> the rule by which its file was refused just now."""

    @property
    def num_films(self) -> int:
        return len(self._paths)

    def look(self, rows: Sequence[int]) -> list[Seen]:
        """Return what the files of these films are now; the hash is empty where a file cannot be read."""
        unread = [row for row in rows if row not in self._now and not self._recall(row)]
        if unread:
            with track("compare films", len(unread), "films") as progress, ThreadPoolExecutor(_count_threads()) as pool:
                for row, seen in zip(unread, pool.map(self._read, unread), strict=True):
                    self._now[row] = seen
                    progress.advance()
        return [self._now[row] for row in rows]

    def are_still(self, first: int, films: FilmRecords) -> bool:
        """Return whether the files of consecutive films, packed by an interrupted call, are still what they were.

        Records that came from an index have no states: then the files are read.
        """
        hashes = [sha256.decode() for sha256 in films["sha256"].tolist()]
        for num, (state, sha256) in enumerate(zip(films["state"].tolist(), hashes, strict=True)):
            if any(state) and state[0] >= 0:
                self._before[self._paths[first + num]] = Seen(FileState(*state), sha256)
        seen = self.look(range(first, first + len(films)))
        return [file.sha256 for file in seen] == hashes

    def keep(self, films: FilmRecords) -> None:
        """Write down the states of the films' files, for the next call."""
        states, hashes = films["state"].tolist(), films["sha256"].tolist()
        seen = {
            path: Seen(FileState(*state), sha256.decode())
            for path, state, sha256 in zip(self._paths, states, hashes, strict=True)
            if sha256 and state[0] >= 0
        }
        if seen != self._before:
            write_seen(self._seen_path, seen)

    def _recall(self, row: int) -> bool:
        """Look at the file; return whether that tells which bytes it has."""
        path = self._paths[row]
        state, before = look_at(self._root / path), self._before.get(path)
        if before is not None and before.state == state != NO_FILE:
            self._now[row] = before
        return row in self._now

    def _read(self, row: int) -> Seen:
        try:
            film = read_film(Path(self._paths[row]), self._root, plain(self._paths[row]))
        except DecodeError as error:
            self.faults[row] = error.rule
            return UNREAD
        if not film.seen.sha256:
            self.faults[row] = "too large"
        return film.seen


def seen_path(pack: Path) -> Path:
    """Return where the states of the files that a pack was made of are kept; without that list every file is read."""
    return pack.parent / f".seen-{pack.name}.json"


def forget_seen(pack: Path) -> None:
    """Have every file read again by the next pack."""
    seen_path(pack).unlink(missing_ok=True)


def note_seen(pack: Path, seen: Mapping[str, Seen]) -> None:
    """Note what files are that somebody else read, path by path, for the next pack."""
    before = read_seen(seen_path(pack))
    after = before | {path: file for path, file in seen.items() if file.state != NO_FILE}
    if after != before:
        write_seen(seen_path(pack), after)


def write_sources(folder: Path, films: FilmRecords) -> None:
    """Write `sources.npz`: `file_sha256` [N] in hexadecimal digits, empty where a film's file could not be read."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, file_sha256=films["sha256"])
    write_bytes(folder / SOURCES, buffer.getvalue())


def read_sources(folder: Path, num_films: int) -> NDArray[np.bytes_]:
    """Return the SHA-256 of each film's file; all empty in a pack of an older version, which did not keep them."""
    try:
        with np.load(folder / SOURCES, allow_pickle=False) as arrays:
            hashes: NDArray[np.bytes_] = arrays["file_sha256"]
            if hashes.shape == (num_films,) and hashes.dtype.kind == "S":
                return hashes
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        pass
    return np.zeros(num_films, "S64")


def _count_threads() -> int:
    return min(MAX_THREADS, len(os.sched_getaffinity(0)))
