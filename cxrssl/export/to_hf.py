"""A folder of Hugging Face: `transformers.ViTMSNModel.from_pretrained(FOLDER)`.

Never: a weight that ViTMSN has no place for, left out; or a connection: the folder is read as it lies there.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from cxrssl.core.errors import DataError
from cxrssl.export.bundle import WEIGHTS, Bundle, Reloaded, need_library

BLOCK = r"blocks\.(\d+)\."
LAYER = r"encoder.layer.\1."
RENAMED = (
    (r"cls_token", "embeddings.cls_token"),
    (r"pos_embed", "embeddings.position_embeddings"),
    (r"patch_embed\.proj\.(weight|bias)", r"embeddings.patch_embeddings.projection.\1"),
    (r"norm\.(weight|bias)", r"layernorm.\1"),
    (BLOCK + r"norm1\.(weight|bias)", LAYER + r"layernorm_before.\2"),
    (BLOCK + r"norm2\.(weight|bias)", LAYER + r"layernorm_after.\2"),
    (BLOCK + r"attn\.(query|key|value)\.(weight|bias)", LAYER + r"attention.attention.\2.\3"),
    (BLOCK + r"attn\.proj\.(weight|bias)", LAYER + r"attention.output.dense.\2"),
    (BLOCK + r"mlp\.fc1\.(weight|bias)", LAYER + r"intermediate.dense.\2"),
    (BLOCK + r"mlp\.fc2\.(weight|bias)", LAYER + r"output.dense.\2"),
)
"""timm's name of a tensor -> that of ViTMSN; queries, keys and values are parted before."""


def check() -> None:
    """Raise SetupError without transformers."""
    need_library("transformers")


def write(bundle: Bundle) -> dict[str, bytes]:
    """Return config.json, preprocessor_config.json and the weights."""
    tensors = rename(bundle)
    return {
        "config.json": json.dumps(make_config(bundle), indent=1).encode(),
        "preprocessor_config.json": json.dumps(make_processor(bundle), indent=1).encode(),
        WEIGHTS: save(tensors, bundle.shape.header),
    }


def rename(bundle: Bundle) -> dict[str, Tensor]:
    """Return the weights under the names of ViTMSN. Raises: DataError for one that it has no place for."""
    parted: dict[str, Tensor] = {}
    for name, tensor in bundle.tensors.items():
        block, is_qkv, kind = name.partition("attn.qkv.")
        parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True) if is_qkv else ()
        parted |= {f"{block}attn.{part}.{kind}": value.contiguous() for part, value in parts} or {name: tensor}
    names = {name: _rename(name) for name in parted}
    strangers = sorted(name for name, new in names.items() if not new)
    norm: Any = bundle.encoder.module.norm
    if strangers or not isinstance(norm, nn.LayerNorm):
        what = f"transformers' ViTMSN has no place for {strangers[0] if strangers else 'another norm than LayerNorm'}"
        raise DataError(f"{what} of {bundle.shape.backbone}", hint="export it to timm, safetensors or onnx")
    return {names[name]: tensor for name, tensor in parted.items()}


def _rename(name: str) -> str:
    for pattern, new in RENAMED:
        if match := re.fullmatch(pattern, name):
            return match.expand(new)
    return ""


def make_config(bundle: Bundle) -> dict[str, Any]:
    """Return the config of ViTMSN, the number of heads in it."""
    shape = bundle.shape
    return {
        "architectures": ["ViTMSNModel"],
        "model_type": "vit_msn",
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.hidden,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": shape.norm_eps,
        "image_size": shape.image_px,
        "patch_size": shape.patch_px,
        "num_channels": shape.channels,
        "qkv_bias": True,
        "dtype": "float32",
    }


def make_processor(bundle: Bundle) -> dict[str, Any]:
    """Return what transformers' own processor can say of the pixels: not how a film is scaled and padded."""
    shape, pixels = bundle.shape, bundle.pixels
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [pixels.mean] * shape.channels,
        "image_std": [pixels.std] * shape.channels,
        "size": {"height": shape.image_px, "width": shape.image_px},
    }


def load(folder: Path) -> Reloaded:
    """Return the encoder as transformers builds it, in double precision."""
    library: Any = importlib.import_module("transformers")
    with _quiet(library):
        model, report = library.ViTMSNModel.from_pretrained(
            str(folder), local_files_only=True, output_loading_info=True, dtype=torch.float64
        )
    faults = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if faults:
        kind, names = next(iter(faults.items()))
        raise DataError(f"transformers does not take the weights as they are: {kind}: {', '.join(names[:3])}", folder)
    model.eval()

    def encode(films: Tensor) -> Tensor:
        features: Tensor = model(pixel_values=films).last_hidden_state[:, 0]
        return features

    return encode


@contextlib.contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Let transformers show no bars and say nothing but errors."""
    logging = library.utils.logging
    before, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if had_bars:
            logging.enable_progress_bar()


def usage(bundle: Bundle) -> str:
    """Return the lines that load it."""
    return """\
import torch, transformers
model = transformers.ViTMSNModel.from_pretrained(".", local_files_only=True).eval()
features = model(pixel_values=torch.from_numpy(views)).last_hidden_state[:, 0]"""
