"""A frozen encoder that others trained, read from local files: safetensors, with or without a config.json beside them.

In: a file, or a folder of timm or Hugging Face (ViT, ViT-MAE, ViT-MSN, DINOv2). Out: an Encoder, and what is recorded
of it. Never: a network connection, a pickle, or a weight that was not in the file.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.core.errors import ConfigError, DataError, UsageError
from cxrssl.core.text import plain
from cxrssl.model.encoder import Encoder, pack_weights
from cxrssl.model.pixels import Pixels, choose_pixels
from cxrssl.model.tensors import HUGGINGFACE, NamedTensors, check_fit, check_header, fold_pixels, name_tensors
from cxrssl.model.vit import build_encoder
from cxrssl.recipe.settings import BACKBONES, TIMM_PREFIX, ModelSettings, Recipe, ViewSettings
from cxrssl.records.encoder import NOWHERE
from cxrssl.records.external import ExternalSource
from cxrssl.records.file import read_json

KNOWN_TYPES = ("vit", "vit_mae", "vit_msn", "dinov2", "dinov2_with_registers")
"""Of Hugging Face's config.json."""
SHAPE = ("hidden_size", "num_hidden_layers", "num_attention_heads")
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
CONVERT = "convert it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), OUT)"
WITHOUT_EFFECT = ("img_size", "in_chans", "num_classes", "global_pool", "fc_norm", "dynamic_img_size", "drop_rate")
"""Of timm's `model_args`: they change no feature, or the shapes of the weights say them."""
MAX_PX = 1024
MAX_BYTES = 2**34
"""More than any encoder of this kind has; the file is read whole."""


@dataclass(frozen=True)
class ExternalChoices:
    """What the user says of an external encoder."""

    path: Path
    """A safetensors file, or a folder with one and config.json."""
    arch: str = ""
    """Of a file without config.json: timm's name, or one of our own backbones."""
    input_px: int = 0
    """Side of the film as the encoder sees it; 0: as the files say."""
    pixel_mean: tuple[float, ...] = ()
    """One number, or one a channel; empty: as the files say."""
    pixel_std: tuple[float, ...] = ()
    ignore: tuple[str, ...] = ()
    """Patterns of tensors that are no part of the encoder."""


def open_external(choices: ExternalChoices) -> tuple[Encoder, ExternalSource]:
    """Return an external encoder for grey films, its normalisation folded into its first layer.

    Raises: UsageError, ConfigError and DataError, each in one sentence.
    """
    file, config = _find_files(choices.path)
    data = _read_file(file)
    named = name_tensors(_load(data, file), choices.ignore, file)
    module, architecture = _build(choices, config, named.tensors, file)
    check_header(data, module, architecture.removeprefix(TIMM_PREFIX), file)
    pixels = choose_pixels(choices.pixel_mean, choices.pixel_std, choices.arch, config, choices.path)
    _load_grey(module, named, pixels, architecture, file)
    _, patch_px = module.patch_embed.patch_size
    input_px = choices.input_px or pixels.input_px or module.patch_embed.img_size[0]
    if input_px % patch_px or not patch_px <= input_px <= MAX_PX:
        hint = f"name a multiple of its patches of {patch_px} px, up to {MAX_PX}: --input-px {16 * patch_px}"
        raise UsageError(f"the encoder cannot see films of {input_px} px", file, hint)
    recipe = Recipe(
        ModelSettings(architecture, patch_px),
        views=ViewSettings(global_px=input_px, pixel_mean=0.0, pixel_std=1.0),
    )
    frozen = module.eval().requires_grad_(False)
    encoder = Encoder(frozen, recipe, hashlib.sha256(pack_weights(frozen)).hexdigest(), NOWHERE)
    source = ExternalSource(
        format=named.format,
        architecture=architecture,
        file_sha256=hashlib.sha256(data).hexdigest(),
        num_tensors=len(named.tensors),
        ignored=named.ignored,
        input_px=input_px,
        pixel_mean=", ".join(f"{value:g}" for value in pixels.mean),
        pixel_std=", ".join(f"{value:g}" for value in pixels.std),
        pixels_from=pixels.source,
    )
    return encoder, source


