"""A thumbnail of each film as its features: what a linear probe reads from grey values, with no encoder.

In: packed films. Out: float32 [N, GRID_PX * GRID_PX] in cohort order, NaN where a film is not packed.
Never: the padding around a film, which would tell its shape and so its machine.

Suffix letters: N films, H and W sides of the packed square, G sides of the thumbnail.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.progress import track
from cxrssl.evaluate.candidate import Candidate
from cxrssl.images.store import ImageStore
from cxrssl.records.eval_settings import PIXELS, CandidateSettings

GRID_PX = 20
BATCH_FILMS = 256


def pixels_candidate(images: ImageStore) -> Candidate:
    """Return the thumbnails of the films as a candidate: an encoder that does not beat them has learnt nothing."""
    return Candidate(
        candidate_id=f"{PIXELS}-{GRID_PX}",
        kind=PIXELS,
        label=f"pixels, {GRID_PX} x {GRID_PX}",
        settings=CandidateSettings(),
        features=lambda: read_thumbnails(images),
    )


def read_thumbnails(images: ImageStore) -> NDArray[np.float32]:
    """Return the thumbnail of every packed film, row by row of its pixels, in grey levels of 0 to 255."""
    packed = np.flatnonzero(images.is_packed_N)
    values = np.full((len(images.is_packed_N), GRID_PX * GRID_PX), np.nan, np.float32)
    with track("pixels", len(packed), "films") as progress:
        for start in range(0, len(packed), BATCH_FILMS):
            rows = packed[start : start + BATCH_FILMS]
            films = zip(images.read_rows(rows), images.box_N4[rows].tolist(), strict=True)
            values[rows] = [average_areas(film_HW, box).ravel() for film_HW, box in films]
            progress.advance(len(rows))
    return values


def average_areas(film_HW: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Return the means of GRID_PX x GRID_PX equal areas of a film's own box (top, left, height, width).

    An area that ends within a pixel takes that part of it, so that the mean over areas is that of the box.
    """
    top, left, height, width = box
    own = film_HW[top : top + height, left : left + width].astype(np.float32)
    film_GG: NDArray[np.float32] = np.matmul(_share_out(height) @ own, _share_out(width).T, dtype=np.float32)
    return film_GG


@lru_cache(maxsize=1024)
def _share_out(num_px: int) -> NDArray[np.float32]:
    """Return the weight of each of `num_px` pixels in each of GRID_PX parts of a side; those of a part add up to 1."""
    ends_G1 = np.arange(1, GRID_PX + 1)[:, None] * num_px / GRID_PX
    starts_G1, first = ends_G1 - num_px / GRID_PX, np.arange(num_px)
    overlap: NDArray[np.float64] = np.clip(np.minimum(ends_G1, first + 1) - np.maximum(starts_G1, first), 0, None)
    return np.asarray(overlap * (GRID_PX / num_px), np.float32)
