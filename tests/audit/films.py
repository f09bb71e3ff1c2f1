"""Packs of drawn films, to be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrssl.images.pack import pack_images
from cxrssl.images.store import ImageStore, open_images


def draw(seed: int) -> NDArray[np.float64]:
    """Draw 90 x 120 pixels of soft shapes with fine ones in them."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.random((6, 8)), np.ones((15, 15)))
    fine = np.kron(rng.random((30, 40)), np.ones((3, 3)))
    return 40 + 120 * coarse + 60 * fine


def pack(folder: Path, films: dict[str, NDArray[np.float64]]) -> ImageStore:
    (folder / "films").mkdir(parents=True)
    for name, film in films.items():
        Image.fromarray(film.clip(0, 255).astype(np.uint8)).save(folder / "films" / f"{name}.png")
    paths = [f"{name}.png" for name in films]
    pack_images(
        folder / "pack", folder / "films", list(films), paths, size_px=96, cohort_sha256="0" * 64, num_workers=1
    )
    return open_images(folder / "pack")