def _find_files(path: Path) -> tuple[Path, dict[str, Any]]:
    """Return the safetensors file, and config.json and preprocessor_config.json as {"config": ..., "pixels": ...}."""
    if not path.exists():
        raise DataError("there is no such file or folder", path)
    if path.is_file():
        return path, {}
    if not path.is_dir():
        raise DataError("this is neither a file nor a folder", path)
    files = sorted(path.glob("*.safetensors"))
    if not files and (pickle := next((file for file in sorted(path.iterdir()) if file.suffix in PICKLES), None)):
        return pickle, {}  # refused as such
    if len(files) != 1:
        listed = ", ".join(plain(file.name, 60) for file in files[:4]) or "none"
        what = f"the folder does not hold one safetensors file: {listed}"
        raise DataError(what, path, "name the file itself, with --arch; shards have to be joined first")
    names = {"config": "config.json", "pixels": "preprocessor_config.json"}
    found = {key: read_json(path / name) for key, name in names.items() if (path / name).is_file()}
    if not all(isinstance(value, dict) for value in found.values()):
        raise DataError("config.json or preprocessor_config.json holds no table", path)
    return files[0], found


def _read_file(file: Path) -> bytes:
    if file.suffix in PICKLES:
        raise DataError(f"{file.suffix} files are pickles, which can run programs", file, CONVERT)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"the file has {size / 2**30:,.0f} GiB, and an encoder at most {MAX_BYTES >> 30}", file)
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read: {plain(error, 120)}", file) from None


def _load(data: bytes, file: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(f"this is no whole safetensors file: {plain(error, 120)}", file) from None
    return tensors


def _build(
    choices: ExternalChoices, config: dict[str, Any], tensors: dict[str, Tensor], file: Path
) -> tuple[VisionTransformer, str]:
    """Return an encoder of the right shape, its weights still to come, and its architecture in words."""
    values = config.get("config", {})
    said = str(values.get("architecture", ""))
    if values and choices.arch:
        raise UsageError("config.json says the architecture already", choices.path, "leave --arch out")
    grid = _find_grid(tensors, file)
    patch = tensors.get("patch_embed.proj.weight")
    if patch is None or patch.ndim != 4 or patch.shape[2] != patch.shape[3] or not patch.numel():
        raise DataError("the file has no embedding of square patches", file)
    patch_px = int(patch.shape[-1])
    if values and not said:
        return _build_from_config(values, patch_px, grid, tensors, file)
    args = _read_timm_args(values.get("model_args", {}), tensors, file)
    name = choices.arch or said
    if not name:
        raise UsageError("the file does not say its architecture", file, "name it: --arch vit_small_patch14_dinov2")
    backbone = name if name in BACKBONES else TIMM_PREFIX + name.partition(".")[0]
    try:
        module = build_encoder(backbone, patch_px, grid * patch_px, args)
        return module, " ".join([backbone, *(f"{key}={value}" for key, value in args.items())])
    except ConfigError as error:
        raise UsageError(error.what, file, "--arch names the architecture that the weights are of") from None


def _find_grid(tensors: dict[str, Tensor], file: Path) -> int:
    """Return the rows of the grid of patches that the positions are of."""
    position = tensors.get("pos_embed")
    if position is None or position.ndim != 3:
        raise DataError("the file has no learned positions", file)
    num_registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    for num_patches in (position.shape[1] - 1, position.shape[1], position.shape[1] - 1 - num_registers):
        rows = math.isqrt(max(num_patches, 0))
        if rows and rows * rows == num_patches:
            return rows
    raise DataError(f"{position.shape[1]:,} positions are of no square grid of patches", file)


def _read_timm_args(changes: Any, tensors: dict[str, Tensor], file: Path) -> dict[str, int]:
    """Return where a folder of timm changes the named architecture in width, depth, patches and heads.

    Raises: DataError for another change, or one that the weights do not bear out: no more memory is asked for than
    they take.
    """
    changed = set(changes) - set(WITHOUT_EFFECT) if isinstance(changes, dict) else {"model_args"}
    width, _, patch_px, _ = tensors["patch_embed.proj.weight"].shape
    depth = sum(name.endswith(".norm1.weight") for name in tensors)
    known = {"embed_dim": [width], "patch_size": [patch_px], "depth": [depth], "num_heads": range(1, width + 1)}
    wrong = sorted(str(key) for key in changed if key not in known or changes[key] not in known[key])
    if wrong or width % (changes.get("num_heads") or 1):
        what = f"config.json changes the architecture that it names: {plain(', '.join(wrong) or 'num_heads', 80)}"
        hint = "name the safetensors file itself, and with --arch an architecture that is so by itself"
        raise DataError(what, file.parent, hint)
    return {key: int(changes[key]) for key in sorted(changed)}


def _build_from_config(
    config: dict[str, Any], patch_px: int, grid: int, tensors: dict[str, Tensor], file: Path
) -> tuple[VisionTransformer, str]:
    """Return the encoder that a config.json of Hugging Face describes."""
    kind = config.get("model_type")
    if kind not in KNOWN_TYPES:
        hint = f"known are {', '.join(KNOWN_TYPES)}"
        raise DataError(f'config.json is of a model "{plain(kind, 60)}" that is not known', file.parent, hint)
    is_dino = str(kind).startswith("dinov2")
    if config.get("hidden_act", "gelu") != "gelu" or config.get("use_swiglu_ffn"):
        raise DataError("config.json asks for another hidden layer than GELU's", file.parent)
    try:
        width, depth, heads = (int(config[key]) for key in SHAPE)
        hidden = int(width * float(config.get("mlp_ratio", 4))) if is_dino else int(config["intermediate_size"])
        eps = float(config["layer_norm_eps"])
        num_registers = int(config.get("num_register_tokens", 4)) if kind == "dinov2_with_registers" else 0
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"config.json cannot be used: {plain(error, 80)}", file.parent) from None
    if min(width, depth, heads, hidden) < 1 or width % heads or num_registers < 0 or not 0 < eps < 1:
        raise DataError(f"config.json cannot be used: {depth} layers of {heads} heads at width {width}", file.parent)
    # Before they are made: a wrong number may ask for more memory than there is.
    wanted, found = depth * 2 * width * (2 * width + hidden), sum(tensor.numel() for tensor in tensors.values())
    if wanted + num_registers * width > 4 * found:
        raise DataError(f"config.json asks for {wanted:,} weights and more, the file has {found:,}", file.parent)
    module = VisionTransformer(
        img_size=grid * patch_px,
        patch_size=patch_px,
        in_chans=1,
        num_classes=0,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=(hidden + 0.5) / width,  # timm rounds its product with the width down
        qkv_bias=bool(config.get("qkv_bias", True)),
        init_values=1.0 if is_dino else None,
        reg_tokens=num_registers,
        no_embed_class=num_registers > 0,
        norm_layer=partial(nn.LayerNorm, eps=eps),
        dynamic_img_size=True,
    )
    return module, f"{kind} {width} x {depth}, {heads} heads, eps {eps:g}"


