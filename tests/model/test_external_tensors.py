"""Every tensor of an encoder of others has its part in the features, and one of another function is refused by name.

The small models of `external/` have the layouts of ViT and DINOv2: layer scale, register tokens, positions for them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cxrssl.core.errors import DataError, UsageError
from cxrssl.model.external import ExternalChoices, open_external
from cxrssl.model.vit import encode_views
from tests.model.test_external import HERE, Tensors, drop

LAYER = "encoder.layer.1."
NAMES = ("vit", "dinov2", "dinov2_with_registers")


def copy_model(name: str, tmp_path: Path, tensors: Tensors | None = None, header: dict[str, str] | None = None) -> Path:
    """Return a copy of a small model, its tensors or the header of their file changed."""
    folder = shutil.copytree(HERE / name, tmp_path / name)
    found = load_file(folder / "model.safetensors") if tensors is None else tensors
    save_file({key: value.clone() for key, value in found.items()}, folder / "model.safetensors", header)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_has_its_part_in_the_features(name: str) -> None:
    ignored = ("pooler*",) if name == "vit" else ()
    encoder, source = open_external(ExternalChoices(HERE / name, ignore=ignored))
    module: Any = encoder.module.double().requires_grad_(True)
    films = torch.rand(2, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    encode_views(module, films).square().sum().backward()
    without = [key for key, weight in module.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []
    assert source.num_tensors == len(module.state_dict())
    tensors = load_file(HERE / name / "model.safetensors")
    joined = 4 * sum(key.endswith("query.weight") for key in tensors)  # queries, keys and values become one
    assert source.num_tensors == len(tensors) - len(source.ignored) - joined


@pytest.mark.parametrize(
    ("name", "lost", "what"),
    [
        ("dinov2", f"{LAYER}layer_scale1.lambda1", "are not in the file: blocks.1.ls1.gamma"),
        ("dinov2", f"{LAYER}norm2.bias", "are not in the file: blocks.1.norm2.bias"),
        ("dinov2", f"{LAYER}attention.attention.key.bias", "are not in the file: blocks.1.attn.qkv.bias"),
        ("dinov2", "layernorm.bias", "are not in the file: norm.bias"),
        ("dinov2", "embeddings.position_embeddings", "no learned positions"),
        ("dinov2_with_registers", "embeddings.register_tokens", "are not in the file: reg_token"),
    ],
)
def test_a_file_that_lacks_a_tensor_of_dinov2_is_refused_by_name(
    tmp_path: Path, name: str, lost: str, what: str
) -> None:
    tensors = load_file(HERE / name / "model.safetensors")
    assert lost in tensors
    with pytest.raises(DataError) as caught:
        open_external(ExternalChoices(copy_model(name, tmp_path, drop(lost)(tensors))))
    assert what in caught.value.what


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ({"heads": "4"}, "the file says 4 heads, dinov2 16 x 2, 2 heads, eps 1e-06 has 2"),
        ({"norm_eps": "1e-05"}, "the file says 1e-05 as epsilon of its norms, dinov2 16 x 2"),
        ({"heads": "many"}, "the file says many heads"),
    ],
)
def test_a_file_of_other_heads_or_another_normalisation_is_refused_by_name(
    tmp_path: Path, header: dict[str, str], what: str
) -> None:
    with pytest.raises(DataError) as caught:
        open_external(ExternalChoices(copy_model("dinov2", tmp_path, header=header)))
    assert what in caught.value.what


def test_a_file_whose_header_agrees_or_says_nothing_of_it_is_taken(tmp_path: Path) -> None:
    headers: tuple[dict[str, str], ...] = ({"format": "pt"}, {"heads": "2", "norm_eps": "1e-06"})
    for number, header in enumerate(headers):
        folder = copy_model("dinov2", tmp_path / str(number), header=header)
        assert open_external(ExternalChoices(folder))[1].num_tensors > 20


def test_pixels_that_nothing_describes_are_not_guessed(tmp_path: Path) -> None:
    folder = copy_model("dinov2", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UsageError, match="nothing says how the encoder's pixels were normalised"):
        open_external(ExternalChoices(folder))
