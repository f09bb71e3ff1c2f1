"""One shard: a `.npy` file uint8 [n, S, S] of the packed films of a fixed range, and a record of each film.

While it is made, each film has a slot in a temp file; when all are done, the rejected films' holes are closed and the
file is renamed. The part file beside it is written after it: a shard is whole when its part is there.
"""

from __future__ import annotations

import io
import os
from io import RawIOBase
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.durable import write_bytes
from cxrssl.images.fingerprint import PIXEL_HASH_DTYPE

PACKED = -1
FILM_DTYPE = np.dtype(
    [
        ("rule", "<i2"),
        ("box", "<i2", (4,)),
        ("source_px", "<i4", (2,)),
        ("pixel_hash", PIXEL_HASH_DTYPE),
        ("phash", "<u8"),
        ("note", "<u2"),
        ("sha256", "S64"),
        ("state", "<i8", (4,)),
    ]
)
"""rule: index in DECODE_RULES, or PACKED; box: (top, left, height, width); source_px: rows and columns; the hashes of
`images.fingerprint`; note: the bits of `core.filmnote`; sha256: of the file's bytes, empty if they were not read;
state: `core.filestate.FileState` of the file."""
FilmRecords: TypeAlias = NDArray[np.void]
HEADER_BYTES = 128
SPARE_FRAC = 0.05


def packed_bytes(num_films: int, size_px: int) -> int:
    """Return the free bytes that packing needs: one a pixel, and some to spare."""
    return round(num_films * size_px**2 * (1 + SPARE_FRAC))


def shard_name(shard: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{shard:04d}.npy"


def part_name(shard: int) -> str:
    """Return the file name of the records of the shard's films; the file exists only while the artefact is built."""
    return f".part-{shard:04d}.npy"


def create_shard(folder: Path, shard: int) -> Path:
    """Create the empty temp file of a shard and return its path.

    Workers open it and never create it: if another process has removed it, they fail instead of leaving holes.
    """
    temp = folder / f".{shard_name(shard)}.{os.getpid()}.tmp"
    temp.touch(exist_ok=False)
    return temp


def film_offset(slot: int, size_px: int) -> int:
    """Return where the film of this slot begins in the file."""
    return HEADER_BYTES + slot * size_px * size_px


def write_films(file: RawIOBase, slot: int, pixels_BSS: NDArray[np.uint8]) -> None:
    """Write films into the slots from `slot` on. A full disk may accept a part before it refuses the rest."""
    file.seek(film_offset(slot, pixels_BSS.shape[-1]))
    left = pixels_BSS.data.cast("B")
    while left:
        left = left[file.write(left) :]


def finish_shard(temp: Path, folder: Path, shard: int, films: FilmRecords, size_px: int) -> None:
    """Close the holes, write the header, force the file to the disk, give it its name, and write its part."""
    slots = np.flatnonzero(films["rule"] == PACKED)
    with open(temp, "r+b") as file:
        for row, slot in enumerate(slots):
            if row != slot:
                file.seek(film_offset(int(slot), size_px))
                pixels = file.read(size_px * size_px)
                assert len(pixels) == size_px * size_px, "a packed film was written whole"
                file.seek(film_offset(row, size_px))
                file.write(pixels)
        file.seek(0)
        file.write(_header(len(slots), size_px))
        file.truncate(film_offset(len(slots), size_px))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temp, folder / shard_name(shard))
    buffer = io.BytesIO()
    np.save(buffer, films, allow_pickle=False)
    # This also forces the renamed shard's directory entry to the disk.
    write_bytes(folder / part_name(shard), buffer.getvalue())


def read_part(folder: Path, shard: int, num_films: int, size_px: int) -> FilmRecords | None:
    """Return the records of the shard's films from an earlier call, or None when the shard is not whole."""
    try:
        films = np.load(folder / part_name(shard), allow_pickle=False)
        num_bytes = (folder / shard_name(shard)).stat().st_size
    except (FileNotFoundError, ValueError, EOFError):
        return None
    if films.dtype != FILM_DTYPE or films.shape != (num_films,):
        return None
    return films if num_bytes == film_offset(int((films["rule"] == PACKED).sum()), size_px) else None


def _header(num_rows: int, size_px: int) -> bytes:
    buffer = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (num_rows, size_px, size_px)}
    np.lib.format.write_array_header_1_0(buffer, described)
    assert len(buffer.getvalue()) == HEADER_BYTES, "NumPy pads a .npy header to 128 bytes"
    return buffer.getvalue()