def _load_grey(module: VisionTransformer, named: NamedTensors, pixels: Pixels, architecture: str, file: Path) -> None:
    """Load all weights into the encoder, its first layer for one grey channel in [0, 1]."""
    tensors = dict(named.tensors)
    weight = tensors["patch_embed.proj.weight"]
    channels = weight.shape[1]
    if len(pixels.mean) not in (1, channels):
        what = f"the encoder has {channels} channels, and {len(pixels.mean)} means are given"
        raise UsageError(what, file, "give one number, or one a channel")
    mean, std = (values * channels if len(values) == 1 else values for values in (pixels.mean, pixels.std))
    grey = fold_pixels(weight, tensors.get("patch_embed.proj.bias"), mean, std)
    projection: Any = module.patch_embed.proj
    had_bias = projection.bias is not None
    tensors["patch_embed.proj.weight"] = grey[:, :-1].reshape(len(weight), 1, *weight.shape[2:])
    if had_bias == ("patch_embed.proj.bias" in tensors):
        # Without a bias of its own it gets one: the mean of the pixels has to go somewhere.
        projection.bias = nn.Parameter(torch.zeros(len(weight)))
        tensors["patch_embed.proj.bias"] = grey[:, -1]
    check_fit(tensors, module.state_dict(), _in_words(architecture, named.format), file)
    module.load_state_dict(tensors, strict=True)


def _in_words(architecture: str, names: str) -> str:
    return architecture if names == HUGGINGFACE else architecture.removeprefix(TIMM_PREFIX)
