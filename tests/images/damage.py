"""Films damaged as disks and downloads damage them, in every format that is read, and the share that is found.

In: greys. Out: files, whole or with a hole of zeros, cut short and closed, or with one bit flipped in their pixels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.uid import UID

from cxrssl.core.errors import DecodeError
from cxrssl.core.filmnote import LOOKS
from cxrssl.dicom.jpeg import read_segments
from cxrssl.images.decode import decode_letterboxed
from tests.images.dicom_films import BASELINE, EXPLICIT, JPEG_2000, JPEG_LS, RLE, make_dataset, make_film, write_film

HOLES = (64, 512, 4096)
KINDS = ("hole", "cut", "flip")
JPEGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "JPEG, own tables": {"quality": 95, "optimize": True},
    "JPEG, progressive": {"quality": 90, "progressive": True},
    "JPEG, restarts": {"quality": 85, "restart_marker_rows": 4},
    "JPEG, colour": {"quality": 90},
}
SYNTAXES = {"DICOM, plain": EXPLICIT, "DICOM, RLE": RLE, "DICOM, JPEG-LS": JPEG_LS, "DICOM, JPEG 2000": JPEG_2000}
FORMATS = (*JPEGS, "PNG", *SYNTAXES, "DICOM, JPEG baseline")


class File(NamedTuple):
    """A film's file, and the part of it that are its pixels."""

    format: str
    data: bytes
    begin: int
    end: int
    depth: int
    """Bits of its greys."""


def write_file(grey: np.ndarray, format: str) -> File:
    """Return the film in this format; DICOM films have 12 bits, but for JPEG baseline."""
    if format in JPEGS:
        image = Image.fromarray(grey).convert("RGB") if "colour" in format else Image.fromarray(grey)
        return wrap_file(save(image, "JPEG", **JPEGS[format]), format)
    if format == "PNG":
        return wrap_file(save(Image.fromarray(grey), "PNG"), format)
    if format == "DICOM, JPEG baseline":
        return File(format, *span_of_scan(save(Image.fromarray(grey), "JPEG", quality=90)), 8)
    cells = grey.astype(np.uint16) * 16 + 8
    film = make_film(cells, SYNTAXES[format])
    if format == "DICOM, plain":
        return File(format, film, film.index(cells.tobytes()), film.index(cells.tobytes()) + cells.nbytes, 12)
    at = film.rindex(b"\xe0\x7f\x10\x00") + 12
    frame = get_frame(film[at:], 0, number_of_frames=1)
    return File(format, frame, 100 if format == "DICOM, RLE" else len(frame) // 8, len(frame) - 4, 12)


def wrap_file(data: bytes, format: str) -> File:
    """Return a JPEG or PNG file as it is."""
    if format == "PNG":
        return File(format, data, data.index(b"IDAT") + 4, len(data) - 16, 8)
    return File(format, *span_of_scan(data), 8)


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def span_of_scan(data: bytes) -> tuple[bytes, int, int]:
    """Return a JPEG with the span of the entropy-coded data of one of its scans, the longest."""
    scans = [each for each in read_segments(data) if each.marker == 0xDA]
    scan = max(scans, key=lambda each: each.end - each.start)
    return data, scan.start + 4 + len(scan.body), scan.end


def spoil(file: File, kind: str, rng: np.random.Generator) -> bytes:
    """Return the bytes with a damage within the pixels; the same bytes where it would change nothing."""
    data, length = file.data, file.end - file.begin
    at = file.begin + int(rng.integers(length))
    if kind == "hole":
        size = min(int(rng.choice(HOLES)), length // 2)
        at = min(at, file.end - size)
        return data[:at] + bytes(size) + data[at + size :]
    if kind == "flip":
        mutant = bytearray(data)
        mutant[at] ^= 1 << int(rng.integers(8))
        return bytes(mutant)
    return data[:at] + (b"IEND" if file.format == "PNG" else b"\xff\xd9")


def is_found(file: File, data: bytes, shape: tuple[int, int], folder: Path) -> bool:
    """Return whether the film of these bytes is refused, or noted for its greys."""
    if file.format.startswith("DICOM") and file.format != "DICOM, plain":
        data = _wrap_frame(data, file, shape)
    (folder / "film").write_bytes(data)
    try:
        return bool(decode_letterboxed(Path("film"), folder, 64).note & LOOKS)
    except DecodeError:
        return True


def _wrap_frame(frame: bytes, file: File, shape: tuple[int, int]) -> bytes:
    from pydicom.encaps import encapsulate

    cells = np.zeros((2, 2), np.uint8 if file.depth == 8 else np.uint16)
    dataset = make_dataset(cells, Rows=shape[0], Columns=shape[1], BitsStored=file.depth)
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID({**SYNTAXES, "DICOM, JPEG baseline": BASELINE}[file.format])
    return write_film(dataset)


def iter_outcomes(
    films: Iterator[tuple[np.ndarray, File]], folder: Path, seed: int
) -> Iterator[tuple[str, str, bool, str]]:
    """Yield format, kind of damage ("" for none), whether it was found, and which film, of each film and damage."""
    for num, (grey, file) in enumerate(films):
        rng = np.random.default_rng([seed, num])
        shape = (grey.shape[0], grey.shape[1])
        yield file.format, "", is_found(file, file.data, shape, folder), f"seed {seed}, film {num}"
        for kind in KINDS:
            spoilt = spoil(file, kind, rng)
            if spoilt != file.data:
                yield file.format, kind, is_found(file, spoilt, shape, folder), f"seed {seed}, film {num}"
