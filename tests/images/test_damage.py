"""The share of damaged films that is found, by format and kind: all holes and cuts, no whole film refused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.images.conftest import draw_grey
from tests.images.damage import FORMATS, File, iter_outcomes, wrap_file, write_file

SEED = int(os.environ.get("CXRSSL_SEED", "20240501"))
IS_FULL = bool(os.environ.get("CXRSSL_FULL"))
DATA = Path(__file__).resolve().parents[3] / "shared/data"
FOLDERS = ("covid19_cxr/images", "hannover_covid19/images", "nih_chestxray14/images")


def draw_films() -> Iterator[tuple[np.ndarray, File]]:
    for num in range(4):
        for format in FORMATS:
            grey = np.clip(draw_grey(150 + num, 170 - num, seed=num), 3, None)
            yield grey, write_file(grey, format)


def read_films() -> Iterator[tuple[np.ndarray, File]]:
    """Yield each real film as it is, and in one of the formats that it is not in."""
    paths = [path for name in FOLDERS for path in sorted((DATA / name).glob("*.[jp]*g"))]
    for num, path in enumerate(paths if IS_FULL else paths[::40]):
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"))
            kind = image.format
        yield grey, wrap_file(path.read_bytes(), "PNG" if kind == "PNG" else "JPEG")
        yield grey, write_file(grey, FORMATS[num % len(FORMATS)])


def count_found(films: Iterator[tuple[np.ndarray, File]], folder: Path) -> None:
    """Print the table, and check that holes and cuts are found, and that whole films are not."""
    found: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    wrong = []
    for format, kind, is_found, where in iter_outcomes(films, folder, SEED):
        total[format, kind] += 1
        found[format, kind] += is_found
        if kind != "flip" and is_found != bool(kind):
            wrong.append((format, kind or "whole", where))
    for (format, kind), num in sorted(total.items()):
        print(f"{format:<24}{kind or 'whole':<8}{found[format, kind]:>6,} of {num:>6,}")  # noqa: T201
    print(f"damaged films: {sum(num for (_, kind), num in total.items() if kind):,}")  # noqa: T201
    assert not wrong, wrong[:9]


@pytest.mark.fuzz
def test_holes_and_cuts_of_drawn_films_are_found(tmp_path: Path) -> None:
    count_found(draw_films(), tmp_path)


@pytest.mark.fuzz
def test_holes_and_cuts_of_real_films_are_found(tmp_path: Path) -> None:
    if not (DATA / FOLDERS[0]).is_dir():
        pytest.skip("the real films are not here")
    count_found(read_films(), tmp_path)
