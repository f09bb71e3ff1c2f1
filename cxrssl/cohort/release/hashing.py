"""The files of a listing, read in threads: size, time and SHA-256 of each, or the fault that prevents reading it.

Never: a file outside the folder, a link that leads out of it, a wait for a pipe.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from cxrssl.cohort.release.listing import Fault, Listing
from cxrssl.core.progress import track

CHUNK_BYTES = 1 << 20
BATCH = 1024
Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""


class _Refused(Exception):
    """A path that must not be opened; the message gives the reason."""


def stamp_files(listing: Listing) -> tuple[dict[str, Stamp], list[Fault]]:
    """Return the stamp of each listed file, or a fault where it cannot be read."""
    stamps, faults = {}, []
    resolve = _make_resolver(listing.folder)
    for name in listing.sums:
        stamp, fault = _stamp_file(resolve, name)
        if fault is not None:
            faults.append(fault)
        elif stamp is not None:
            stamps[name] = stamp
    return stamps, faults


def hash_files(
    folder: Path, todo: Sequence[tuple[int, str]], num_files: int, num_workers: int
) -> Iterator[tuple[int, str, Fault | tuple[Stamp, str]]]:
    """Yield number, path, and a fault or the stamp and SHA-256 of each file, in order."""
    resolve, stop = _make_resolver(folder), threading.Event()
    pool = ThreadPoolExecutor(num_workers)
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


def _stamp_file(resolve: Callable[[str], str], name: str) -> tuple[Stamp | None, Fault | None]:
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
    return (status.st_size, status.st_mtime_ns), None


def _make_resolver(folder: Path) -> Callable[[str], str]:
    """Return a function from a path in `folder` to the real path; it raises _Refused for a path that leads outside."""
    inside = os.path.realpath(folder)

    def check(real: str, what: str) -> str:
        if real != inside and not real.startswith(inside.rstrip("/") + "/"):
            raise _Refused(f"{what} leads out of the folder")
        return real

    @functools.lru_cache(maxsize=4096)
    def real_parent(parent: str) -> str:
        return os.path.realpath(os.path.join(inside, parent))

    def resolve(name: str) -> str:
        parent, _, last = name.rpartition("/")
        path = os.path.join(check(real_parent(parent), "a link to a folder"), last)
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return path
        return check(os.path.realpath(path), "a link")

    return resolve


def _hash_file(resolve: Callable[[str], str], name: str, stop: threading.Event) -> Fault | tuple[Stamp, str]:
    digest = hashlib.sha256()
    try:
        # The flags prevent following a link created in the meantime, and waiting for a pipe.
        descriptor = os.open(resolve(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
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
    return (status.st_size, status.st_mtime_ns), digest.hexdigest()
