"""Films of two cohorts that show one picture, of which one was cut to its centre square or had its greys changed.

In: two packs. Out: pairs of rows. Never: a film of another moment. Of the collections of Hannover (243 films) and COVID
(354), 104 are the same by their publisher's names: 97 are found, and no other pair; most of the other 7 were turned or
cut elsewhere. The highest correlation of two different films was .74, of two synthetic ones .83.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.thumbs import (
    Boxes,
    Rows,
    centre_boxes,
    correlate_pairs,
    measure_films,
    read_local_thumbnails,
    track_long,
)
from cxrssl.images.fingerprint import NUM_BANDS, near_pairs, perceptual_hash
from cxrssl.images.store import ImageStore

LOCAL_BITS = 8
"""Perceptual hashes may differ in so many of their 64 bits."""
LOCAL_CORRELATION = 0.84
"""Of thumbnails, each point less the mean of its surroundings, by their deviation: other greys leave it as it is."""


def find_crops(a: ImageStore, rows_a: Rows, b: ImageStore, rows_b: Rows) -> tuple[Rows, Rows]:
    """Return the pairs (row of a, row of b) of two packs that show one picture, cut or in other greys."""
    found = [_compare(a, rows_a, a.index.phash[rows_a], b, rows_b, b.index.phash[rows_b])]
    for is_swapped in (False, True):
        (cut, rows_cut), (whole, rows_whole) = ((a, rows_a), (b, rows_b)) if is_swapped else ((b, rows_b), (a, rows_a))
        squares = rows_cut[_is_square(cut.box_N4[rows_cut])]
        wider = rows_whole[~_is_square(whole.box_N4[rows_whole])]
        if len(squares) and len(wider):
            first, second = _compare(whole, wider, _hash_centres(whole, wider), cut, squares, cut.index.phash[squares])
            found.append((second, first) if is_swapped else (first, second))
    pairs = np.unique(np.stack([np.concatenate(side) for side in zip(*found, strict=True)]), axis=1)
    return pairs[0], pairs[1]


def _is_square(box_N4: Boxes) -> NDArray[np.bool_]:
    is_square: NDArray[np.bool_] = np.abs(box_N4[:, 2] - box_N4[:, 3]) <= 1
    return is_square


def _compare(
    a: ImageStore, rows_a: Rows, hash_a: NDArray[np.uint64], b: ImageStore, rows_b: Rows, hash_b: NDArray[np.uint64]
) -> tuple[Rows, Rows]:
    """Return the pairs whose hashes and whose centres are alike."""
    with track_long(f"compare {a.path.name} with {b.path.name}", len(rows_a), NUM_BANDS * len(rows_a)) as progress:
        first, second = near_pairs(hash_a, hash_b, LOCAL_BITS, progress)
    is_alike = correlate_pairs(a, rows_a[first], b, rows_b[second], read_local_thumbnails) >= LOCAL_CORRELATION
    return rows_a[first[is_alike]], rows_b[second[is_alike]]


def _hash_centres(images: ImageStore, rows: Rows) -> NDArray[np.uint64]:
    hashes = np.empty(len(rows), np.uint64)
    measure_films(images, rows, centre_boxes(images.box_N4[rows]), perceptual_hash, hashes)
    return hashes
