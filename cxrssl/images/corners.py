"""The corners of a film, where names, sides and times are burnt in, covered before a person sees them.

Never: a claim that text elsewhere in a film is covered.
Suffix letter: S the side of a packed film.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CORNER_HIGH, CORNER_WIDE, COVER = 0.15, 0.30, 64
"""Shares of a film at each corner; the grey that covers it."""
Box = tuple[int, int, int, int]
"""Top, left, height and width of a film in the square that it was packed into."""


def cover_corners(film_SS: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Return a film with its corners grey."""
    covered = film_SS.copy()
    for rows, columns in list_corners(box):
        covered[rows, columns] = COVER
    return covered


def list_corners(box: Box) -> list[tuple[slice, slice]]:
    """Return the rows and columns of each corner of a film."""
    top, left, height, width = box
    high, wide = max(1, round(height * CORNER_HIGH)), max(1, round(width * CORNER_WIDE))
    rows = slice(top, top + high), slice(top + height - high, top + height)
    columns = slice(left, left + wide), slice(left + width - wide, left + width)
    return [(each, other) for each in rows for other in columns]
