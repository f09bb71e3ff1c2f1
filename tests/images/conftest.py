"""Small films on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFilms = Callable[..., list[str]]


def draw_grey(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth shapes with some grain, over the whole range of greys."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.sin(x / (3 + seed % 5)) + np.cos(y / (4 + seed % 7)) + rng.normal(0, 0.1, (height, width))
    return np.asarray(np.clip((waves + 2) / 4 * 255, 0, 255), np.uint8)


@pytest.fixture
def make_films(tmp_path: Path) -> MakeFilms:
    """Write films under `tmp_path/data` and return their relative paths; those in `broken` are half a file."""

    def make(num: int, broken: tuple[int, ...] = ()) -> list[str]:
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        names = [f"film-{i:03d}.{'jpg' if i % 2 else 'png'}" for i in range(num)]
        for i, name in enumerate(names):
            Image.fromarray(draw_grey(40 + i % 9, 30 + i % 17, seed=i)).save(root / name)
            if i in broken:
                data = (root / name).read_bytes()
                (root / name).write_bytes(data[: len(data) // 2])
        return names

    return make
