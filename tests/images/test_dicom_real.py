"""Real DICOM radiographs: each row of their manifest, decoded or refused by name, dense tissue bright."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core.errors import DecodeError
from cxrssl.dicom import SYNTAXES, DicomFilm, decode_grey, open_film, read_header
from cxrssl.images.decode import decode_film, decode_letterboxed

DATA = Path(__file__).resolve().parents[3] / "shared/data/dicom_radiographs"
MANIFEST = DATA / "manifest.csv"
ROWS = list(csv.DictReader(MANIFEST.read_text().splitlines())) if MANIFEST.exists() else []
BASELINE_FILM = "chest/rsna_pneumonia_16d7f894.dcm"
"""JPEG baseline: the standard lets decoders differ by a grey level, and the manifest was written by another one."""
EQUAL = [
    ("chest/RG1_UNCR.dcm", "chest/RG1_J2KR.dcm"),
    ("other_body_part/RG2_RLE.dcm", "other_body_part/RG2_JLSL.dcm", "other_body_part/RG2_JPLL.dcm"),
    ("other_body_part/RG3_RLE.dcm", "other_body_part/RG3_JLSL.dcm", "other_body_part/RG3_J2KR.dcm"),
]
# Places as (row, column) fractions: the heart's shadow or a bone, and lung or air.
CHEST = ((0.6, 0.5), (0.4, 0.3))
PLACES = {"RG2": ((0.57, 0.45), (0.85, 0.4)), "RG3": ((0.5, 0.51), (0.5, 0.3))}

pytestmark = pytest.mark.skipif(not ROWS, reason="real DICOM films are not here")


def ids(row: dict[str, Any]) -> str:
    return Path(row["file"]).stem


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_row_of_the_manifest_is_reproduced(row: dict[str, Any]) -> None:
    data = (DATA / row["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == row["sha256"]
    film = open_film(data, row["file"])
    facts = [film.modality, film.transfer_syntax_uid, film.photometric_interpretation]
    sizes = [film.bits_allocated, film.bits_stored, int(film.is_signed), film.rows, film.columns]
    names = ["modality", "transfer_syntax_uid", "photometric"]
    names += ["bits_allocated", "bits_stored", "pixel_repr", "rows", "columns"]
    assert [*facts, *map(str, sizes)] == [row[name] for name in names]
    if row["raw_pixel_range"].startswith("undecoded"):
        with pytest.raises(DecodeError) as caught:
            film.read_cells()
        assert caught.value.rule == "damaged"
        return
    stored = stored_values(film)
    if row["file"] == BASELINE_FILM:
        assert (stored.min(), stored.max()) == (0, 254)
        return
    assert row["raw_pixel_range"] == f"{stored.min()}..{stored.max()}"
    assert row["raw_pixel_sha16"] == hashlib.sha256(stored.tobytes()).hexdigest()[:16]


def stored_values(film: DicomFilm) -> np.ndarray:
    """Return the stored numbers in the type that pydicom gives them."""
    cells = film.read_cells()
    if film.is_signed:
        spare = 8 * cells.dtype.itemsize - film.bits_stored
        return (cells << spare).view(f"i{cells.dtype.itemsize}") >> spare
    return cells


@pytest.mark.parametrize("names", EQUAL, ids=lambda names: names[0][-12:-4])
def test_lossless_variants_have_equal_greys(names: tuple[str, ...]) -> None:
    first, *others = (decode_film(Path(name), DATA) for name in names)
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("row", [row for row in ROWS if row["modality"] in ("CR", "DX")], ids=ids)
def test_dense_tissue_is_bright_for_either_photometric_interpretation(row: dict[str, str]) -> None:
    try:
        film = decode_letterboxed(Path(row["file"]), DATA, 320)
    except DecodeError as error:
        assert (row["file"], error.rule) == ("other_body_part/RG2_JPLY.dcm", "damaged")
        return
    dense, air = (grey_near(film.pixels_SS, film.box, place) for place in PLACES.get(ids(row)[:3], CHEST))
    assert dense > air + 30
    header = read_header(Path(row["file"]), DATA)
    assert film.source_px == (header.rows, header.columns)


def grey_near(pixels_SS: np.ndarray, box: tuple[int, int, int, int], place: tuple[float, float]) -> float:
    top, left, height, width = box
    row, column = top + round(place[0] * height), left + round(place[1] * width)
    return float(pixels_SS[row - 6 : row + 7, column - 6 : column + 7].mean())


def test_lossless_jpeg_of_any_predictor_is_read() -> None:
    """The first predictor is one of them: the same codestream under the other transfer syntax."""
    data = (DATA / "other_body_part/RG2_JPLL.dcm").read_bytes()
    other = open_film(data.replace(b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.57", 1), "film")
    assert SYNTAXES[other.transfer_syntax_uid][0] == "JPEG lossless"
    np.testing.assert_array_equal(other.read_cells(), open_film(data, "film").read_cells())


def test_lossy_variants_are_within_a_grey_level_of_the_lossless_one() -> None:
    whole, *lossy = (decode_film(Path(f"chest/RG1_{name}.dcm"), DATA).astype(int) for name in ("UNCR", "J2KI", "JLSN"))
    for other in lossy:
        assert np.abs(whole - other).mean() < 1
        assert np.abs(whole - other).max() <= 3


@pytest.mark.parametrize("name", ["lut/mlut_18.dcm", "lut/vlut_04.dcm"])
def test_test_patterns_are_no_radiographs_but_their_tables_can_be_applied(name: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_film(Path(name), DATA)
    assert caught.value.rule == "not CR or DX"
    greys = decode_grey(open_film((DATA / name).read_bytes(), name))
    assert greys.shape == (512, 512)
    assert len(np.unique(greys)) > 30


@pytest.mark.parametrize("name", ["RG2_JPLL", "RG2_JPLY_fixed", "RG2_JLSL", "RG2_RLE", "RG3_J2KR"])
def test_hole_in_the_pixels_of_any_codec_is_damage(name: str) -> None:
    """Of the lossless and the 12-bit JPEG, their decoder says nothing."""
    data = (DATA / f"other_body_part/{name}.dcm").read_bytes()
    open_film(data, "film").read_cells()
    for size, share in ((64, 0.4), (512, 0.5), (4096, 0.6)):
        at = int(share * len(data))
        with pytest.raises(DecodeError) as caught:
            open_film(data[:at] + bytes(size) + data[at + size :], "film").read_cells()
        assert caught.value.rule in ("damaged", "truncated")
