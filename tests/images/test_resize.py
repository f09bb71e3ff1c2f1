"""resize: the triangle filter, exact whatever adds it up."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cxrssl.images import resize as module
from cxrssl.images.resize import resize


def draw(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(512, 512), (751, 625), (1955, 1841), (200, 2400), (40, 33), (17, 16), (16, 1000)])
@pytest.mark.parametrize("size", [(320, 320), (320, 267), (32, 27), (1, 32)])
def test_equals_pillows_bilinear_within_one_grey_level(shape: tuple[int, int], size: tuple[int, int]) -> None:
    film = draw(*shape, seed=sum(shape))
    height, width = size
    expected = np.asarray(Image.fromarray(film).resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    error = np.abs(resize(film, height, width, shape) - expected)
    assert error.max() <= 1
    assert error.mean() < 0.3


def test_extent_may_end_within_a_pixel() -> None:
    film = draw(100, 80, seed=1)
    box = (0.0, 0.0, 79.25, 99.5)
    expected = np.asarray(Image.fromarray(film).resize((27, 32), Image.Resampling.BILINEAR, box=box)).astype(int)
    assert np.abs(resize(film, 32, 27, (99.5, 79.25)) - expected).max() <= 1


def test_sums_are_exact_in_any_order() -> None:
    """Against the same sums in Python's whole numbers, which know no rounding."""
    film = draw(97, 61, seed=2)
    rows, columns = (dense_weights(out, side) for out, side in ((48, 97), (40, 61)))
    sums = rows @ film.astype(int)
    sixteenths = np.array([[round_half_even(value, 256) for value in row] for row in sums.tolist()])
    sums = sixteenths @ columns.T
    expected = [[round_half_even(value, 65536) for value in row] for row in sums.tolist()]
    np.testing.assert_array_equal(resize(film, 48, 40, (97, 61)), expected)


def test_black_and_white_stay_black_and_white() -> None:
    for grey in (0, 1, 128, 255):
        film = np.full((777, 333), grey, np.uint8)
        np.testing.assert_array_equal(resize(film, 320, 137, film.shape), grey)


def dense_weights(num_out: int, num_in: int) -> np.ndarray:
    weights = np.zeros((num_out, num_in), int)
    for block in module._blocks(num_out, num_in, num_in, module.WEIGHT_STEPS):
        weights[block.start : block.stop, block.first : block.last] = block.weights
    assert (weights.sum(1) == module.WEIGHT_STEPS).all()
    return weights


def round_half_even(value: int, steps: int) -> int:
    whole, rest = divmod(value, steps)
    return whole + (rest * 2 > steps or (rest * 2 == steps and whole % 2 == 1))
