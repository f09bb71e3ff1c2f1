"""The proof of an export: drawn films through the program's evaluation and through what was written.

In: a bundle, and the encoder as the target library has loaded it from the folder. Out: Proof.
Never: a real film, or an export that is kept although its features differ.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrssl.core.errors import DataError
from cxrssl.export.bundle import PIXELS, Bundle, Reloaded, copy_module
from cxrssl.export.preprocess import Preprocessing
from cxrssl.images.decode import letterbox
from cxrssl.model.vit import encode_views
from cxrssl.synthetic import FilmKey, draw_film
from cxrssl.views.resample import whole_views

MAX_DIFFERENCE = 1e-5
SINGLE = "onnxruntime"
"""The one library that cannot compute in double precision."""
FILMS: tuple[tuple[str, int, int, dict[str, float]], ...] = (
    ("PA", 420, 350, {}),
    ("AP", 300, 380, {"Edema": 0.8}),
    ("LATERAL", 360, 300, {"Pleural Effusion": 0.6}),
)
"""View, rows, columns and findings of the films that are drawn: tall, wide and from the side."""


@dataclass(frozen=True)
class Proof:
    """What was compared, and how far it differs."""

    num_films: int
    difference: float
    """Largest difference of a feature."""
    largest: float
    """Largest feature."""
    libraries: dict[str, str]
    """Those that the export was loaded with, and their versions."""

    @property
    def holds(self) -> bool:
        """Whether the difference is at most 1e-5; in single precision at most 1e-5 of the largest feature above 1."""
        is_single = SINGLE in self.libraries
        return self.difference <= MAX_DIFFERENCE * (max(1.0, self.largest) if is_single else 1.0)  # nan does not

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "max_difference": MAX_DIFFERENCE}


def draw_films() -> list[NDArray[np.uint8]]:
    """Return the drawn films, uint8 [height, width] each, always the same."""
    return [
        draw_film(FilmKey(7, number, 1, 0, "F", 60, view, view == "AP", height, width), signs)
        for number, (view, height, width, signs) in enumerate(FILMS)
    ]


def prove(bundle: Bundle, folder: Path, reloaded: Reloaded, libraries: dict[str, str]) -> Proof:
    """Return the proof of an export in `folder`. Raises: DataError when the features differ."""
    films = draw_films()
    expected = evaluate_films(bundle, films)
    pixels = Preprocessing.read(folder / PIXELS)
    views = torch.from_numpy(np.concatenate([pixels.prepare(film) for film in films]))
    with torch.no_grad():
        found = reloaded(views.double())
    if found.shape != expected.shape:
        what = f"the exported encoder gives features {list(found.shape)}, the run's {list(expected.shape)}"
        raise DataError(what, folder, "nothing was written; please report it")
    difference = float((found - expected).abs().max())
    proof = Proof(len(films), difference, float(expected.abs().max()), libraries)
    if not proof.holds:
        what = f"the exported encoder gives other features: they differ by up to {difference:.1e}"
        raise DataError(what, folder, "nothing was written; please report it, with the versions of the libraries")
    return proof


def evaluate_films(bundle: Bundle, films: list[NDArray[np.uint8]]) -> Tensor:
    """Return the features of films as packing and evaluation make them, in double precision, [films, width]."""
    packed = [letterbox(film, bundle.pixels.pack_px) for film in films]
    squares = torch.from_numpy(np.stack([square for square, _ in packed]))
    boxes = torch.tensor([box for _, box in packed], dtype=torch.float32)
    views = whole_views(squares, boxes, bundle.encoder.recipe.views)
    with torch.no_grad():
        return encode_views(copy_module(bundle.encoder).double(), views.double())
