"""What is refused, and by which rule (goals R18, R36, R38): from the header, before a decoder is asked."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.pixels.utils import compress
from pydicom.uid import UID

from cxrssl import dicom
from cxrssl.core.errors import DecodeError, SetupError
from cxrssl.dicom import SYNTAXES, check_codecs, decode_grey, find_codecs, open_film, pixels, read_header
from cxrssl.images.decode import DECODE_RULES, MAX_PIXELS, decode_film
from tests.images.dicom_films import (
    BASELINE,
    CAPTURE,
    EXPLICIT,
    EXTENDED,
    IMPLICIT,
    JPEG_2000,
    JPEG_LS,
    RLE,
    draw_cells,
    make_dataset,
    make_film,
    wrap_codestream,
    write_film,
)

SEED = int(os.environ.get("CXRSSL_SEED", "20240501"))
MAX_RULES = 12
BIG_ENDIAN, HTJ2K, MPEG4 = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.102"


def rule_of(data: bytes, folder: Path) -> str:
    """Return the rule of the refusal, or "" where the film is decoded to the shape that its header declares."""
    (folder / "film").write_bytes(data)
    try:
        film = decode_film(Path("film"), folder)
    except DecodeError as error:
        assert error.rule in DECODE_RULES
        assert error.where == "film"
        assert error.what.startswith(f"the film cannot be decoded: {error.rule}")
        return error.rule
    header = read_header(Path("film"), folder)
    assert film.shape == (header.rows, header.columns)
    return ""


def test_rules_of_dicom_are_at_most_twelve() -> None:
    assert len(DECODE_RULES) <= MAX_RULES


@pytest.mark.parametrize(
    ("tags", "rule"),
    [
        ({}, ""),
        ({"Modality": "CR", "SOPClassUID": CAPTURE}, ""),
        ({"Modality": "OT", "SOPClassUID": CAPTURE}, "not CR or DX"),
        ({"Modality": "CT"}, "not CR or DX"),
        ({"Modality": None}, ""),  # the dataset decides
        ({"Rows": None}, "damaged"),
        ({"Columns": 0}, "damaged"),
        ({"Rows": 41}, "truncated"),
        ({"Rows": 39}, "damaged"),
        ({"Rows": 4}, "too small"),
        ({"Rows": 9000, "Columns": 9000}, "too large"),
        ({"NumberOfFrames": 1}, ""),
        ({"NumberOfFrames": 2, "Rows": 20}, "unsupported pixel format"),
        ({"NumberOfFrames": 0}, ""),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "unsupported pixel format"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "unsupported pixel format"),
        ({"PhotometricInterpretation": None}, "unsupported pixel format"),
        ({"BitsAllocated": 32}, "unsupported pixel format"),
        ({"BitsAllocated": None}, "damaged"),
        ({"BitsStored": 17, "HighBit": 16}, "unsupported pixel format"),
        ({"HighBit": 10}, "unsupported pixel format"),
        ({"RescaleSlope": 0}, "damaged"),
        ({"WindowCenter": 5, "WindowWidth": 0}, ""),
        ({"WindowCenter": 5, "WindowWidth": 0.5}, ""),
        ({"WindowCenter": 5, "WindowWidth": 0.5, "VOILUTFunction": "LINEAR_EXACT"}, ""),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "unsupported pixel format"),
    ],
)
def test_header_that_is_no_radiographs_is_refused_by_its_rule(tags: dict[str, Any], rule: str, tmp_path: Path) -> None:
    assert rule_of(make_film(draw_cells(), **tags), tmp_path) == rule


@pytest.mark.parametrize("syntax", [HTJ2K, MPEG4])
def test_other_transfer_syntaxes_are_refused(syntax: str, tmp_path: Path) -> None:
    film = wrap_codestream(codestreams()[JPEG_2000], syntax, Rows=40, Columns=48)
    assert rule_of(film, tmp_path) == "unsupported transfer syntax"


def test_big_endian_film_is_refused(tmp_path: Path) -> None:
    dataset = make_dataset(draw_cells())
    dataset.file_meta.TransferSyntaxUID = UID(BIG_ENDIAN)
    assert rule_of(write_film(dataset), tmp_path) == "unsupported transfer syntax"


def test_film_without_a_transfer_syntax_is_refused(tmp_path: Path) -> None:
    element = b"\x02\x00\x10\x00UI\x14\x00" + EXPLICIT.encode() + b"\0"
    film = make_film(draw_cells())
    assert element in film
    assert rule_of(film.replace(element, b""), tmp_path) == "damaged"


def test_deflated_file_is_never_inflated(tmp_path: Path) -> None:
    """A megabyte of it would become a gigabyte."""
    head = make_film(draw_cells()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    head = head.replace(b"UI\x14\x00" + b"1.2.840.10008.1.2.1.99", b"UI\x16\x00" + b"1.2.840.10008.1.2.1.99")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = head[: head.index(b".1.99") + 5] + deflate.compress(bytes(64 * 2**20)) + deflate.flush()
    (tmp_path / "bomb").write_bytes(bomb)
    tracemalloc.start()
    for read in (decode_film, read_header):
        with pytest.raises(DecodeError) as caught:
            read(Path("bomb"), tmp_path)
        assert caught.value.rule == "unsupported transfer syntax"
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, RLE, JPEG_LS, JPEG_2000])
def test_every_lossless_syntax_gives_the_cells_that_were_written(syntax: str) -> None:
    for bits in (8, 12, 16):
        for signed in (0, 1):
            cells = draw_cells(bits=bits)
            if syntax == IMPLICIT:
                dataset = make_dataset(cells, BitsStored=bits, PixelRepresentation=signed)
                dataset.file_meta.TransferSyntaxUID = UID(IMPLICIT)
                film = write_film(dataset)
            else:
                if signed:
                    half = 2 ** (bits - 1)
                    cells = (cells.astype(np.int64) - half).astype(np.int8 if bits == 8 else np.int16)
                    cells = cells.view(np.uint8 if bits == 8 else np.uint16)
                film = make_film(cells, syntax, BitsStored=bits, PixelRepresentation=signed)
            mask = 2**bits - 1
            np.testing.assert_array_equal(open_film(film, "x").read_cells() & mask, cells & mask)


@pytest.mark.parametrize("signed", [0, 1])
def test_codestream_of_more_bits_than_are_stored_is_clipped_or_refused(signed: int) -> None:
    """A lossy codec may go beyond what is stored; where there is a sign, its place would be a guess."""
    cells = draw_cells(bits=12)
    dataset = make_dataset(cells)
    compress(dataset, JPEG_LS, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 10, 9, signed
    film = open_film(write_film(dataset), "film")
    if signed:
        with pytest.raises(DecodeError, match="12 bits a pixel for 10"):
            film.read_cells()
    else:
        np.testing.assert_array_equal(film.read_cells(), np.minimum(cells, 1023))


def test_baseline_jpeg_has_the_greys_of_the_same_jpeg_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(draw_cells(bits=8)).save(buffer, "JPEG", quality=90)
    (tmp_path / "film.jpg").write_bytes(buffer.getvalue())
    film = wrap_codestream(buffer.getvalue(), BASELINE, Rows=40, Columns=48)
    np.testing.assert_array_equal(decode_grey(open_film(film, "x")), decode_film(Path("film.jpg"), tmp_path))


def codestreams() -> dict[str, bytes]:
    """Return a codestream of 40 x 48 pixels a syntax."""
    buffer = io.BytesIO()
    Image.fromarray(draw_cells(bits=8)).save(buffer, "JPEG")
    found = {BASELINE: buffer.getvalue()}
    for syntax, start in ((JPEG_LS, b"\xff\xd8\xff"), (JPEG_2000, b"\xff\x4f\xff\x51")):
        film = make_film(draw_cells(bits=8), syntax)
        found[syntax] = film[film.index(start) :]
    return found


@pytest.mark.parametrize("syntax", [BASELINE, JPEG_LS, JPEG_2000])
@pytest.mark.parametrize(("rows", "columns"), [(48, 40), (40, 47), (16, 120)])
def test_codestream_of_another_size_is_refused(syntax: str, rows: int, columns: int, tmp_path: Path) -> None:
    film = wrap_codestream(codestreams()[syntax], syntax, Rows=rows, Columns=columns)
    assert rule_of(film, tmp_path) == "damaged"
    assert rule_of(wrap_codestream(codestreams()[syntax], syntax, Rows=40, Columns=48), tmp_path) == ""


def test_colour_codestream_under_a_grey_header_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(draw_cells(bits=8)).convert("RGB").save(buffer, "JPEG")
    assert rule_of(wrap_codestream(buffer.getvalue(), BASELINE, Rows=40, Columns=48), tmp_path) == (
        "unsupported pixel format"
    )


def test_bombs_are_refused_before_their_pixels_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: object) -> None:
        raise AssertionError("pixels were asked for")

    rng = np.random.default_rng(SEED)
    monkeypatch.setattr(pixels.DicomFilm, "read_cells", read)
    for num in range(100):
        rows = int(np.exp(rng.uniform(np.log(1000), np.log(65535))))
        columns = min(65535, MAX_PIXELS // rows + 1 + int(rng.integers(1000)))
        syntax = (EXPLICIT, RLE, JPEG_LS, JPEG_2000)[num % 4]
        film = make_film(draw_cells(), syntax)
        for tag, value in ((b"\x28\x00\x10\x00US\x02\x00", rows), (b"\x28\x00\x11\x00US\x02\x00", columns)):
            at = film.index(tag) + len(tag)
            film = film[:at] + struct.pack("<H", value) + film[at + 2 :]
        assert rule_of(film, tmp_path) == "too large", f"seed {SEED}: {rows} x {columns}"


@pytest.mark.parametrize("syntax", [JPEG_LS, JPEG_2000, BASELINE])
def test_codestream_that_declares_more_than_its_header_reaches_no_codec(
    syntax: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = bytearray(codestreams()[syntax])
    if syntax == JPEG_2000:
        struct.pack_into(">2I", stream, 8, 2**31 - 1, 2**31 - 1)
    else:
        at = max(stream.find(b"\xff\xc0"), stream.find(b"\xff\xf7"))
        struct.pack_into(">2H", stream, at + 5, 65535, 65535)
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.as_buffer", None)
    assert rule_of(wrap_codestream(bytes(stream), syntax, Rows=40, Columns=48), tmp_path) == "damaged"


def test_length_fields_ask_for_no_memory(tmp_path: Path) -> None:
    film = make_film(draw_cells(), PatientID="7", RescaleSlope=2)
    tracemalloc.start()
    for at in range(132, len(film) - 8, 2):
        if film[at + 4 : at + 6] in (b"OW", b"SQ", b"UT", b"UN"):
            grown = film[: at + 8] + struct.pack("<I", 0xFFFFFFF0) + film[at + 12 :]
            assert rule_of(grown, tmp_path) in ("truncated", "damaged", "")
    unknown = film[:132] + b"\x02\x00\x01\x00OB\0\0" + struct.pack("<I", 0xFFFFFFF0) + film[132:]
    assert rule_of(unknown, tmp_path) in ("truncated", "damaged")
    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("is_defined", [False, True])
@pytest.mark.parametrize("keyword", [b"\x28\x00\x00\x30", b"\x08\x00\x40\x11"])
def test_deep_sequences_are_refused_soon(keyword: bytes, is_defined: bool, tmp_path: Path) -> None:
    film = make_film(draw_cells())
    depth = 20_000
    if is_defined:
        nested = b""
        for _ in range(2_000):
            inner = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(nested)) + nested
            nested = keyword + b"SQ\0\0" + struct.pack("<I", len(inner)) + inner
    else:
        nested = (keyword + b"SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * depth
    at = film.index(b"\x28\x00\x02\x00US") if keyword.startswith(b"\x28") else film.index(b"\x08\x00\x60\x00CS")
    deep = film[:at] + nested + film[at:]
    started = time.process_time()
    assert rule_of(deep, tmp_path) in ("damaged", "truncated", "")
    assert time.process_time() - started < 1


def test_cut_films_are_refused_at_every_place(tmp_path: Path) -> None:
    for syntax in (EXPLICIT, RLE, JPEG_LS, JPEG_2000):
        film = make_film(draw_cells(), syntax)
        for end in range(0, len(film) - 8, 97):
            assert rule_of(film[:end], tmp_path), f"{syntax}, cut at {end}"
        assert rule_of(film[:-200], tmp_path) == "truncated"


def test_supported_syntaxes_can_be_decoded_here() -> None:
    assert set(find_codecs().values()) == {""}
    check_codecs([*SYNTAXES, "1.2.3"])
    assert "pyjpegls " in dicom.codec_versions()


def test_missing_codec_is_an_error_of_the_machine_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(draw_cells(), JPEG_LS)
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", ())
    with pytest.raises(SetupError, match="no codec for DICOM films in JPEG extended, RLE") as caught:
        check_codecs([EXTENDED, RLE, EXPLICIT])
    assert caught.value.hint == "install pylibjpeg-libjpeg, pylibjpeg-rle"
    with pytest.raises(SetupError, match="JPEG-LS lossless"):
        rule_of(film, tmp_path)
    check_codecs([EXPLICIT, IMPLICIT])
