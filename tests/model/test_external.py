"""Encoders of others: features equal those of the library they come from, and every tensor is accounted for.

`external/` holds models of transformers 4.57.6 with two layers of width 16 and random weights, as `save_pretrained`
writes them, and beside each one a film and its class token after the final norm, computed by transformers.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cxrssl.core.errors import CxrsslError, DataError, UsageError
from cxrssl.model.external import ExternalChoices, _build_from_config, open_external

HERE = Path(__file__).parent / "external"
HEADS = ("vit", "dinov2", "dinov2_with_registers")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
Tensors = dict[str, Tensor]


def encode(choices: ExternalChoices, films: Tensor) -> Tensor:
    """Return features of whole uint8 films [B, S, S]."""
    encoder, _ = open_external(choices)
    side = films.shape[-1]
    return encoder.encode_films(films, torch.tensor([[0.0, 0.0, side, side]]).expand(len(films), 4))


@pytest.mark.parametrize("name", HEADS)
def test_a_folder_of_hugging_face_gives_the_features_that_its_library_gives(name: str) -> None:
    known = load_file(HERE / f"{name}.safetensors")
    pooler = ("pooler*",) if name == "vit" else ()
    choices = ExternalChoices(HERE / name, ignore=pooler)
    torch.testing.assert_close(encode(choices, known["film"]), known["class_token"], rtol=1e-4, atol=1e-5)
    _, source = open_external(choices)
    assert source.format == "huggingface"
    assert (source.input_px, source.pixel_mean, source.pixels_from) == (
        16,
        "0.485, 0.456, 0.406",
        "preprocessor_config.json",
    )
    assert set(source.ignored) == {
        n for n in load_file(HERE / name / "model.safetensors") if "mask" in n or "pool" in n
    }


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Path, Any]:
    """A ViT-tiny of timm for colour, with random weights, in a file."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    save_file(model.state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors", model


def test_a_file_of_timm_gives_the_features_that_timm_gives_of_the_film_in_three_channels(
    tiny: tuple[Path, Any],
) -> None:
    path, model = tiny
    films = torch.randint(0, 256, (2, 224, 224), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    with torch.no_grad():
        wanted = model(((films[:, None] / 255).expand(2, 3, 224, 224) - mean) / std)
    choices = ExternalChoices(path, "vit_tiny_patch16_224", pixel_mean=MEAN, pixel_std=STD)
    torch.testing.assert_close(encode(choices, films), wanted, rtol=1e-4, atol=1e-5)
    _, source = open_external(choices)
    assert (source.format, source.num_tensors, source.pixel_std) == ("timm", len(model.state_dict()), "0.2, 0.25, 0.3")


def test_without_other_word_the_pixels_are_those_of_timms_entry(tiny: tuple[Path, Any]) -> None:
    _, source = open_external(ExternalChoices(tiny[0], "vit_tiny_patch16_224"))
    assert (source.pixel_mean, source.pixel_std, source.input_px) == ("0.5, 0.5, 0.5", "0.5, 0.5, 0.5", 224)
    assert source.pixels_from == "timm's entry vit_tiny_patch16_224.augreg_in21k_ft_in1k"


def test_a_folder_of_timm_says_architecture_and_pixels_itself(tiny: tuple[Path, Any]) -> None:
    path, _ = tiny
    said = {
        "architecture": "vit_tiny_patch16_224",
        "pretrained_cfg": {"mean": [0.1], "std": [0.2], "input_size": [3, 64, 64]},
    }
    (path.parent / "config.json").write_text(json.dumps(said))
    _, source = open_external(ExternalChoices(path.parent))
    assert (source.pixel_mean, source.input_px, source.pixels_from) == ("0.1", 64, "config.json")


def test_another_size_than_the_trained_one_is_seen_with_resampled_positions(tiny: tuple[Path, Any]) -> None:
    films = torch.randint(0, 256, (1, 96, 96), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    wanted = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True, in_chans=3).eval()
    wanted.load_state_dict(tiny[1].state_dict())
    with torch.no_grad():
        expected = wanted((films[:, None] / 255).expand(1, 3, 96, 96).sub(0.5).div(0.5))
    found = encode(ExternalChoices(tiny[0], "vit_tiny_patch16_224", input_px=96), films)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def drop(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def add(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: torch.zeros(3)}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (drop("blocks.3.attn.proj.bias"), "vit_tiny_patch16_224 are not in the file: blocks.3.attn.proj.bias"),
        (drop("norm.weight"), "are not in the file: norm.weight"),
        (add("head.weight"), "1 tensor of the file have no place in vit_tiny_patch16_224: head.weight"),
        (add("blocks.0.norm1.bias"), "blocks.0.norm1.bias is [3], not [192]"),
        (lambda t: {**t, "norm.bias": t["norm.bias"] * torch.nan}, "weights are not finite: norm.bias"),
        (lambda t: {f"{who}.{k}": v for k, v in t.items() for who in ("ema", "net")}, "the file holds 2 encoders"),
        (drop("cls_token"), "no tensor is a class token"),
        (drop("pos_embed"), "no learned positions"),
        (lambda t: {**t, "pos_embed": t["pos_embed"][:, :-2]}, "195 positions are of no square grid"),
    ],
)  # fmt: skip
def test_a_tensor_that_is_missing_or_too_many_is_named(
    tiny: tuple[Path, Any], change: Callable[[Tensors], Tensors], what: str
) -> None:
    save_file({name: value.clone() for name, value in change(load_file(tiny[0])).items()}, tiny[0])
    with pytest.raises(DataError) as caught:
        open_external(ExternalChoices(tiny[0], "vit_tiny_patch16_224"))
    assert what in caught.value.what


