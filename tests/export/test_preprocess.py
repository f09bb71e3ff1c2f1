"""preprocess.py of an export: alone, with NumPy, the pixels that packing and evaluation make."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrssl.export import preprocess
from cxrssl.export.preprocess import Preprocessing
from cxrssl.images import decode
from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.resample import whole_views

SHAPES = [(400, 300), (48, 48), (1250, 1024), (301, 977), (1000, 17), (1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("pack_px", "view_px"), [(320, 224), (48, 32), (64, 96)])
def test_pixels_are_those_of_packing_and_evaluation(shape: tuple[int, int], pack_px: int, view_px: int) -> None:
    film = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    square, box = decode.letterbox(film, pack_px)
    found, place = preprocess.letterbox(film, pack_px)
    assert (found == square).all()
    assert place == box
    views = ViewSettings(global_px=view_px, pixel_mean=0.5, pixel_std=0.25)
    boxes = torch.tensor([box], dtype=torch.float32)
    expected = whole_views(torch.from_numpy(square)[None], boxes, views).numpy()
    prepared = Preprocessing(view_px, 0.5, 0.25, 3, pack_px).prepare(film)
    assert prepared.shape == (1, 3, view_px, view_px)
    assert prepared.dtype == np.float32
    assert np.abs(prepared - expected).max() < 2e-6


def test_the_file_needs_numpy_alone(tmp_path: Path) -> None:
    path = Path(preprocess.__file__)
    (tmp_path / "preprocess.py").write_bytes(path.read_bytes())
    (tmp_path / "preprocessing.json").write_text(json.dumps(Preprocessing(8, 0.5, 0.5).to_dict()))
    code = """
import sys, numpy as np
from preprocess import Preprocessing
print(Preprocessing.read("preprocessing.json").prepare(np.zeros((20, 10), np.uint8)).max())
print([name for name in ("torch", "PIL", "cxrssl", "pydicom") if name in sys.modules])
"""
    words = [sys.executable, "-c", code]
    shown = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert shown.splitlines() == ["-1.0", "[]"]


@pytest.mark.parametrize("film", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)])
def test_other_arrays_are_refused(film: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"a film is uint8 \[height, width\]"):
        Preprocessing(8, 0.5, 0.5).prepare(film)
