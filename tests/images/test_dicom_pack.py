"""Packing DICOM films: what a decoder in C does to its process ends no pack, and nothing is decoded in this process."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core.errors import SetupError
from cxrssl.images import worker
from cxrssl.images.decode import decode_letterboxed
from cxrssl.images.pack import PackSummary, pack_images
from cxrssl.images.store import open_images
from tests.images.dicom_films import EXPLICIT, RLE, draw_cells, make_film

CODEC = """
import os, signal, time
__version__ = "99.0"
encode_pixel_data = pack_bits = unpack_bits = None
def decode_pixel_data(src, version=1, **options):
    kind = src[64]
    if kind == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == 2:
        left_s, _ = signal.getitimer(signal.ITIMER_PROF)
        assert left_s > 0, "no limit is set"
        signal.setitimer(signal.ITIMER_PROF, left_s / 1000)
        while True: pass
    if kind == 3:
        held = [bytearray(2**28) for _ in range(8)]
    return bytearray(bytes([kind, 1]) * (options["rows"] * options["columns"]))
"""
"""A film that hangs cuts the limit it finds to a thousandth, so that no load lets another film reach it."""
GOOD, CRASH, HANG, GREED = 0, 1, 2, 3


def write_films(root: Path, kinds: list[int], syntax: str = RLE) -> list[str]:
    """Write a film for each kind; those in RLE are read by the codec above."""
    root.mkdir()
    names = [f"film-{num:02d}" for num in range(len(kinds))]
    for num, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        film = make_film(draw_cells(20 + num, 30), syntax)
        if syntax == RLE:
            at = film.index(b"\x02\0\0\0" + (64).to_bytes(4, "little"))
            film = film[: at + 64] + bytes([kind]) + film[at + 65 :]
        (root / name).write_bytes(film)
    return names


def plant_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have worker processes find a codec for RLE that crashes, hangs or eats memory when it is told to."""
    package = tmp_path / "codecs/rle"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(CODEC)
    (package / "utils.py").write_text("from rle import *")
    monkeypatch.syspath_prepend(str(tmp_path / "codecs"))


def call_pack(tmp_path: Path, paths: list[str], **changes: Any) -> PackSummary:
    ids = [f"id-{num}" for num in range(len(paths))]
    options: dict[str, Any] = {"size_px": 32, "cohort_sha256": "c0", "num_workers": 2, **changes}
    return pack_images(tmp_path / "ws/images/world", tmp_path / "data", ids, paths, **options)


def test_film_that_ends_its_decoder_is_rejected_and_the_others_are_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And few as they are, they are not decoded in this process."""
    paths = write_films(tmp_path / "data", [GOOD, CRASH, GOOD, GOOD, GREED, HANG, *[GOOD] * 14])
    plant_codec(tmp_path, monkeypatch)
    summary = call_pack(tmp_path, paths, num_workers=1)
    expected = [("film-01", worker.DIED), ("film-04", "damaged"), ("film-05", worker.DIED)]
    assert [reject[1:3] for reject in summary.rejects] == expected
    assert summary.num_packed == 17
    store = open_images(tmp_path / "ws/images/world")
    assert store.source_px_N2[store.is_packed_N].tolist() == [[20 + n, 30] for n in range(20) if n not in (1, 4, 5)]
    with open(tmp_path / "ws/images/world/rejects.csv", newline="") as file:
        assert [(row["path"], row["rule"]) for row in csv.DictReader(file)] == expected
    assert call_pack(tmp_path, paths).was_current


def test_worker_that_is_killed_from_outside_blames_no_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_films(tmp_path / "data", [GOOD] * 3, EXPLICIT)
    with monkeypatch.context() as patch:
        patch.setenv("CXRSSL_KILL_AT", "pack-film:2")
        with pytest.raises(SetupError, match="a worker process died; 1 film in hand: row 1"):
            call_pack(tmp_path, paths)
    assert call_pack(tmp_path, paths).num_packed == 3


def test_missing_codec_ends_the_pack_and_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_films(tmp_path / "data", [GOOD] * 3)
    plant_codec(tmp_path, monkeypatch)
    (tmp_path / "codecs/rle/__init__.py").write_text(CODEC.replace("99.0", "0.1"))
    with pytest.raises(SetupError, match="no codec for DICOM films in RLE") as caught:
        call_pack(tmp_path, paths)
    assert caught.value.hint == "install pylibjpeg-rle"


def test_packed_films_are_the_decoded_ones_for_any_number_of_workers(tmp_path: Path) -> None:
    paths = write_films(tmp_path / "data", [GOOD] * 20, EXPLICIT)
    call_pack(tmp_path, paths, num_workers=1)
    store = open_images(tmp_path / "ws/images/world")
    for num, path in enumerate(paths):
        film = decode_letterboxed(Path(path), tmp_path / "data", 32)
        np.testing.assert_array_equal(store.read_rows([num])[0], film.pixels_SS)
