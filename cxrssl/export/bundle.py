"""What every export is made from: an encoder, what turns its weights into a function, and how films enter it.

In: a published encoder. Out: Bundle, for all formats. Never: a number of heads that is left to a library's default.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import DataError, IntegrityError, SetupError
from cxrssl.export.preprocess import Preprocessing
from cxrssl.images.store import KIND as IMAGES
from cxrssl.model.encoder import Encoder
from cxrssl.model.tensors import spread_pixels
from cxrssl.model.vit import build_encoder
from cxrssl.recipe.settings import TIMM_PREFIX
from cxrssl.records.encoder import EncoderOrigin

CHANNELS = (1, 3)
EXTRA = "install it: pip install 'cxrssl[export]'"
PACK_PX = 320
"""Side of packed films where nothing says it."""
WEIGHTS, ABOUT, PIXELS = "model.safetensors", "encoder.json", "preprocessing.json"


@dataclass(frozen=True)
class Shape:
    """What turns weights into a function: encoder.json of an export."""

    backbone: str
    width: int
    depth: int
    heads: int
    """Weights do not say it, and another number gives other features without an error."""
    patch_px: int
    image_px: int
    hidden: int
    """Width of the hidden layer of an MLP."""
    norm_eps: float
    channels: int

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def header(self) -> dict[str, str]:
        """What the header of a file of weights says, so that the file alone says its heads."""
        return {"format": "pt", **{name: str(value) for name, value in self.to_dict().items()}}

    @property
    def in_words(self) -> str:
        """As in "vit-tiny-6h: width 192, depth 12, 6 heads, patches of 16 px, films of 224 px"."""
        size = f"width {self.width}, depth {self.depth}, {self.heads} heads"
        return f"{self.backbone}: {size}, patches of {self.patch_px} px, films of {self.image_px} px"


@dataclass(frozen=True)
class Bundle:
    """An encoder on its way out."""

    encoder: Encoder
    shape: Shape
    pixels: Preprocessing

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All weights under timm's names, the first layer for `channels`."""
        tensors = {name: value.detach().cpu().clone() for name, value in self.encoder.module.state_dict().items()}
        key = "patch_embed.proj.weight"
        return {**tensors, key: spread_pixels(tensors[key], self.shape.channels)}


class Reloaded(Protocol):
    """An exported encoder as its library has loaded it: float64 [films, channels, P, P] -> features [films, width]."""

    def __call__(self, films: Tensor) -> Tensor: ...


class Format(Protocol):
    """A module that writes encoders in one format, and reads them back with the library that the format is of."""

    def check(self) -> None:
        """Raise SetupError when a library is missing."""

    def write(self, bundle: Bundle) -> dict[str, bytes]:
        """Return name -> content of the files. Raises: DataError for an encoder that the format has no place for."""

    def load(self, folder: Any) -> Reloaded:
        """Return the encoder as a user of the library gets it."""

    def usage(self, bundle: Bundle) -> str:
        """Return the lines of Python that load the encoder from the current folder into `features`."""


def make_bundle(encoder: Encoder, channels: int, pack_px: int) -> Bundle:
    """Return what is exported of an encoder. Raises: DataError for blocks of unequal kinds."""
    module, recipe = encoder.module, encoder.recipe
    blocks = cast(Any, module.blocks)
    heads, hidden = ({int(read(block)) for block in blocks} for read in (_heads_of, _hidden_of))
    if len(heads) != 1 or len(hidden) != 1 or 0 in heads | hidden:
        hint = "export one of vit-tiny, vit-tiny-6h, vit-small, vit-base"
        raise DataError(f"the blocks of {recipe.model.backbone} are not all of one plain kind", hint=hint)
    shape = Shape(
        backbone=recipe.model.backbone,
        width=int(module.embed_dim),
        depth=len(blocks),
        heads=heads.pop(),
        patch_px=recipe.model.patch_px,
        image_px=recipe.views.global_px,
        hidden=hidden.pop(),
        norm_eps=float(cast(Any, module.norm).eps),
        channels=channels,
    )
    pixels = Preprocessing(shape.image_px, recipe.views.pixel_mean, recipe.views.pixel_std, channels, pack_px)
    return Bundle(encoder, shape, pixels)


def build_module(shape: Shape) -> VisionTransformer:
    """Return timm's module of this shape, its weights still to come; calling it gives the class token [films, width].

    Raises: ConfigError for a backbone that is not known here, DataError when it has other heads here.
    """
    module = build_encoder(shape.backbone, shape.patch_px, shape.image_px)
    if {_heads_of(block) for block in cast(Any, module.blocks)} != {shape.heads}:
        raise DataError(f"{shape.backbone} has another number of heads here than the {shape.heads} of the encoder")
    return take_class_token(module, shape.channels)


def take_class_token(module: VisionTransformer, channels: int) -> VisionTransformer:
    """Return a module that gives the class token when it is called, its first layer for so many channels."""
    module.global_pool = "token"
    old = cast(nn.Conv2d, module.patch_embed.proj)
    if channels != old.in_channels:
        new = nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, bias=old.bias is not None)  # type: ignore[arg-type]
        with torch.no_grad():
            new.weight.copy_(spread_pixels(old.weight, channels))
            if new.bias is not None and old.bias is not None:
                new.bias.copy_(old.bias)
        module.patch_embed.proj = new.to(old.weight)
    return module


def copy_module(encoder: Encoder) -> VisionTransformer:
    """Return the encoder's module, to be changed."""
    return copy.deepcopy(encoder.module).cpu()


def need_library(name: str) -> None:
    """Raise SetupError when a library of the extra `export` is not installed."""
    if importlib.util.find_spec(name) is None:
        raise SetupError(f"this format is proven with {name}, which is not installed", hint=EXTRA)


def timm_name(backbone: str) -> str:
    """Return the entry of timm that a backbone is built from, or "" for one of our own."""
    return backbone.removeprefix(TIMM_PREFIX) if backbone.startswith(TIMM_PREFIX) else ""


def _heads_of(block: Any) -> int:
    return int(getattr(getattr(block, "attn", None), "num_heads", 0))


def _hidden_of(block: Any) -> int:
    return int(getattr(getattr(getattr(block, "mlp", None), "fc1", None), "out_features", 0))


def find_pack_px(packs: Path, origin: EncoderOrigin) -> int:
    """Return the side of the packed films that an encoder was trained on, PACK_PX where they are not there any more.

    Those of several cohorts are of one size.
    """
    for each in origin.cohorts:
        try:
            artefact = open_artefact(packs / each.cohort, IMAGES, verify=False)
        except IntegrityError:
            continue
        if artefact.content_sha256 == each.images_sha256:
            return int(artefact.settings.get("size_px", PACK_PX))
    return PACK_PX
