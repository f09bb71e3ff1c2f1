"""What is read of packed films to compare them: small pictures, and how alike those of two films are.

In: packs and rows. Out: an array by row, in half precision: the thumbnails of 600,000 films fit into
1.2 GiB. Numpy only.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.process import num_cores
from cxrssl.core.progress import Track, track
from cxrssl.core.signals import check_stop
from cxrssl.images.store import ImageStore

THUMB_PX = 32
AROUND_PX = 5
CHUNK_FILMS = 256
LONG_FILMS = 10_000
"""From here on progress is shown: so many films take a second or more."""
MAX_THREADS = 8
Rows: TypeAlias = NDArray[np.int64]
Boxes: TypeAlias = NDArray[np.int16]
Thumbs: TypeAlias = NDArray[np.float16]
Measure: TypeAlias = Callable[[NDArray[np.uint8], Boxes], NDArray[Any]]
"""What is made of films [B, S, S] and the boxes [B, 4] in which they are looked at."""


class _Untold:
    """Progress that is not shown."""

    def advance(self, num: int = 1, note: str = "") -> None:
        check_stop()


@contextlib.contextmanager
def track_long(what: str, num_films: int, total: int = 0) -> Iterator[Track]:
    """Yield a Track that is shown when there are many films; `total` when each is counted more than once."""
    if num_films < LONG_FILMS:
        yield _Untold()
        return
    with track(what, total or num_films, "films") as progress:
        yield progress


def measure_films(images: ImageStore, rows: Rows, boxes: Boxes, measure: Measure, measured: NDArray[Any]) -> None:
    """Fill `measured` with what is made of these films, one entry a row, on all cores."""
    pool = ThreadPoolExecutor(min(MAX_THREADS, num_cores()))

    def fill(start: int) -> int:
        part = slice(start, start + CHUNK_FILMS)
        measured[part] = measure(images.read_rows(rows[part]), boxes[part])
        return len(rows[part])

    try:
        with track_long(f"look at films of {images.path.name}", len(rows)) as progress:
            for num in pool.map(fill, range(0, len(rows), CHUNK_FILMS)):
                progress.advance(num)
    finally:
        pool.shutdown(cancel_futures=True)


def correlate_pairs(
    a: ImageStore, rows_a: Rows, b: ImageStore, rows_b: Rows, read: Callable[[ImageStore, Rows], Thumbs]
) -> NDArray[np.float64]:
    """Return the correlation of the thumbnails that `read` makes of the films of each pair; each is read once."""
    correlation = np.zeros(len(rows_a))
    if not len(rows_a):
        return correlation
    (films_a, place_a), (films_b, place_b) = (np.unique(rows, return_inverse=True) for rows in (rows_a, rows_b))
    thumbs_a, thumbs_b = read(a, films_a), read(b, films_b)
    for start in range(0, len(rows_a), CHUNK_FILMS):
        part = slice(start, start + CHUNK_FILMS)
        of_a, of_b = thumbs_a[place_a[part]].astype(np.float32), thumbs_b[place_b[part]].astype(np.float32)
        correlation[part] = np.einsum("np,np->n", of_a, of_b)
    return correlation


def read_thumbnails(images: ImageStore, rows: Rows) -> Thumbs:
    """Return [N, 32 * 32] of films reduced by area inside their box, each of mean 0 and length 1."""
    return _read(images, rows, images.box_N4[rows], reduce_films)


def read_local_thumbnails(images: ImageStore, rows: Rows) -> Thumbs:
    """Return [N, 32 * 32] of the films' centres, each point less the mean around it, by the deviation around it."""

    def measure(films_BSS: NDArray[np.uint8], box_B4: Boxes) -> NDArray[np.float64]:
        return normalise_locally(reduce_films(films_BSS, box_B4))

    return _read(images, rows, centre_boxes(images.box_N4[rows]), measure)


def _read(images: ImageStore, rows: Rows, boxes: Boxes, reduce: Measure) -> Thumbs:
    def measure(films_BSS: NDArray[np.uint8], box_B4: Boxes) -> NDArray[np.float32]:
        thumbs = reduce(films_BSS, box_B4).reshape(len(films_BSS), -1).astype(np.float32)
        thumbs -= thumbs.mean(axis=1, keepdims=True)
        thumbs /= np.maximum(np.linalg.norm(thumbs, axis=1, keepdims=True), 1e-6)
        return thumbs

    thumbs = np.empty((len(rows), THUMB_PX**2), np.float16)
    measure_films(images, rows, boxes, measure, thumbs)
    return thumbs


def centre_boxes(box_N4: Boxes) -> Boxes:
    """Return the centre square of each box, (top, left, height, width)."""
    top, left, height, width = box_N4.T.astype(np.int64)
    side = np.minimum(height, width)
    return np.stack([top + (height - side) // 2, left + (width - side) // 2, side, side], axis=1).astype(np.int16)


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


def normalise_locally(thumbs_B32: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return each point less the mean of the 5 x 5 around it, by their standard deviation; an edge is repeated."""
    around = AROUND_PX // 2
    centred = thumbs_B32 - thumbs_B32.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    padded = np.pad(centred, ((0, 0), (around, around), (around, around)), mode="edge")
    mean = _average_around(padded)
    variance = _average_around(padded**2) - mean**2
    normal: NDArray[np.float64] = (centred - mean) / np.sqrt(np.maximum(variance, 1e-12))
    return normal


def _average_around(padded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the 5 x 5 around each point: over rows, then over columns."""
    rows = np.stack([padded[:, place : place + THUMB_PX] for place in range(AROUND_PX)]).mean(axis=0)
    averages = np.stack([rows[:, :, place : place + THUMB_PX] for place in range(AROUND_PX)]).mean(axis=0)
    return np.asarray(averages)