def test_what_is_no_part_of_the_encoder_is_left_out_by_name_and_recorded(tiny: tuple[Path, Any]) -> None:
    path, _ = tiny
    save_file({**{f"teacher.{k}": v for k, v in load_file(path).items()}, "head.weight": torch.zeros(2)}, path)
    _, source = open_external(ExternalChoices(path, "vit_tiny_patch16_224", ignore=("head*",)))
    assert source.ignored == ("head.weight",)
    with pytest.raises(UsageError, match="no tensor fits --ignore 'fc"):
        open_external(ExternalChoices(path, "vit_tiny_patch16_224", ignore=("fc*", "head*")))


def test_the_same_weights_under_other_pixels_or_sizes_are_another_function(tiny: tuple[Path, Any]) -> None:
    name = "vit_tiny_patch16_224"
    first, second = (
        open_external(ExternalChoices(tiny[0], name, pixel_mean=(m,), pixel_std=(0.5,)))[0] for m in (0.4, 0.5)
    )
    assert first.weights_sha256 != second.weights_sha256


@pytest.mark.parametrize(
    ("choices", "what"),
    [
        ({"arch": ""}, "the file does not say its architecture"),
        ({"arch": "vit_tiny_patch16_225"}, 'timm has no vision transformer "vit_tiny_patch16_225"'),
        ({"arch": "vit_tiny_patch16_224.none"}, "Invalid pretrained tag (none)"),
        ({"arch": "vit-tiny"}, "nothing says how the encoder's pixels were normalised"),
        ({"pixel_mean": (0.5,)}, "mean and deviation of the pixels belong together"),
        ({"pixel_mean": (0.5,), "pixel_std": (0.0,)}, "mean and deviation of the pixels cannot be used"),
        ({"pixel_mean": (math.nan,), "pixel_std": (0.5,)}, "mean and deviation of the pixels cannot be used"),
        ({"pixel_mean": (0.5,), "pixel_std": (math.inf,)}, "mean and deviation of the pixels cannot be used"),
        ({"pixel_mean": (123.7,), "pixel_std": (58.4,)}, "mean and deviation of the pixels cannot be used"),
        ({"pixel_mean": (0.5, 0.5), "pixel_std": (0.5, 0.5)}, "the encoder has 3 channels, and 2 means are given"),
        ({"input_px": 100}, "the encoder cannot see films of 100 px"),
        ({"arch": "vit_small_patch16_224"}, "have another shape than in vit_small_patch16_224"),
    ],
)
def test_what_the_user_says_wrongly_is_one_sentence(tiny: tuple[Path, Any], choices: dict[str, Any], what: str) -> None:
    with pytest.raises(CxrsslError) as caught:
        open_external(ExternalChoices(tiny[0], **{"arch": "vit_tiny_patch16_224", **choices}))
    assert what in caught.value.what


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"model_type": "swin"}, 'a model "swin" that is not known'),
        ({"hidden_act": "relu"}, "another hidden layer than GELU's"),
        ({"hidden_size": "wide"}, "config.json cannot be used"),
        ({"num_attention_heads": 3}, "3 heads at width 16"),
        ({"num_hidden_layers": 1}, "no place in dinov2 16 x 1"),
        ({"num_hidden_layers": 10**9}, "config.json asks for "),
        ({"hidden_size": 160_000}, "config.json asks for "),
        ({"mlp_ratio": 1e9}, "config.json asks for "),
        ({"mlp_ratio": math.nan}, "config.json cannot be used"),
        ({"mlp_ratio": math.inf}, "config.json cannot be used"),
        ({"layer_norm_eps": -1}, "config.json cannot be used"),
        ({"layer_norm_eps": None}, "config.json cannot be used"),
    ],
)
def test_a_config_that_is_of_another_model_is_refused(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    folder = shutil.copytree(HERE / "dinov2", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(DataError) as caught:
        open_external(ExternalChoices(folder))
    assert what in caught.value.what


def test_files_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    for name, what in (("w.pth", "pickles, which can run programs"), ("w.safetensors", "no whole safetensors file")):
        (tmp_path / name).write_bytes(b"\x80\x02}q")
        with pytest.raises(DataError, match=what):
            open_external(ExternalChoices(tmp_path / name, "vit_tiny_patch16_224"))
    with pytest.raises(DataError, match="there is no such file"):
        open_external(ExternalChoices(tmp_path / "gone"))
    with pytest.raises(DataError, match="neither a file nor a folder"):
        open_external(ExternalChoices(Path(os.devnull)))
    with open(tmp_path / "huge.safetensors", "wb") as file:
        file.truncate(2**34 + 1)
    with pytest.raises(DataError, match="the file has 16 GiB, and an encoder at most 16"):
        open_external(ExternalChoices(tmp_path / "huge.safetensors", "vit_tiny_patch16_224"))
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x02}q")
    with pytest.raises(DataError, match="pickles, which can run programs"):
        open_external(ExternalChoices(tmp_path / "pickled"))
    (tmp_path / "shards").mkdir()
    with pytest.raises(DataError, match="does not hold one safetensors file: none"):
        open_external(ExternalChoices(tmp_path / "shards"))


@pytest.mark.parametrize(
    ("args", "refused"),
    [
        ({"num_heads": 6, "embed_dim": 192, "depth": 12, "patch_size": 16}, ""),
        ({"img_size": 32, "num_classes": 3}, ""),
        ({"num_heads": 5}, "num_heads"),
        ({"depth": 10**9}, "depth"),
        ({"act_layer": "relu", "num_heads": 6}, "act_layer"),
    ],
)
def test_a_folder_of_timm_may_change_the_heads_and_nothing_that_the_weights_do_not_bear_out(
    tiny: tuple[Path, Any], args: dict[str, Any], refused: str
) -> None:
    # Six heads have the weights of three, and give other features.
    said = {"mean": [0.5], "std": [0.5], "input_size": [3, 32, 32]}
    config = {"architecture": "vit_tiny_patch16_224", "pretrained_cfg": said, "model_args": args}
    (tiny[0].parent / "config.json").write_text(json.dumps(config))
    if refused:
        with pytest.raises(DataError, match=f"changes the architecture that it names: {refused} "):
            open_external(ExternalChoices(tiny[0].parent))
    else:
        encoder, source = open_external(ExternalChoices(tiny[0].parent))
        block: Any = encoder.module.blocks[0]
        assert (source.input_px, block.attn.num_heads) == (32, args.get("num_heads", 3))


@pytest.mark.parametrize(("hidden", "width"), [(61, 14), (30, 22)])
def test_a_hidden_layer_of_any_width_is_built(tmp_path: Path, hidden: int, width: int) -> None:
    # 14 (61 / 14) is just under 61 in floating point.
    config = json.loads((HERE / "vit" / "config.json").read_text())
    config |= {"hidden_size": width, "intermediate_size": hidden, "num_attention_heads": 2}
    tensors = {"pos_embed": torch.zeros(1, 17, width), "patch_embed.proj.weight": torch.zeros(width, 3, 4, 4)}
    module, _ = _build_from_config(config, 4, 4, {**tensors, "more": torch.zeros(10**5)}, tmp_path / "x")
    assert module.state_dict()["blocks.0.mlp.fc1.weight"].shape == (hidden, width)


def test_pixels_that_are_not_rescaled_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(HERE / "dinov2", tmp_path / "model")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_rescale": False}))
    with pytest.raises(DataError, match="its do_rescale is false"):
        open_external(ExternalChoices(folder))
