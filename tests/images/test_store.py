"""ImageStore: rows of the cohort in, pixels out; damage is an error."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core import artefact
from cxrssl.core.durable import sha256_file
from cxrssl.core.errors import DataError, IntegrityError
from cxrssl.images import stamp
from cxrssl.images.pack import pack_images
from cxrssl.images.store import open_images

PARENT = Path(__file__).resolve().parents[2]


@pytest.fixture
def packed(tmp_path: Path, make_films: Any) -> Path:
    """Films 0 to 11 in shards of 5, of which film 3 and 6 are broken."""
    paths = make_films(12, broken=(3, 6))
    ids = [f"id-{i}" for i in range(12)]
    dest = tmp_path / "images/world"
    pack_images(dest, tmp_path / "data", ids, paths, size_px=32, cohort_sha256="c0", num_workers=1, shard_films=5)
    return dest


def test_rows_come_back_in_the_order_asked_for(packed: Path) -> None:
    store = open_images(packed)
    rows = np.array([11, 0, 9, 0, 5])
    films = store.read_rows(rows)
    assert films.dtype == np.uint8
    assert films.shape == (5, 32, 32)
    for film, row in zip(films, rows, strict=True):
        np.testing.assert_array_equal(film, store.read_rows([row])[0])
    assert len({film.tobytes() for film in films}) == 4
    assert store.read_rows([]).shape == (0, 32, 32)


def test_read_all_returns_the_packed_films_in_order(packed: Path) -> None:
    store = open_images(packed)
    np.testing.assert_array_equal(store.read_all(), store.read_rows([0, 1, 2, 4, 5, 7, 8, 9, 10, 11]))
    np.testing.assert_array_equal(
        store.read_all(), np.concatenate([np.load(packed / f"shard-000{k}.npy") for k in range(3)])
    )


def test_film_that_was_not_packed_is_an_error_that_names_its_row(packed: Path) -> None:
    with pytest.raises(DataError, match="2 films asked for but not packed, the first in row 6"):
        open_images(packed).read_rows([1, 6, 3])


@pytest.mark.parametrize("row", [-1, 12])
def test_row_outside_the_cohort_is_a_programming_error(packed: Path, row: int) -> None:
    with pytest.raises(AssertionError, match="rows are those of the cohort"):
        open_images(packed).read_rows([row])


@pytest.mark.parametrize("name", ["shard-0001.npy", "index.npz", "rejects.csv"])
def test_flipped_bit_is_found_when_the_files_are_verified(packed: Path, name: str) -> None:
    data = bytearray((packed / name).read_bytes())
    data[len(data) // 2] ^= 4
    (packed / name).write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=f"{name} is damaged"):
        open_images(packed)


def age(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files be old enough for their times to be trusted."""
    monkeypatch.setattr("cxrssl.core.filestate.CLOCK_STEP_S", 0.0)
    time.sleep(0.02)


def test_verified_files_are_not_hashed_again_until_one_changes(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(packed, monkeypatch)
    open_images(packed)
    hashed: list[str] = []

    def hash_file(path: Path) -> str:
        hashed.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(artefact, "sha256_file", hash_file)
    open_images(packed)
    assert hashed == []
    shard = packed / "shard-0001.npy"
    data = bytearray(shard.read_bytes())
    data[500] ^= 1
    times = shard.stat()
    shard.write_bytes(bytes(data))
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))  # what hides its traces cannot hide its ctime
    with pytest.raises(IntegrityError, match=r"shard-0001.npy is damaged"):
        open_images(packed)


def test_files_are_hashed_again_after_a_day_and_after_another_pack(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(packed, monkeypatch)
    open_images(packed)
    opened = artefact.open_artefact(packed, "images", verify=False)
    assert stamp.is_remembered(opened)
    now = time.time()
    for later_s, expected in ((stamp.MAX_AGE_S - 60, True), (stamp.MAX_AGE_S, False), (-3600, False)):
        monkeypatch.setattr(time, "time", lambda later_s=later_s: now + later_s)
        assert stamp.is_remembered(opened) == expected
    monkeypatch.setattr(time, "time", lambda: now)
    other = replace(opened, manifest={**opened.manifest, "content_sha256": "0"})
    assert not stamp.is_remembered(other)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"checked_at": "x"}', '{"checked_at": NaN}', "[" * 100_000])
def test_stamp_that_cannot_be_read_means_hashing(packed: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    age(packed, monkeypatch)
    (packed.parent / ".whole-world.json").write_text(text)
    (packed / "index.npz").write_bytes((packed / "index.npz").read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"index.npz is damaged"):
        open_images(packed)


def test_files_just_written_are_not_remembered(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second change within the clock's step would not show in their times."""
    monkeypatch.setattr("cxrssl.core.filestate.CLOCK_STEP_S", 3600.0)  # however long this test was held up
    open_images(packed)
    assert not (packed.parent / ".whole-world.json").exists()


def test_cut_or_missing_file_is_found_without_verifying(packed: Path) -> None:
    data = (packed / "shard-0001.npy").read_bytes()
    (packed / "shard-0001.npy").write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"shard-0001.npy has"):
        open_images(packed, verify=False)
    (packed / "shard-0001.npy").unlink()
    with pytest.raises(IntegrityError, match=r"shard-0001.npy is missing"):
        open_images(packed, verify=False)


@pytest.mark.parametrize("name", ["shard-0000.npy", "index.npz"])
def test_damage_that_was_not_looked_for_is_still_not_a_raw_error(packed: Path, name: str) -> None:
    size = (packed / name).stat().st_size
    (packed / name).write_bytes(b"\0" * size)
    with pytest.raises(IntegrityError, match=f"{name} cannot be read"):
        open_images(packed, verify=False).read_all()


def test_store_is_read_without_pillow() -> None:
    code = "import sys, cxrssl.images.store; sys.exit('PIL' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PARENT, check=False).returncode == 0
