"""The films of a pack in cohort order: `index.npz` (where each is) and `rejects.csv` (why some are missing).

Stdlib and numpy only.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import IntegrityError
from cxrssl.core.filmnote import count_notes, say_notes
from cxrssl.core.text import csv_text, from_csv_text, plain
from cxrssl.images.shard import PACKED, FilmRecords

INDEX = "index.npz"
REJECTS, NOTED = "rejects.csv", "noted.csv"
NOT_PACKED = -1


class Index(NamedTuple):
    """The arrays of `index.npz`, under the same names."""

    image_id: NDArray[np.str_]
    shard: NDArray[np.int32]
    """NOT_PACKED for a rejected film."""
    row: NDArray[np.int32]
    """Row in the shard; NOT_PACKED for a rejected film."""
    box_N4: NDArray[np.int16]
    """(top, left, height, width); zeros for a rejected film."""
    source_px_N2: NDArray[np.int32]
    """Rows and columns of the file; zeros for a rejected film."""
    pixel_hash: NDArray[np.bytes_]
    """`fingerprint.hash_pixels` of the film as it is packed; empty for a rejected film."""
    phash: NDArray[np.uint64]
    """`fingerprint.perceptual_hash`; 0 for a rejected film."""
    note: NDArray[np.uint16]
    """The bits of `core.filmnote.Note`; 0 for a rejected film."""


class Reject(NamedTuple):
    """A film that is not packed, and the one of DECODE_RULES that it breaks."""

    image_id: str
    path: str
    rule: str


def make_index(image_ids: Sequence[str], films: FilmRecords, shard_films: int) -> Index:
    """Return the index of films of which shard k holds the packed ones among `shard_films` consecutive ones."""
    is_packed = films["rule"] == PACKED
    shard = np.arange(len(films), dtype=np.int32) // shard_films
    row = np.empty(len(films), np.int32)
    for start in range(0, len(films), shard_films):
        row[start : start + shard_films] = np.cumsum(is_packed[start : start + shard_films]) - 1
    shard[~is_packed] = row[~is_packed] = NOT_PACKED
    learnt = (films[name].copy() for name in ("box", "source_px", "pixel_hash", "phash", "note"))
    return Index(np.array(image_ids, np.str_), shard, row, *learnt)


def write_index(folder: Path, index: Index) -> None:
    """Write `index.npz`; NumPy dates its members 1980, so equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **index._asdict())
    write_bytes(folder / INDEX, buffer.getvalue())


def read_index(folder: Path) -> Index:
    """Return the index of a pack, checked for shape.

    Raises: IntegrityError.
    """
    path = folder / INDEX
    try:
        with np.load(path, allow_pickle=False) as arrays:
            index = Index(**{name: arrays[name] for name in Index._fields})
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{INDEX} cannot be read: {plain(error, 120)}", path, "run cxrssl ingest again") from None
    num = len(index.image_id)
    if [array.shape for array in index] != [(num,), (num,), (num,), (num, 4), (num, 2), (num,), (num,), (num,)]:
        raise IntegrityError(f"{INDEX} has arrays of unequal length", path)
    return index


def read_notes(folder: Path) -> dict[str, int]:
    """Return note in words -> packed films that have it.

    Raises: IntegrityError.
    """
    return count_notes(read_index(folder).note.tolist())


def write_rejects(folder: Path, rejects: Sequence[Reject]) -> None:
    """Write `rejects.csv`, in cohort order, without control characters and formulas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Reject._fields)
    writer.writerows([csv_text(str(field)) for field in reject] for reject in rejects)
    write_bytes(folder / REJECTS, text.getvalue().encode())


def write_notes(folder: Path, index: Index, paths: Sequence[str]) -> None:
    """Write `noted.csv`: the packed films about which something is noted, and what, in cohort order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_id", "path", "notes"))
    for row in np.flatnonzero(index.note).tolist():
        cells = (index.image_id[row], paths[row], say_notes(int(index.note[row])))
        writer.writerow([csv_text(str(cell)) for cell in cells])
    write_bytes(folder / NOTED, text.getvalue().encode())


def read_rejects(folder: Path) -> list[Reject]:
    """Return the rejected films, in cohort order.

    Raises: IntegrityError.
    """
    path = folder / REJECTS
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
            # Older versions had two columns more.
            if tuple(header[: len(Reject._fields)]) != Reject._fields:
                raise ValueError("its columns are not " + ", ".join(Reject._fields))
            return [Reject(from_csv_text(row[0]), from_csv_text(row[1]), row[2]) for row in rows]
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise IntegrityError(f"{REJECTS} cannot be read: {plain(error, 120)}", path) from None
