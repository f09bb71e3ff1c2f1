"""Fingerprints: equal pixels, equal looks, and all pairs that have them, against brute force."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrssl.images import fingerprint
from cxrssl.images.decode import letterbox
from cxrssl.images.fingerprint import NEAR_BITS, hash_pixels, identical_pairs, near_pairs, perceptual_hash
from tests.scale import scaled

SIZE_PX = 64


def draw_film(seed: int, height: int = 300, width: int = 260) -> np.ndarray:
    """Random smooth shapes, as different from one another as films are."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def hash_of(film: np.ndarray, size_px: int = SIZE_PX) -> np.uint64:
    square, box = letterbox(film, size_px)
    return np.uint64(perceptual_hash(square[None], np.array([box], np.int16))[0])


def distance(a: np.uint64, b: np.uint64) -> int:
    return int(np.bitwise_count(a ^ b))


def test_hash_equals_the_definition_written_out() -> None:
    """64 waves of frequency 1 to 8 each way, over 32 x 32 averages, against their median; the first bit is highest."""
    film, _ = letterbox(draw_film(3, 128, 128), 64)
    reduced = film.reshape(32, 2, 32, 2).mean((1, 3))
    bits = []
    for down in range(1, 9):
        for across in range(1, 9):
            wave = np.outer(*(np.cos(np.pi * f * (2 * np.arange(32) + 1) / 64) for f in (down, across)))
            bits.append((wave * reduced).sum())
    is_strong = np.array(bits) > np.median(bits)
    assert int(perceptual_hash(film[None])[0]) == int("".join("01"[int(bit)] for bit in is_strong), 2)


def test_blocks_of_unequal_length_are_averaged_by_their_own_pixels() -> None:
    film = np.random.default_rng(0).integers(0, 256, (75, 41), dtype=np.uint8)
    rows, columns = (np.arange(33) * side // 32 for side in film.shape)
    for i, j in np.ndindex(32, 32):
        block = film[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].astype(int)
        assert fingerprint._reduce(film)[i, j] == (block.sum() * 16 + block.size // 2) // block.size
    assert fingerprint._reduce(np.full((1, 1), 9, np.uint8)).tolist() == [[144] * 32] * 32


def test_hash_hardly_changes_with_size_contrast_and_compression(tmp_path: Path) -> None:
    for seed in range(8):
        film = draw_film(seed)
        Image.fromarray(film).resize((900, 1040), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=40)
        again = np.asarray(Image.open(tmp_path / "a.jpg"))
        darker = (film * 0.7 + 20).astype(np.uint8)
        for other in (again, darker):
            assert distance(hash_of(film), hash_of(other)) <= NEAR_BITS
        assert distance(hash_of(film, 160), hash_of(film, 320)) <= NEAR_BITS
        assert distance(hash_of(film), hash_of(draw_film(seed + 100))) > 10


def test_hash_does_not_see_the_padding() -> None:
    """The waves are of the valid box: a wide square hashes like the same film in a narrow one."""
    film, _ = letterbox(draw_film(1, 64, 64), 64)
    wide = np.zeros((96, 96), np.uint8)
    wide[10:74, 20:84] = film
    assert perceptual_hash(wide[None], np.array([[10, 20, 64, 64]], np.int16))[0] == perceptual_hash(film[None])[0]


def test_hashes_of_a_batch_are_those_of_its_films() -> None:
    films = np.stack([letterbox(draw_film(seed, 64, 64), 64)[0] for seed in range(5)])
    assert perceptual_hash(films).tolist() == [perceptual_hash(film[None])[0] for film in films]
    assert perceptual_hash(films[:0]).shape == (0,)
    assert perceptual_hash(np.zeros((1, 64, 64), np.uint8)).tolist() == [0]


def test_pixel_hash_changes_with_one_grey_level() -> None:
    film = letterbox(draw_film(0), SIZE_PX)[0]
    changed = film.copy()
    changed[5, 5] ^= 1
    assert len(hash_pixels(film)) == 32
    assert hash_pixels(film) == hash_pixels(film.copy()) != hash_pixels(changed)


def test_identical_pairs_are_all_pairs_with_equal_hashes_and_none_without_a_hash() -> None:
    a = np.array([b"x", b"", b"y", b"x", b"z", b"x"], "S32")
    b = np.array([b"", b"x", b"q", b"z", b"x"], "S32")
    assert pairs(identical_pairs(a, b)) == [(0, 1), (0, 4), (3, 1), (3, 4), (4, 3), (5, 1), (5, 4)]
    assert pairs(identical_pairs(a)) == [(0, 3), (0, 5), (3, 5)]
    assert pairs(identical_pairs(a[:0], b)) == pairs(identical_pairs(a, b[:0])) == []


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(scaled(3, 40)))
def test_near_pairs_equal_brute_force(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "BLOCK_PAIRS", 50)
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2**64, 300, dtype=np.uint64)
    b = rng.integers(0, 2**64, 200, dtype=np.uint64)
    for row in range(150):  # near ones at every distance from 0 to 14, some of them many times
        bits = rng.choice(64, row % 15, replace=False).astype(np.uint64)
        b[row] = a[row % 40] ^ np.bitwise_or.reduce(np.uint64(1) << bits, initial=np.uint64(0))
    for max_bits in range(11):
        found = near_pairs(a, b, max_bits)
        expected = np.argwhere(np.bitwise_count(a[:, None] ^ b[None]) <= max_bits)
        assert pairs(found) == [tuple(pair) for pair in expected.tolist()], f"seed {seed}, {max_bits} bits"
        both = np.concatenate([a, b])
        within = np.argwhere(np.triu(np.bitwise_count(both[:, None] ^ both[None]) <= max_bits, 1))
        assert pairs(near_pairs(both, None, max_bits)) == [tuple(pair) for pair in within.tolist()], f"seed {seed}"
    assert pairs(near_pairs(a[:0], b)) == pairs(near_pairs(a, b[:0])) == []


