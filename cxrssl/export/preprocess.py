"""A chest film as an encoder sees it: letterboxed, scaled twice, normalised. NumPy alone; it is part of every export.

In: a grey film, uint8 [height, width], dense tissue bright. Out: float32 [1, channels, side, side].

    film = np.asarray(Image.open("film.png").convert("L"))
    views = Preprocessing.read("preprocessing.json").prepare(film)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHT_STEPS, GREY_STEPS = 4096, 16
STEPS = (
    "grey: one channel of 8 bits, ITU-R 601-2 luma of colour; dense tissue is bright",
    "scale: longest side to pack_px, aspect kept, triangle filter, antialiased, rounded to whole greys",
    "pad: centred on a black square of pack_px",
    "scale: the square to view_px by the same filter; only pixels of the film have weight",
    "normalise: (grey / 255 - mean) / std; the padding is black before it is normalised",
    "repeat: the same grey in every channel; the layout is [films, channels, rows, columns]",
)
"""What `prepare` does, in this order."""


@dataclass(frozen=True)
class Preprocessing:
    """How a film enters an encoder."""

    view_px: int
    """Side of the square that the encoder sees."""
    mean: float
    """Subtracted from greys in [0, 1], of every channel."""
    std: float
    """Greys in [0, 1] are divided by it, in every channel."""
    channels: int = 1
    pack_px: int = 320
    """Side of the square that films are first scaled to."""

    @classmethod
    def read(cls, path: str | Path) -> Preprocessing:
        """Return what a preprocessing.json says."""
        values: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})

    def to_dict(self) -> dict[str, Any]:
        """Return what preprocessing.json says."""
        return {**vars(self), "steps": list(STEPS)}

    def prepare(self, film: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a grey film as float32 [1, channels, view_px, view_px]. Raises: ValueError for another kind of array.

        Source: what cxrssl does at packing and at evaluation.
        """
        if film.ndim != 2 or film.dtype != np.uint8 or not film.size:
            raise ValueError(f"a film is uint8 [height, width], and this is {film.dtype} {list(film.shape)}")
        square, (top, left, height, width) = letterbox(film, self.pack_px)
        longest = max(height, width)
        down = _view_weights(self.view_px, self.pack_px, top + height / 2 - longest / 2, longest, (top, height))
        across = _view_weights(self.view_px, self.pack_px, left + width / 2 - longest / 2, longest, (left, width))
        view = (down @ square @ across.T - 255 * self.mean) / (255 * self.std)
        return np.repeat(view.astype(np.float32)[None, None], self.channels, axis=1)


def letterbox(film: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """Return the film on a black square, and its place there: top, left, height, width."""
    longest = max(film.shape)
    height, width = (max(1, (2 * each * side + longest) // (2 * longest)) for each in film.shape)
    top, left = (side - height) // 2, (side - width) // 2
    # Whole numbers throughout: the same pixels on every machine.
    rows = np.rint(_whole_weights(height, film.shape[0]) @ film.astype(np.float64) * (GREY_STEPS / WEIGHT_STEPS))
    scaled = np.rint(rows @ _whole_weights(width, film.shape[1]).T / (GREY_STEPS * WEIGHT_STEPS))
    square = np.zeros((side, side), np.uint8)
    square[top : top + height, left : left + width] = scaled
    return square, (top, left, height, width)


def _whole_weights(num_out: int, num_in: int) -> NDArray[np.float64]:
    """Return the filter [num_out, num_in] in steps of 1/4096; the largest weight of a row absorbs the rounding."""
    centre = (np.arange(num_out) + 0.5) * (num_in / num_out)
    weights = _triangles(centre, num_in, max(num_in / num_out, 1.0))
    steps: NDArray[np.float64] = np.rint(weights / weights.sum(1, keepdims=True) * WEIGHT_STEPS)
    steps[np.arange(num_out), steps.argmax(1)] += WEIGHT_STEPS - steps.sum(1)
    return steps


def _view_weights(
    num_out: int, num_in: int, start: float, length: float, inside: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the filter [num_out, num_in] of a view of `length` pixels from `start`; outside the film it is zero."""
    centre = start + (np.arange(num_out) + 0.5) * (length / num_out)
    low, high = inside[0], inside[0] + inside[1]
    weights = _triangles(centre, num_in, max(length / num_out, 1.0))
    weights[:, :low] = weights[:, high:] = 0
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-6)
    weights[(centre < low) | (centre > high)] = 0
    return weights


def _triangles(centre: NDArray[np.floating[Any]], num_in: int, reach: float) -> NDArray[np.float64]:
    distance = np.abs(np.subtract.outer(centre, np.arange(num_in) + 0.5)) / reach
    weights: NDArray[np.float64] = np.clip(1 - distance, 0, None)
    return weights
