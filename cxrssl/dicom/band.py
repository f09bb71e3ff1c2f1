"""A band of zeros across the stored cells of a film, as a hole in its file leaves where nothing is compressed.

In: cells [H, W]. Out: whether there is one. A black margin, a collimated field or a letter is none: its rows lie below
each other, but the ends of a hole lie anywhere, with picture above and below. A hole that reaches the first or the last
cell has an end within a row, with a whole row of picture beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_CELLS = 24
"""Columns side by side in which the run has picture above and below."""
MIN_OVERHANG = 4
"""Cells between the end of a row and that of a hole that reaches the first or the last cell."""


def has_band(cells_HW: NDArray[np.uint8] | NDArray[np.uint16]) -> bool:
    """Return whether a run of zeros, from row to row, has picture above and below it."""
    width = cells_HW.shape[1]
    if _has_open_end(cells_HW.ravel()[::-1], width) or _has_open_end(cells_HW.ravel(), width):
        return True
    if cells_HW.all():
        return False
    # What lies outside the film counts as picture.
    is_zero = np.zeros(cells_HW.size + 2 * width, np.bool_)
    is_zero[width:-width] = cells_HW.ravel() == 0
    edges = np.flatnonzero(np.diff(is_zero, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    is_candidate = (ends - starts >= MIN_CELLS) & (starts > width) & (ends < len(is_zero) - width)
    starts, ends = starts[is_candidate], ends[is_candidate]
    if not len(starts):
        return False
    before = np.zeros(len(is_zero) + 1, np.int32)
    np.cumsum(~is_zero, out=before[1:])
    tops, bottoms = np.minimum(starts + width, ends), np.maximum(ends - width, starts)
    num_above = before[tops - width] - before[starts - width]
    num_below = before[ends + width] - before[bottoms + width]
    is_candidate = np.minimum(num_above, num_below) >= MIN_CELLS
    runs = zip(starts[is_candidate].tolist(), ends[is_candidate].tolist(), strict=True)
    return any(_has_picture_around(is_zero, start, end, width) for start, end in runs)


def _has_open_end(cells: NDArray[np.uint8] | NDArray[np.uint16], width: int) -> bool:
    """Return whether zeros from the first cell on end within a row, and a row without zeros follows."""
    if cells[0] or cells[:MIN_CELLS].any() or not cells.any():
        return False
    end = int((cells != 0).argmax())
    is_within = MIN_OVERHANG <= end % width <= width - MIN_OVERHANG
    return is_within and len(cells) - end > width and bool(cells[end : end + width].all())


def _has_picture_around(is_zero: NDArray[np.bool_], start: int, end: int, width: int) -> bool:
    """Return whether MIN_CELLS columns side by side are not zero above the run and below it."""
    first = np.arange(start, min(start + width, end))
    last = first + (end - 1 - first) // width * width
    is_open = ~(is_zero[first - width] | is_zero[last + width])
    edges = np.flatnonzero(np.diff(is_open, prepend=False, append=False))
    return bool((edges[1::2] - edges[::2] >= MIN_CELLS).any())
