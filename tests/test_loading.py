"""The lines by which README and the manual load an encoder: run as they are printed."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from cxrssl.core.workspace import Workspace
from cxrssl.export.proof import draw_films
from cxrssl.export.run import LIBRARIES
from cxrssl.images.decode import decode_letterboxed
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.settings import BACKBONES, ViewSettings
from cxrssl.views.resample import whole_views
from tests.export.encoders import publish_run
from tests.pages import PAGES, table_rows

RUN = "cxrssl-workspace/runs/RUN/encoder"


def code_blocks(page: str) -> list[str]:
    """Return the indented blocks of Python of a page, as one would paste them."""
    blocks = re.findall(r"(?:^(?:    .*|)\n)+", PAGES[page], re.M)
    code = [textwrap.dedent(block).strip("\n") for block in blocks]
    return [block for block in code if re.search(r"^(import|from) ", block, re.M)]


def publish_weights(folder: Path, backbone: str, patch_px: int = 16, image_px: int = 224) -> Any:
    """Write the weights of a new encoder where the lines look for them, and return it."""
    (folder / RUN).mkdir(parents=True)
    encoder = build_encoder(backbone, patch_px, image_px).eval()
    save_file(encoder.state_dict(), folder / RUN / "encoder.safetensors")
    return encoder


@pytest.mark.parametrize("page", ["README", "loading"])
def test_three_lines_give_the_features_of_a_film(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = publish_run(Workspace(tmp_path / "cxrssl-workspace"), "RUN")
    Image.fromarray(draw_films()[0]).save("film.png")
    names: dict[str, Any] = {}
    exec(code_blocks(page)[0], names)
    assert torch.allclose(names["features"], encode_views(module, names["prepare"]("film.png")), atol=1e-5)


def test_the_printed_lines_give_the_features_of_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = publish_weights(tmp_path, "vit-tiny")
    names: dict[str, Any] = {}
    exec(code_blocks("loading")[1], names)
    films = torch.randn(2, 1, 224, 224)
    with torch.no_grad():
        assert torch.allclose(names["model"](films), encode_views(encoder, films), atol=1e-5)


def test_the_printed_preparation_gives_nearly_the_pixels_that_the_program_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    publish_weights(tmp_path, "vit-tiny")
    soft = np.kron(np.random.default_rng(0).integers(0, 256, (30, 24)), np.ones((16, 16))).astype(np.uint8)
    Image.fromarray(soft).save("film.jpg", quality=95)
    names: dict[str, Any] = {}
    for block in code_blocks("loading")[1:]:
        exec(block, names)
    assert names["features"].shape == (1, 192)
    packed = decode_letterboxed(Path("film.jpg"), tmp_path, 320)
    boxes = torch.tensor([packed.box], dtype=torch.float32)
    seen = whole_views(torch.from_numpy(packed.pixels_SS)[None], boxes, ViewSettings())
    assert (names["prepare"]("film.jpg") - seen[0]).abs().mean() < 0.1


ROWS = {row[0].strip("`"): row[1] for row in table_rows(PAGES["loading"])}
ARGUMENTS = {name: text for name, text in ROWS.items() if text.startswith('"')}


def test_every_backbone_has_its_line() -> None:
    assert set(ARGUMENTS) == {*BACKBONES, "timm:NAME"}


def test_every_format_has_its_line() -> None:
    assert set(LIBRARIES) == {name for name in ROWS if name.isalnum() and name not in ARGUMENTS}


@pytest.mark.parametrize("backbone", ARGUMENTS)
def test_the_arguments_of_a_backbone_make_what_the_program_makes(backbone: str) -> None:
    name = "vit_tiny_patch16_224"
    encoder: Any = build_encoder(backbone.replace("NAME", name), 16, 224).eval()
    arguments = ARGUMENTS[backbone].replace("NAME", name)
    names: dict[str, Any] = {"timm": timm}
    exec(f"model = timm.create_model({arguments}, in_chans=1, num_classes=0).eval()", names)
    names["model"].load_state_dict(encoder.state_dict())
    films = torch.randn(1, 1, 224, 224)
    with torch.no_grad():
        assert torch.allclose(names["model"](films), encode_views(encoder, films), atol=1e-5)
