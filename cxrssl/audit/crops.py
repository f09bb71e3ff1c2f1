"""Films of two cohorts that show one picture, of which one was cut to its centre square or had its greys changed.

In: two packs. Out: pairs of rows. Never: a film of another moment. Of the collections of Hannover (243 films) and COVID
(354), 104 are the same by their publisher's names: 97 are found, and no other pair; most of the other 7 were turned or
cut elsewhere. The highest correlation of two different films was .74, of two synthetic ones .83.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from cxrssl.images.fingerprint import near_pairs, perceptual_hash
from cxrssl.images.store import ImageStore

LOCAL_BITS = 8
"""Perceptual hashes may differ in so many of their 64 bits."""
LOCAL_CORRELATION = 0.84
"""Of thumbnails, each point less the mean of its surroundings, by their deviation: other greys leave it as it is."""
THUMB_PX = 32
AROUND_PX = 5
CHUNK_FILMS = 256
Rows = NDArray[np.int64]
Boxes = NDArray[np.int16]


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


def centre_boxes(box_N4: Boxes) -> Boxes:
    """Return the centre square of each box, (top, left, height, width)."""
    top, left, height, width = box_N4.T.astype(np.int64)
    side = np.minimum(height, width)
    return np.stack([top + (height - side) // 2, left + (width - side) // 2, side, side], axis=1).astype(np.int16)


def _is_square(box_N4: Boxes) -> NDArray[np.bool_]:
    is_square: NDArray[np.bool_] = np.abs(box_N4[:, 2] - box_N4[:, 3]) <= 1
    return is_square


def _compare(
    a: ImageStore, rows_a: Rows, hash_a: NDArray[np.uint64], b: ImageStore, rows_b: Rows, hash_b: NDArray[np.uint64]
) -> tuple[Rows, Rows]:
    """Return the pairs whose hashes and whose centres are alike."""
    first, second = near_pairs(hash_a, hash_b, LOCAL_BITS)
    if not len(first):
        return rows_a[first], rows_b[second]
    (used_a, place_a), (used_b, place_b) = (np.unique(each, return_inverse=True) for each in (first, second))
    thumbs_a, thumbs_b = _local_thumbnails(a, rows_a[used_a]), _local_thumbnails(b, rows_b[used_b])
    is_alike = np.empty(len(first), np.bool_)
    for start in range(0, len(first), CHUNK_FILMS):
        part = slice(start, start + CHUNK_FILMS)
        correlation = np.einsum("np,np->n", thumbs_a[place_a[part]], thumbs_b[place_b[part]])
        is_alike[part] = correlation >= LOCAL_CORRELATION
    return rows_a[first[is_alike]], rows_b[second[is_alike]]


def _hash_centres(images: ImageStore, rows: Rows) -> NDArray[np.uint64]:
    hashes = np.empty(len(rows), np.uint64)
    boxes = centre_boxes(images.box_N4[rows])
    for start in range(0, len(rows), CHUNK_FILMS):
        part = slice(start, start + CHUNK_FILMS)
        hashes[part] = perceptual_hash(images.read_rows(rows[part]), boxes[part])
    return hashes


def _local_thumbnails(images: ImageStore, rows: Rows) -> NDArray[np.float32]:
    """Return [N, 32 * 32] of the films' centres, each point less the mean around it, by the deviation around it."""
    local = np.empty((len(rows), THUMB_PX**2), np.float32)
    boxes = centre_boxes(images.box_N4[rows])
    for start in range(0, len(rows), CHUNK_FILMS):
        part = slice(start, start + CHUNK_FILMS)
        thumbs = reduce_films(images.read_rows(rows[part]), boxes[part])
        local[part] = _normalise(thumbs).reshape(len(thumbs), -1)
    local -= local.mean(axis=1, keepdims=True)
    local /= np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-6)
    return local


def reduce_films(films_BSS: NDArray[np.uint8], box_B4: Boxes) -> NDArray[np.float32]:
    """Return [B, 32, 32] of films reduced by area inside their box."""
    thumbs = np.empty((len(films_BSS), THUMB_PX, THUMB_PX), np.float32)
    for k, (film, (top, left, height, width)) in enumerate(zip(films_BSS, box_B4.tolist(), strict=True)):
        inside = film[top : top + height, left : left + width].astype(np.float32)
        thumbs[k] = area_weights(height) @ inside @ area_weights(width).T
    return thumbs


@functools.lru_cache(maxsize=4096)
def area_weights(length: int) -> NDArray[np.float32]:
    """Return [32, length]: the share of each pixel in each of 32 equal parts."""
    edges = np.linspace(0, length, THUMB_PX + 1)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float32] = (np.maximum(overlap, 0) * THUMB_PX / length).astype(np.float32)
    return weights


def _normalise(thumbs: NDArray[np.float32]) -> NDArray[np.float64]:
    around = AROUND_PX // 2
    padded = np.pad(thumbs.astype(np.float64), ((0, 0), (around, around), (around, around)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (AROUND_PX, AROUND_PX), axis=(1, 2))
    mean, deviation = windows.mean(axis=(3, 4)), windows.std(axis=(3, 4))
    normal: NDArray[np.float64] = (thumbs - mean) / np.maximum(deviation, 1e-6)
    return normal