def pairs(rows: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, int]]:
    return list(zip(*(each.tolist() for each in rows), strict=True))


@pytest.mark.fuzz
def test_near_pairs_of_a_whole_dataset_take_seconds() -> None:
    """At MIMIC-CXR's and ChestX-ray14's size with CXRSSL_FULL=1: bits as unequal as those of real films."""
    rng = np.random.default_rng(0)
    share = np.clip(rng.normal(0.5, 0.17, 64), 0.03, 0.93)
    a, b = (draw_hashes(rng, share, scaled(num // 10, num)) for num in (377_110, 112_120))
    started = time.process_time()
    found = near_pairs(a, b)
    took_s = time.process_time() - started
    assert (np.bitwise_count(a[found[0]] ^ b[found[1]]) <= NEAR_BITS).all()
    assert took_s < 120, f"{len(a):,} x {len(b):,}: {len(found[0]):,} pairs in {took_s:.1f} s of CPU"


def draw_hashes(rng: np.random.Generator, share: np.ndarray, num: int) -> np.ndarray:
    return np.packbits(rng.random((num, 64), dtype=np.float32) < share, axis=1).view(np.uint64).reshape(-1)


def test_real_films_have_the_known_pairs_and_no_other(real_data: Path) -> None:
    """datasets.md, "Quality and duplicates": one pair in NIH's 1,000 films, five in COVID's 354, none across."""
    nih, covid = (sorted((real_data / name / "images").iterdir()) for name in ("nih_chestxray14", "covid19_cxr"))
    hashes = {}
    for name, paths in (("nih", nih), ("covid", covid)):
        films = [letterbox(np.asarray(Image.open(path).convert("L")), 160) for path in paths]
        hashes[name] = perceptual_hash(np.stack([film for film, _ in films]), np.array([box for _, box in films]))
    found = pairs(near_pairs(hashes["nih"], None))
    assert [tuple(nih[row].name for row in pair) for pair in found] == [("00002658_001.png", "00002658_002.png")]
    assert len(near_pairs(hashes["covid"], None)[0]) == 5
    assert len(near_pairs(hashes["nih"], hashes["covid"])[0]) == 0
