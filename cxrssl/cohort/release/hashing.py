"""The files of a listing, read in threads: state and SHA-256 of each, or the fault that prevents reading it.

Never: a file outside the folder, a link that leads out of it, a wait for a pipe.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cxrssl.cohort.release.listing import Fault, Listing
from cxrssl.cohort.walk import spell
from cxrssl.core.filestate import FileState, state_of
from cxrssl.core.filmfile import FilmFolder
from cxrssl.core.progress import track

CHUNK_BYTES = 1 << 20
BATCH = 1024
MAX_WORKERS = 8


class Hashed(NamedTuple):
    """A file that was read."""

    state: FileState
    """Before its first byte was read."""
    at_s: float
    """When that was."""
    sha256: str


class _Refused(Exception):
    """A path that must not be opened; the message gives the reason."""


def look_at_files(listing: Listing, links: Path | None = None) -> tuple[dict[str, FileState], list[Fault]]:
    """Return the state of each listed file, or a fault where it cannot be read."""
    states, faults = {}, []
    resolve = _make_resolver(FilmFolder(listing.folder, links))
    for name in listing.sums:
        state, fault = _look_at_file(resolve, name)
        if fault is not None:
            faults.append(fault)
        elif state is not None:
            states[name] = state
    return states, faults


def hash_files(
    folder: FilmFolder, todo: Sequence[tuple[int, str]], num_files: int, num_workers: int
) -> Iterator[tuple[int, str, Fault | Hashed]]:
    """Yield number, path, and a fault or the state and SHA-256 of each file, in order; 0 workers are one a core."""
    resolve, stop = _make_resolver(folder), threading.Event()
    pool = ThreadPoolExecutor(num_workers or min(os.cpu_count() or 1, MAX_WORKERS))
    rest = iter(todo)
    try:
        with track("check files", num_files, "files", done=num_files - len(todo)) as progress:
            while batch := list(islice(rest, BATCH)):
                outcomes = pool.map(lambda item: _hash_file(resolve, item[1], stop), batch)
                for (number, name), outcome in zip(batch, outcomes, strict=True):
                    yield number, name, outcome
                    progress.advance()
    finally:
        stop.set()  # on Ctrl-C, stop reading a large file
        pool.shutdown(cancel_futures=True)


def _look_at_file(resolve: Callable[[str], str], name: str) -> tuple[FileState | None, Fault | None]:
    try:
        status = os.stat(resolve(name))
    except _Refused as error:
        return None, Fault("refused", name, str(error))
    except (FileNotFoundError, NotADirectoryError):
        return None, Fault("missing", name)
    except OSError as error:
        return None, Fault("unreadable", name, (error.strerror or str(error)).lower())
    if not stat.S_ISREG(status.st_mode):
        return None, Fault("unreadable", name, "not a file")
    return state_of(status), None


def _make_resolver(folder: FilmFolder) -> Callable[[str], str]:
    """Return a function from a path in `folder` to the real path; it raises _Refused for a path that leads outside."""
    inside = os.path.realpath(folder.root)
    allowed = [inside] if folder.links is None else [inside, os.path.realpath(folder.links)]

    def check(real: str, what: str) -> str:
        if not any(real == place or real.startswith(place.rstrip("/") + "/") for place in allowed):
            raise _Refused(f"{what} leads out of the folder; if that is meant: --follow-links DIR")
        return real

    @functools.lru_cache(maxsize=4096)
    def real_parent(parent: str) -> str:
        return os.path.realpath(find_spelling(inside, parent))

    def resolve(name: str) -> str:
        parent, _, last = name.rpartition("/")
        path = find_spelling(check(real_parent(parent), "a link to a folder"), last)
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return path
        return check(os.path.realpath(path), "a link")

    return resolve


def find_spelling(folder: str, name: str) -> str:
    """Return the path of `name` in `folder` as the disk spells it, should that differ in the composition of accents."""
    path = os.path.join(folder, name)
    if name.isascii() or os.path.lexists(path):
        return path
    for part in name.split("/"):
        try:
            entries = os.listdir(folder)
        except OSError:
            return path
        folder = os.path.join(folder, part if part in entries else spell([part], entries).get(part, part))
    return folder


def _hash_file(resolve: Callable[[str], str], name: str, stop: threading.Event) -> Fault | Hashed:
    digest = hashlib.sha256()
    try:
        # The flags prevent following a link created in the meantime, and waiting for a pipe.
        descriptor = os.open(resolve(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            status, at_s = os.fstat(descriptor), time.time()
            if not stat.S_ISREG(status.st_mode):
                return Fault("unreadable", name, "not a file")
            while (chunk := file.read(CHUNK_BYTES)) and not stop.is_set():
                digest.update(chunk)
    except _Refused as error:
        return Fault("refused", name, str(error))
    except FileNotFoundError:
        return Fault("missing", name)
    except OSError as error:
        return Fault("unreadable", name, (error.strerror or str(error)).lower())
    return Hashed(state_of(status), at_s, digest.hexdigest())
