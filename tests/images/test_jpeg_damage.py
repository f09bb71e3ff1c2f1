"""JPEG streams with holes, early ends and flipped bits: what a lenient decoder only warns of is a reject."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrssl.core.errors import DecodeError
from cxrssl.dicom.jpeg import HOLE, Colour, check_stream, decode_jpeg, read_segments
from cxrssl.images.decode import decode_film, decode_letterboxed
from tests.images.conftest import draw_grey
from tests.images.dicom_films import BASELINE, wrap_codestream

ROWS, COLUMNS = 160, 144
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {"quality": 95},
    "tables of its own": {"quality": 90, "optimize": True},
    "progressive": {"quality": 90, "progressive": True},
    "restarts": {"quality": 90, "restart_marker_rows": 1},
}


def draw_film() -> np.ndarray:
    """Grain between margins of black and white, as of a film with a collimated field."""
    film = draw_grey(ROWS, COLUMNS)
    film[:, :24], film[:, -24:] = 0, 255
    return film


def write_jpeg(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def grain_of(data: bytes) -> range:
    """Return a third of the largest scan, in its middle."""
    scan = max((each for each in read_segments(data) if each.marker == 0xDA), key=lambda each: each.end - each.start)
    length = scan.end - scan.start
    return range(scan.start + length // 3, scan.start + 2 * length // 3)


def refusal_of(data: bytes, folder: Path) -> str:
    """Return the rule by which a film is refused as a file of its own, at full and at small size, and as DICOM."""
    rules = set()
    (folder / "film.jpg").write_bytes(data)
    (folder / "film.dcm").write_bytes(wrap_codestream(data, BASELINE, Rows=ROWS, Columns=COLUMNS))
    for name in ("film.jpg", "film.dcm"):
        for decode in (lambda path: decode_film(path, folder), lambda path: decode_letterboxed(path, folder, 20)):
            try:
                decode(Path(name))
                rules.add("")
            except DecodeError as error:
                assert error.where == name
                rules.add(error.rule)
    assert len(rules) == 1, rules
    return rules.pop()


@pytest.mark.parametrize("kind", KINDS)
def test_hole_of_zeros_and_early_end_are_damage(kind: str, tmp_path: Path) -> None:
    data = write_jpeg(Image.fromarray(draw_film()), **KINDS[kind])
    assert refusal_of(data, tmp_path) == ""
    for at in grain_of(data)[:: len(grain_of(data)) // 12]:
        for size in (16, 64, 512):
            assert refusal_of(data[:at] + bytes(size) + data[at + size :], tmp_path) == "damaged", (at, size)
        assert refusal_of(data[:at] + b"\xff\xd9", tmp_path) == "damaged", at


@pytest.mark.parametrize("kind", KINDS)
def test_missing_and_repeated_pieces_are_damage(kind: str, tmp_path: Path) -> None:
    data = write_jpeg(Image.fromarray(draw_film()), **KINDS[kind])
    at = grain_of(data)[0]
    assert refusal_of(data[:at] + data[at + 200 :], tmp_path) == "damaged"
    assert refusal_of(data[: at + 200] + data[at:], tmp_path) == "damaged"


def test_black_margin_under_tables_of_its_own_is_a_run_of_zeros_and_no_hole(tmp_path: Path) -> None:
    film = np.zeros((ROWS, COLUMNS), np.uint8)
    film[:8, :8] = draw_grey(8, 8)
    data = write_jpeg(Image.fromarray(film), optimize=True)
    assert HOLE in data[data.index(b"\xff\xda") :]
    assert refusal_of(data, tmp_path) == ""


@pytest.mark.parametrize("side", [8, 500, 8000])
def test_header_that_declares_another_size_than_its_data_have_is_damage(side: int, tmp_path: Path) -> None:
    data = bytearray(write_jpeg(Image.fromarray(draw_grey(64, 64))))
    frame = data.index(b"\xff\xc0")
    for at in (frame + 5, frame + 7):
        declared = bytes(data[:at]) + struct.pack(">H", side) + bytes(data[at + 2 :])
        (tmp_path / "film.jpg").write_bytes(declared)
        with pytest.raises(DecodeError) as caught:
            decode_film(Path("film.jpg"), tmp_path)
        assert caught.value.rule == ("too small" if side == 8 else "damaged")


@pytest.mark.parametrize(("marker", "at"), [(b"\xff\xdb", 8), (b"\xff\xc4", 24)])
def test_impossible_tables_are_damage(marker: bytes, at: int) -> None:
    data = write_jpeg(Image.fromarray(draw_film()))
    place = data.index(marker) + at
    with pytest.raises(ValueError, match=r"quantisation step of 0|names a symbol twice"):
        check_stream(data[:place] + bytes(3) + data[place + 3 :])


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_whole_films_have_pillows_pixels_at_every_scale(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(draw_grey(301, 203)).convert(mode)
    colour: Colour = "GRAY" if mode == "L" else "RGB"
    (tmp_path / "film.jpg").write_bytes(write_jpeg(image, quality=92))
    with Image.open(tmp_path / "film.jpg") as theirs:
        whole = np.asarray(theirs if mode == "L" else theirs.convert("RGB").convert("L"))
    np.testing.assert_array_equal(decode_film(Path("film.jpg"), tmp_path), whole)
    if mode != "CMYK":
        for scale in (2, 4, 8):
            with Image.open(tmp_path / "film.jpg") as theirs:
                theirs.draft(None, (203 // scale, 301 // scale))
                small = np.asarray(theirs)
            pixels = decode_jpeg((tmp_path / "film.jpg").read_bytes(), colour, small.shape[:2])
            np.testing.assert_array_equal(pixels, small)


def test_unknown_revision_of_the_metadata_is_no_damage_and_hides_none(tmp_path: Path) -> None:
    data = write_jpeg(Image.fromarray(draw_film()))
    strange = re.sub(rb"JFIF\0\x01", b"JFIF\0\x09", data, count=1)
    assert strange != data
    assert refusal_of(strange, tmp_path) == ""
    at = grain_of(strange)[0]
    assert refusal_of(strange[:at] + b"\xff\xd9", tmp_path) == "damaged"
