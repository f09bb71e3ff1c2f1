"""Greys of DICOM films: 48 synthetic films against an exact oracle and an independent tool (goal R37)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from cxrssl.dicom import decode_grey, open_film
from cxrssl.images.decode import PIPELINE_VERSION, letterbox
from tests.images import dicom_oracle as oracle
from tests.images.dicom_films import draw_cells, make_film
from tests.images.dicom_oracle import AIR, DENSE, NUM_CASES, Case, film_of, make_case

CASES = [make_case(num) for num in range(NUM_CASES)]
GREYS_SHA256 = {3: "beae2392765bb1231c8c8b0f60004fd95556a3fc1a954c02dacb080eb6384d38"}


def decode(case: Case) -> np.ndarray:
    return decode_grey(open_film(film_of(case), "film"))


def test_table_holds_every_factor_in_every_value() -> None:
    assert {(case.is_inverse, case.is_signed) for case in CASES} == {(a, b) for a in (0, 1) for b in (0, 1)}
    assert {case.bits for case in CASES} == {8, 10, 12, 14, 16}
    pairs = {(case.modality, case.voi) for case in CASES}
    assert pairs == {(modality, voi) for modality in ("rescale", "none", "lut") for voi in oracle.VOIS}
    assert {case.padding for case in CASES} == {"none", "value", "range"}
    assert {case.shape for case in CASES} == {"", "IDENTITY", "INVERSE"}
    assert sum(case.high_bit != case.bits - 1 for case in CASES) >= 3
    assert {case.spacing for case in CASES} == {True, False}


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.num))
def test_film_equals_the_oracle_and_dense_is_bright(case: Case) -> None:
    greys = decode(case)
    np.testing.assert_array_equal(greys, oracle.greys(case))
    assert int(greys[DENSE]) > int(greys[AIR]) + 100


def test_order_of_steps_and_rounding_have_a_version() -> None:
    digest = hashlib.sha256(b"".join(decode(case).tobytes() for case in CASES)).hexdigest()
    assert digest == GREYS_SHA256.get(PIPELINE_VERSION), "greys changed: raise PIPELINE_VERSION"


@pytest.mark.skipif(shutil.which("dcmj2pnm") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.num))
def test_film_is_within_one_grey_level_of_dcmtk(case: Case, tmp_path: Path) -> None:
    """Padding is left out: dcmtk shows it as it shows other values."""
    (tmp_path / "film.dcm").write_bytes(film_of(case))
    words = ["dcmj2pnm", "-q", "+op", *dcmtk_options(case), str(tmp_path / "film.dcm"), str(tmp_path / "film.pgm")]
    subprocess.run(words, check=True, capture_output=True)
    theirs = np.asarray(Image.open(tmp_path / "film.pgm")).astype(int)
    is_shown = np.array([[not oracle.is_padding(case, v) for v in row] for row in oracle.stored_values(case).tolist()])
    assert np.abs(theirs - decode(case))[is_shown].max() <= 1


def dcmtk_options(case: Case) -> list[str]:
    """Return the view that we choose; windows that dcmtk does not find or know are given as linear ones."""
    if case.voi in ("lut", "both"):
        return ["+Wl", "1"]
    if case.voi in ("window", "several"):
        return ["+Wi", "1"]
    if case.voi == "sigmoid":
        return ["+Wi", "1", "+Wfs"]
    if case.voi == "exact":
        center, width = oracle.window_of(case)
        return ["+Ww", str(center + 0.5), str(width + 1)]
    if case.bits == 8 and not case.is_signed and case.modality == "none":
        return []
    stored = {*oracle.stored_values(case).ravel().tolist()}
    values = [float(oracle.after_modality(case, value)) for value in stored if not oracle.is_padding(case, value)]
    low, high = min(values), max(values)
    return ["+Ww", str((low + high + 1) / 2), str(high - low + 1)]


def grey_table(**tags: Any) -> list[int]:
    """Return the greys of a film whose cells are 0, 1, 2, ..."""
    bits = tags.get("BitsStored", 8)
    cells = np.arange(max(256, 2**bits)).reshape(-1, 16)
    film = make_film(cells.astype(np.uint8 if bits == 8 else np.uint16), **tags)
    return decode_grey(open_film(film, "film")).ravel().tolist()


def test_eight_bits_without_a_window_are_greys_already() -> None:
    assert grey_table() == list(range(256))
    assert grey_table(PhotometricInterpretation="MONOCHROME1") == list(range(255, -1, -1))
    assert grey_table(RescaleSlope=1, RescaleIntercept=0) == list(range(256))
    assert grey_table(WindowCenter=128, WindowWidth=256) == list(range(256))


def test_without_a_window_the_range_that_is_used_becomes_black_to_white() -> None:
    cells = np.array([[1000, 1100], [1200, 60000]], np.uint16).repeat(8, 0).repeat(8, 1)
    film = make_film(cells, BitsStored=16, PixelPaddingValue=60000)
    assert decode_grey(open_film(film, "film"))[::8, ::8].tolist() == [[0, 128], [255, 0]]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_film_that_is_all_padding_is_black(photometric: str) -> None:
    film = make_film(np.full((20, 20), 9, np.uint16), PixelPaddingValue=9, PhotometricInterpretation=photometric)
    assert not decode_grey(open_film(film, "film")).any()


@pytest.mark.parametrize(
    ("photometric", "shape", "first"),
    [
        ("MONOCHROME1", None, 255),
        ("MONOCHROME1", "INVERSE", 255),
        ("MONOCHROME1", "IDENTITY", 255),
        ("MONOCHROME1", "LIN OD", 255),
        ("MONOCHROME2", None, 0),
        ("MONOCHROME2", "INVERSE", 0),
        ("MONOCHROME2", "IDENTITY", 0),
    ],
)
def test_polarity_is_applied_once(photometric: str, shape: str | None, first: int) -> None:
    assert grey_table(PhotometricInterpretation=photometric, PresentationLUTShape=shape)[0] == first


def test_bits_above_the_high_bit_and_empty_tags_are_no_matter() -> None:
    cells = draw_cells()
    overlaid = cells | np.uint16(0xF000)
    empty: dict[str, Any] = {
        "WindowCenter": "",
        "WindowWidth": "",
        "RescaleSlope": "",
        "PixelPaddingValue": None,
        "NumberOfFrames": "",
    }
    whole, other = (decode_grey(open_film(film, "film")) for film in (make_film(cells), make_film(overlaid, **empty)))
    np.testing.assert_array_equal(whole, other)


def test_table_of_eight_bits_may_lie_in_words_or_bytes() -> None:
    entries = np.arange(255, -1, -1)
    films = []
    for data in (entries.astype("<u2").tobytes(), entries.astype(np.uint8).tobytes()):
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [256, 0, 8])
        item.add_new("LUTData", "OW", data)
        films.append(grey_table(VOILUTSequence=[item]))
    assert films[0] == films[1] == entries.tolist()


def test_resizing_eight_bits_is_within_a_grey_level_of_resizing_all_bits() -> None:
    """Why films are resized after the last step: the tables are curves, and what is shown is what is averaged."""
    cells = draw_cells(600, 500, bits=14)
    film = open_film(make_film(cells, BitsStored=14, WindowCenter=8192, WindowWidth=16384), "film")
    ours, _ = letterbox(decode_grey(film), 150)
    exact = Image.fromarray((cells.astype(np.float32)) * (255 / 16383)).resize((125, 150), Image.Resampling.BILINEAR)
    difference = np.abs(ours[:, 12:137] - np.asarray(exact))
    assert difference.max() < 1
    assert difference.mean() < 0.3
