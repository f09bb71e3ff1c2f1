"""Films of two packs that look the same: looked for once, and kept in the workspace as `pairs/<key>/`.

In: two packs, the folder where pairs are kept. Out: pairs of rows. Numpy only.
Never: pairs that are damaged, or of other films or another version of the search: they are looked for again.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.looks import Pairs, find_near
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.durable import hash_settings, write_bytes
from cxrssl.core.errors import FormatError, IntegrityError, SetupError, UsageError
from cxrssl.core.filmnote import Note
from cxrssl.core.lock import hold_lock
from cxrssl.core.signals import check_stop
from cxrssl.images.fingerprint import identical_pairs
from cxrssl.images.store import ImageStore

KIND, PAIRS = "pairs", "pairs.npy"
SEARCH_VERSION = 1
"""Raise it when `find_near`, `find_crops` or what they read of films finds other pairs."""
EMPTY = Note.BLACK | Note.WHITE | Note.ONE_GREY
"""Films that look like many others: they say of nobody who it is."""
WAIT_S = 0.5


class _Busy(UsageError):
    """Another process looks for the same pairs."""


def find_pairs(a: ImageStore, b: ImageStore, kept: Path | None = None, may_keep: bool = True) -> Pairs:
    """Return the pairs (row of a, row of b) that look the same, pixel by pixel or nearly; empty films are in none.

    `kept` is where pairs lie; those of these two packs are kept there if `may_keep` and the disk allows it. While
    another process looks for them, this one waits.
    """
    if b.content_sha256 < a.content_sha256:  # one artefact, whichever comes first
        second, first = find_pairs(b, a, kept, may_keep)
        return Pairs(first, second)
    if kept is None:
        return search_pairs(a, b)
    try:
        found = _read(kept, a, b)
    except FormatError:  # kept by a newer program, for itself
        return search_pairs(a, b)
    if found is not None:
        return found
    if not may_keep:
        return search_pairs(a, b)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_turn(kept, a, b))
        except SetupError:  # a workspace that is not written to, or knows no locks
            return search_pairs(a, b)
        found = _read(kept, a, b)  # by the process that this one has waited for
        if found is None:
            found = search_pairs(a, b)
            with contextlib.suppress(SetupError):
                _keep(kept, a, b, found)
    return found


def search_pairs(a: ImageStore, b: ImageStore) -> Pairs:
    """Return the same, looked for anew."""
    rows_a, rows_b = (np.flatnonzero(each.is_packed_N & (each.index.note & EMPTY == 0)) for each in (a, b))
    same_a, same_b = identical_pairs(a.index.pixel_hash[rows_a], b.index.pixel_hash[rows_b])
    near = find_near(a, rows_a, b, rows_b)
    return Pairs(np.r_[rows_a[same_a], near.first], np.r_[rows_b[same_b], near.second])


def is_of_packs(folder: Path, packs_sha256: frozenset[str]) -> bool:
    """Return whether kept pairs are of films that some of these packs hold, and of this version of the search."""
    try:
        settings = open_artefact(folder, KIND, verify=False).settings
    except FormatError:
        return True  # of a newer program
    except IntegrityError:
        return False
    return settings.get("version") == SEARCH_VERSION and {settings.get("first"), settings.get("second")} <= packs_sha256


def _settings_of(a: ImageStore, b: ImageStore) -> dict[str, object]:
    return {"version": SEARCH_VERSION, "first": a.content_sha256, "second": b.content_sha256}


def _folder_of(kept: Path, a: ImageStore, b: ImageStore) -> Path:
    return kept / hash_settings(_settings_of(a, b))[:16]


@contextlib.contextmanager
def _turn(kept: Path, a: ImageStore, b: ImageStore) -> Iterator[None]:
    """Hold the right to look for these pairs, once no other process has it. Raises: SetupError."""
    lock = kept / f".{_folder_of(kept, a, b).name}.lock"
    names = f"{a.path.name} and {b.path.name}"
    is_told = False
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(hold_lock(lock, _Busy(f"another process compares the films of {names}", lock)))
                break
            except _Busy as busy:
                if not is_told:
                    sys.stderr.write(f"cxrssl: note: {busy.what}: this one waits for it\n")
                is_told = True
                check_stop()
                time.sleep(WAIT_S)
        yield


def _keep(kept: Path, a: ImageStore, b: ImageStore, found: Pairs) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.stack(found).astype(np.int64), allow_pickle=False)
    with publish(_folder_of(kept, a, b), KIND, _settings_of(a, b)) as folder:
        write_bytes(folder / PAIRS, buffer.getvalue())


def _read(kept: Path, a: ImageStore, b: ImageStore) -> Pairs | None:
    """Return the kept pairs of these packs; None when there are none, or they cannot be trusted.

    Raises: FormatError for those of a newer program.
    """
    folder = _folder_of(kept, a, b)
    try:
        if open_artefact(folder, KIND).settings != _settings_of(a, b):
            return None
        rows: NDArray[np.int64] = np.load(folder / PAIRS, allow_pickle=False)
    except FormatError:
        raise
    except (IntegrityError, OSError, ValueError, EOFError):
        return None
    is_whole = rows.dtype == np.int64 and rows.ndim == 2 and len(rows) == 2
    if not is_whole or not all(_are_packed(each, own) for each, own in zip(rows, (a, b), strict=True)):
        return None
    return Pairs(rows[0], rows[1])


def _are_packed(rows: NDArray[np.int64], images: ImageStore) -> bool:
    is_row = (rows >= 0) & (rows < len(images.is_packed_N))
    return bool(is_row.all() and images.is_packed_N[rows].all())
