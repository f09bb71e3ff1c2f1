"""A folder of timm: `timm.create_model("local-dir:FOLDER", pretrained=True)` builds it with the right heads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
from safetensors.torch import save

from cxrssl.export.bundle import WEIGHTS, Bundle, Reloaded, timm_name

ARCHITECTURE = "vit_tiny_patch16_224"
"""timm's entry that our own backbones are written as; `model_args` then says all that it decides."""


def check() -> None:
    """Do nothing: timm is always there."""


def write(bundle: Bundle) -> dict[str, bytes]:
    """Return config.json and the weights."""
    weights = save(bundle.tensors, bundle.shape.header)
    return {"config.json": json.dumps(make_config(bundle), indent=1).encode(), WEIGHTS: weights}


def make_config(bundle: Bundle) -> dict[str, Any]:
    """Return timm's description of the encoder; its `model_args` name the number of heads."""
    shape, pixels = bundle.shape, bundle.pixels
    args = {"in_chans": shape.channels, "num_classes": 0, "img_size": shape.image_px, "global_pool": "token"}
    name = timm_name(shape.backbone)
    if name:
        args |= {"fc_norm": False}
    else:
        args |= {"embed_dim": shape.width, "depth": shape.depth, "num_heads": shape.heads, "patch_size": shape.patch_px}
    size = [shape.channels, shape.image_px, shape.image_px]
    pretrained = {
        "architecture": name or ARCHITECTURE,
        "num_classes": 0,
        "input_size": size,
        "fixed_input_size": True,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "border",
        "mean": [pixels.mean] * shape.channels,
        "std": [pixels.std] * shape.channels,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "license": "other",
    }
    return {
        "architecture": name or ARCHITECTURE,
        "num_classes": 0,
        "num_features": shape.width,
        "global_pool": "token",
        "model_args": args,
        "pretrained_cfg": pretrained,
    }


def load(folder: Path) -> Reloaded:
    """Return the encoder as timm builds it, in double precision."""
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval().double()
    return lambda films: model(films)


def usage(bundle: Bundle) -> str:
    """Return the lines that load it."""
    return """\
import timm, torch
model = timm.create_model("local-dir:.", pretrained=True).eval()
features = model(torch.from_numpy(views))"""
