"""Films beside each other as pixels: films of the test set and those of the train set that are nearest to them.

In: packed films. Out: small copies whose corners are covered. Never: a corner as it is, where names are burnt in.

Suffix letters: S side of a film, C side of a copy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.images.corners import Box, cover_corners, list_corners

COPY_PX = 112
OVERLAY = (230, 159, 0)
BRIGHT, ABOVE = 200, 90
"""A stroke of text is so bright, and so much brighter than the middle of its corner."""
STROKES = 0.004, 0.25
"""Least and largest share of a corner that text fills: a grain is less, a lung or a label of metal more."""


@dataclass(frozen=True, eq=False)
class FilmCell:
    pixels_CC: NDArray[np.uint8]
    """Grey, or [C, C, 3] in colours."""
    lines: tuple[str, ...]
    """Below it."""


@dataclass(frozen=True, eq=False)
class FilmFigure:
    """Rows of films, the first of each beside those that are near it."""

    title: str
    heads: tuple[str, str]
    """Above the first film, and above the others."""
    rows: tuple[tuple[FilmCell, ...], ...]
    notes: tuple[str, ...] = ()


def shrink(film_SS: NDArray[np.uint8], box: Box, side: int = COPY_PX) -> NDArray[np.uint8]:
    """Return a film of no more than so many pixels a side, each the mean of what falls into it; corners covered."""
    film_SS = cover_corners(film_SS, box)
    size = film_SS.shape[0]
    if size <= side:
        return film_SS
    edges = np.linspace(0, size, side + 1).round().astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(film_SS.astype(np.int64), edges, 0), edges, 1)
    counts = np.diff([*edges, size])
    return np.asarray((sums / np.outer(counts, counts)).round(), np.uint8)


def lay_over(copy_CC: NDArray[np.uint8], attention_P: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return a copy of a film with the attention to its patches laid over it in orange, as a share of the largest.

    Shapes: [C, C], [P] row by row of a square grid -> [C, C, 3].
    """
    side, size = math.isqrt(len(attention_P)), copy_CC.shape[0]
    at_C = np.arange(size) * side // size
    most = float(attention_P.max(initial=0.0))
    share_PP = attention_P.reshape(side, side).astype(np.float64) / (most if most > 0 else 1.0)
    share_CC1 = share_PP[np.ix_(at_C, at_C)][:, :, None]
    mixed = 0.6 * copy_CC[:, :, None] * (1 - share_CC1) + np.array(OVERLAY) * share_CC1
    return np.asarray(mixed.round(), np.uint8)


def has_text(film_SS: NDArray[np.uint8], box: Box) -> bool:
    """Return whether a corner holds what looks like burnt-in text: a few strokes far brighter than what is around them.

    Small or dark text is not seen: a film without it is no film that may be shared.
    """
    for rows, columns in list_corners(box):
        corner = film_SS[rows, columns].astype(np.int64)
        is_stroke = (corner >= BRIGHT) & (corner >= np.median(corner) + ABOVE)
        if STROKES[0] <= is_stroke.mean() <= STROKES[1]:
            return True
    return False
