"""Resizing by an antialiased triangle filter, in whole numbers: the same pixels on every machine, with any BLAS.

In: a grey film. Out: the film in another shape. Never: ringing at markers and metal, a grey value outside the film's.
Numpy only. It is here for its speed: two to three times that of Pillow's resize, with the same filter.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Weights are multiples of 1/4096 and add up to 1; rows are averaged to a 16th of a grey level before columns are. So
# every sum is a whole number below 2^24, exact in float32 in any order of addition.
WEIGHT_STEPS = 4096
GREY_STEPS = 16
BLOCK_PX = 16
"""Output pixels of one product: small enough for most weights in it not to be zero."""


class Block(NamedTuple):
    """Output pixels [start, stop) along one side, each the weighted sum of input pixels [first, last)."""

    start: int
    stop: int
    first: int
    last: int
    weights: NDArray[np.float32]
    """[stop - start, last - first]"""
    weights_T: NDArray[np.float32]
    """The same turned, and so in memory: BLAS is twice as fast from the right."""


def resize(film_HW: NDArray[np.uint8], height: int, width: int, extent: tuple[float, float]) -> NDArray[np.uint8]:
    """Return the film's upper left part of `extent` (rows, columns) pixels, resized to [height, width].

    The extent may end within a pixel, as it does when a JPEG's sides are no multiple of the scale it was decoded at.
    """
    rows_hW = np.empty((height, film_HW.shape[1]), np.float32)
    for block in _blocks(height, film_HW.shape[0], extent[0], GREY_STEPS):
        part = film_HW[block.first : block.last].astype(np.float32)
        np.matmul(block.weights, part, out=rows_hW[block.start : block.stop])
    np.rint(rows_hW, out=rows_hW)
    film_hw = np.empty((height, width), np.float32)
    for block in _blocks(width, film_HW.shape[1], extent[1], 1 / GREY_STEPS):
        np.matmul(rows_hW[:, block.first : block.last], block.weights_T, out=film_hw[:, block.start : block.stop])
    return np.rint(film_hw, out=film_hw).astype(np.uint8)


@lru_cache(maxsize=64)
def _blocks(num_out: int, num_in: int, extent: float, total: float) -> tuple[Block, ...]:
    """Return the blocks of a side; the weights of a pixel add up to `total`, a power of two, which keeps sums exact."""
    return tuple(_iter_blocks(num_out, num_in, extent, total))


def _iter_blocks(num_out: int, num_in: int, extent: float, total: float) -> Iterator[Block]:
    for start in range(0, num_out, BLOCK_PX):
        out = np.arange(start, min(start + BLOCK_PX, num_out))
        yield _make_block(out, num_in, extent / num_out, total)


def _make_block(out: NDArray[np.int64], num_in: int, scale: float, total: float) -> Block:
    """Return the block of these output pixels, each `scale` input pixels wide.

    The triangle reaches as far as the wider of an input and an output pixel; what lies outside the film has no weight.
    """
    reach = max(scale, 1.0)
    centre = (out + 0.5) * scale
    first, last = max(0, int(centre[0] - reach)), min(num_in, int(np.ceil(centre[-1] + reach)))
    distance = np.abs(np.subtract.outer(centre, np.arange(first, last) + 0.5)) / reach
    weights = np.clip(1 - distance, 0, None)
    steps = np.rint(weights / weights.sum(1, keepdims=True) * WEIGHT_STEPS)
    # The largest weight absorbs the rounding error.
    steps[np.arange(len(out)), steps.argmax(1)] += WEIGHT_STEPS - steps.sum(1)
    kept = (steps * (total / WEIGHT_STEPS)).astype(np.float32)
    return Block(int(out[0]), int(out[-1]) + 1, first, last, kept, np.ascontiguousarray(kept.T))
