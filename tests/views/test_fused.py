"""The fused kernel, as Triton's interpreter runs it on the CPU, cuts the views of the plain path."""

from __future__ import annotations

import dataclasses
import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrssl.recipe.settings import ViewSettings
from cxrssl.views.draw import CutKinds, cut_kinds, make_views
from cxrssl.views.plan import ViewKind, ViewPlan

SIZE_PX = 50
MAX_GREY = 1e-3
"""Of 255; float32 sums of the same pixels in another order differ by 4e-5 at most."""
SETTINGS = ViewSettings(global_px=24, focal_px=20, pixel_mean=0.4, pixel_std=0.2)


ASSEMBLE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from cxrssl.views.fused import TILE, _cut

types = ["*u8", "*fp32", "*fp32", "*fp32", "i32", "i32", "fp32", "fp32", *["constexpr"] * 4]
source = ASTSource(
    _cut,
    signature=dict(zip(_cut.arg_names, types)),
    constexprs=dict(zip(_cut.arg_names[8:], (224, 3, *TILE))),
)
print(len(triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]))
"""
"""In a process of its own, where Triton does not interpret."""


@pytest.fixture(scope="module")
def cut_fused() -> CutKinds:
    """Skip where Triton is not installed, as on machines without CUDA's build of torch."""
    pytest.importorskip("triton")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        patch.delitem(sys.modules, "cxrssl.views.fused", raising=False)
        found: CutKinds = importlib.import_module("cxrssl.views.fused").cut_kinds_fused
    return found


def cut(settings: ViewSettings, purposes: Sequence[str], cut: CutKinds) -> list[torch.Tensor]:
    """Return the views of three films whose valid boxes are the whole film, a part of it, and a strip."""
    films = torch.randint(0, 256, (3, SIZE_PX, SIZE_PX), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[0.0, 0.0, 50.0, 50.0], [5.0, 10.0, 40.0, 30.0], [25.0, 0.0, 6.0, 50.0]])
    kinds = {
        "target": ViewKind("target", 1, settings.global_px, settings.global_scale),
        "focal": ViewKind("focal", 2, settings.focal_px, settings.focal_scale),
    }
    plan = ViewPlan(tuple(kinds[purpose] for purpose in purposes), settings, 4)
    return [view.pixels_BV1PP for view in make_views(films, valid, plan, 3, 5, cut=cut).values()]


@pytest.mark.parametrize(
    ("kinds", "changes"),
    [
        (("target", "focal"), {}),
        (("focal",), {"contrast": 0.3, "brightness": 0.2}),
    ],
    ids=["plain", "changed"],
)
def test_fused_views_are_those_of_the_plain_path_to_a_thousandth_of_a_grey_level(
    cut_fused: CutKinds, kinds: tuple[str, ...], changes: dict[str, Any]
) -> None:
    settings = dataclasses.replace(SETTINGS, **changes)
    found, wanted = (cut(settings, kinds, each) for each in (cut_fused, cut_kinds))
    for fused, plain in zip(found, wanted, strict=True):
        assert fused.shape == plain.shape
        assert plain.std() > 0.1
        assert (fused - plain).abs().max() * SETTINGS.pixel_std * 255 < MAX_GREY


def test_a_box_outside_the_film_is_black_in_both(cut_fused: CutKinds) -> None:
    films, valid = torch.full((1, 30, 30), 200, dtype=torch.uint8), torch.tensor([[5.0, 5.0, 20.0, 20.0]])
    boxes = torch.tensor([-10.0, 8.0, 60.0, 30.0, 0.0, 1.0, 0.0, 0.0])[:, None, None]
    kinds = [ViewKind("random", 1, 24, (0.3, 1.0))]
    (fused,), (plain,) = (each(films, valid, kinds, [boxes], SETTINGS) for each in (cut_fused, cut_kinds))
    black = -SETTINGS.pixel_mean / SETTINGS.pixel_std
    assert torch.equal(fused == black, plain == black)
    assert (plain == black).any()
    assert (fused - plain).abs().max() * SETTINGS.pixel_std * 255 < MAX_GREY


def test_turned_views_are_refused(cut_fused: CutKinds) -> None:
    with pytest.raises(AssertionError, match="cut by resample"):
        cut(dataclasses.replace(SETTINGS, rotation_deg=5.0), ["focal"], cut_fused)


def test_the_kernel_is_assembled_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ASSEMBLE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 0
