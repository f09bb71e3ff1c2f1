"""A look at the greys of every film that was decoded: what hardly any radiograph looks like is noted.

In: a film as it is packed. Out: its notes. Numpy only; whole numbers: the same on every machine.
The bounds lie beyond all of the 1,630 real films of ChestX-ray14, COVID, Hannover and the DICOM samples that were
looked at: they have 79 levels or more, 66 greys or more from the 1st to the 99th percentile, at most 51 % black, 44 %
white and 49 % of one grey.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.filmnote import Note

MIN_LEVELS, MIN_SPAN = 40, 40
"""Grey levels that occur; greys from the 1st to the 99th percentile."""
MAX_BLACK, MAX_WHITE, MAX_ONE = 0.75, 0.55, 0.6
"""Shares of the film: the three darkest greys, the three brightest, any single grey."""
RARE = 10_000
"""A level that fewer than one in so many pixels have does not count: it is of a marker, or of compression."""
END_GREYS = 3
EACH_ROW = 2
"""Each so many rows, one is looked at."""


def look_at(film_HW: NDArray[np.uint8]) -> Note:
    """Return the doubts about a film's greys."""
    counts = np.bincount(film_HW[::EACH_ROW].ravel(), minlength=256)
    below = np.cumsum(counts)
    num = below[-1]
    low, high = np.searchsorted(below * 100, num), np.searchsorted(below * 100, 99 * num)
    found = {
        Note.FEW_GREYS: (counts * RARE > num).sum() < MIN_LEVELS,
        Note.NARROW: high - low < MIN_SPAN,
        Note.BLACK: below[END_GREYS - 1] > MAX_BLACK * num,
        Note.WHITE: num - below[-END_GREYS - 1] > MAX_WHITE * num,
        Note.ONE_GREY: counts.max() > MAX_ONE * num,
    }
    notes = Note(0)
    for note, is_so in found.items():
        notes |= note if is_so else Note(0)
    return notes
