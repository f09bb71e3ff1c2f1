"""Hostile films: whatever the bytes and the names are, a film or a named reject, soon and in little memory."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from cxrssl.core.errors import DecodeError
from cxrssl.images.decode import DECODE_RULES, MAX_PIXELS, decode_film
from tests.scale import scaled

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("CXRSSL_SEED", "20240501"))
NUM_BOMBS = 50


def run_hostile(task: str, folder: Path, count: int) -> dict[str, Any]:
    words = [sys.executable, str(Path(__file__).with_name("hostile.py")), task, str(folder), str(SEED), str(count)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"seed {SEED}: exit {done.returncode}\n{done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.fuzz
def test_mutated_films_are_films_or_named_rejects_within_a_second_and_a_gibibyte(tmp_path: Path) -> None:
    count = scaled(500, 5000)
    found = run_hostile("mutants", tmp_path, count)
    outcomes = found["outcomes"]
    assert sum(outcomes.values()) == count
    assert set(outcomes) <= {*DECODE_RULES, "packed"}
    assert {"packed", "truncated", "damaged", "too large", "too small"} <= set(outcomes)
    assert not found["slow"], f"seed {SEED}: {found}"


@pytest.mark.fuzz
def test_no_name_opens_a_file_outside_the_dataset_folder(tmp_path: Path) -> None:
    count = scaled(500, 5000)
    found = run_hostile("names", tmp_path, count)
    assert found["outside"] == [], f"seed {SEED}"
    assert sum(found["outcomes"].values()) == count
    assert {"outside the dataset folder", "file missing", "unreadable", "decoded"} <= set(found["outcomes"])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_hundred_bombs_are_refused_from_their_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    rng = np.random.default_rng(SEED)
    path = tmp_path / "bomb"
    Image.new("L", (32, 32)).save(path, kind)
    data = path.read_bytes()

    def load(self: object) -> None:
        raise AssertionError("pixels were loaded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    longest = 65_500 if kind == "JPEG" else 2**31 - 1
    for _ in range(NUM_BOMBS):
        rows = int(np.exp(rng.uniform(np.log(MAX_PIXELS // 65_500 + 1), np.log(longest))))
        columns = min(longest, MAX_PIXELS // rows + 1 + int(rng.integers(1000)))
        path.write_bytes(with_size(data, kind, rows, columns))
        with pytest.raises(DecodeError) as caught:
            decode_film(Path("bomb"), tmp_path)
        assert caught.value.rule == "too large", f"seed {SEED}: {rows} x {columns}: {caught.value}"


def with_size(data: bytes, kind: str, rows: int, columns: int) -> bytes:
    bomb = bytearray(data)
    if kind == "PNG":
        bomb[16:24] = struct.pack(">II", columns, rows)
        bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    else:
        frame = bomb.index(b"\xff\xc0")
        bomb[frame + 5 : frame + 9] = struct.pack(">HH", rows, columns)
    return bytes(bomb)
