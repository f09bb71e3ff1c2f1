"""letterbox: the place of the film on its square, and its greys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrssl.images.decode import decode_film, decode_letterboxed, fit_box, letterbox

COVID = Path(__file__).resolve().parents[3] / "shared/data/covid19_cxr/originals_sample"


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (64, 64, (0, 0, 32, 32)),
        (64, 32, (0, 8, 32, 16)),
        (32, 64, (8, 0, 16, 32)),
        (3056, 2544, (0, 2, 32, 27)),
        (1, 64, (15, 0, 1, 32)),
        (64, 1, (0, 15, 32, 1)),
        (1, 4096, (15, 0, 1, 32)),
        (16, 12, (0, 4, 32, 24)),
        (64, 63, (0, 0, 32, 32)),
    ],
)
def test_box_is_centred_with_the_longest_side_filled(height: int, width: int, box: tuple[int, ...]) -> None:
    square, found = letterbox(np.full((height, width), 200, np.uint8), 32)
    assert found == box
    top, left, rows, columns = box
    expected = np.zeros((32, 32), np.uint8)
    expected[top : top + rows, left : left + columns] = 200
    np.testing.assert_array_equal(square, expected)


def test_film_of_the_right_size_is_unchanged() -> None:
    film = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    np.testing.assert_array_equal(letterbox(film, 48)[0], film)


def test_halving_is_antialiased_by_a_triangle() -> None:
    """Against the filter written out: weights of the triangle with support 2 source pixels each side."""
    film = np.random.default_rng(1).integers(0, 256, (64, 64)).astype(np.uint8)
    weights = np.zeros((32, 64))
    for out in range(32):
        distance = np.abs(np.arange(64) + 0.5 - (2 * out + 1)) / 2
        weights[out] = np.clip(1 - distance, 0, None)
    weights /= weights.sum(1, keepdims=True)
    expected = weights @ film @ weights.T
    assert np.abs(letterbox(film, 32)[0] - expected).max() <= 1.01


def test_fine_stripes_become_grey_and_not_a_moire() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (640, 320))
    square, _ = letterbox(stripes, 64)
    assert np.abs(square[:, 2:-2].astype(float) - 127.5).max() <= 2


def test_large_jpeg_decoded_at_lower_resolution_stays_within_one_grey_level(tmp_path: Path) -> None:
    y, x = np.mgrid[0:1201, 0:901] / 40
    rng = np.random.default_rng(2)
    film = 127 + 60 * np.sin(x) + 50 * np.cos(y * 1.3) + rng.normal(0, 6, x.shape)
    Image.fromarray(np.clip(film, 0, 255).astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    full, box = letterbox(decode_film(Path("a.jpg"), tmp_path), 96)
    quick = decode_letterboxed(Path("a.jpg"), tmp_path, 96)
    assert quick.box == box == fit_box(1201, 901, 96)
    assert quick.source_px == (1201, 901)
    assert 0 < np.abs(full.astype(int) - quick.pixels_SS).mean() < 1


def test_real_covid_originals_stay_within_one_grey_level() -> None:
    if not COVID.is_dir():
        pytest.skip("the real films are not here")
    for path in sorted(COVID.iterdir()):
        full, box = letterbox(decode_film(Path(path.name), COVID), 320)
        quick = decode_letterboxed(Path(path.name), COVID, 320)
        assert quick.box == box
        assert np.abs(full.astype(int) - quick.pixels_SS).mean() < 0.3, path.name
