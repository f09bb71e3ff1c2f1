"""Weights that are there, made into those that a recipe's encoder starts from: the same function of the film.

In: an encoder with the recipe that says how films enter it, a recipe. Out: a state dict that fits the recipe's encoder.
Never: a tensor that is left out, or weights of another architecture that happen to fit.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrssl.core.errors import UsageError
from cxrssl.core.text import plain
from cxrssl.model.encoder import Encoder
from cxrssl.model.objective import Objective
from cxrssl.model.tensors import PATCH_BIAS, PATCH_WEIGHT, renormalise_pixels
from cxrssl.model.vit import build_encoder, resample_positions
from cxrssl.recipe.settings import Recipe, ViewSettings

Tensors = dict[str, Tensor]


@torch.no_grad()
def adapt_weights(source: Encoder, recipe: Recipe, name: str) -> Tensors:
    """Return the source's weights for the encoder of a recipe, which then sees a film as the source does.

    Pixels that the recipe normalises otherwise are allowed for in the first layer, and positions are resampled to the
    grid of the recipe's views, as `encode_views` does for views of another size.
    Raises: UsageError when the architectures differ, in one sentence.
    """
    with torch.random.fork_rng(devices=[]):
        wanted = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
    tensors = {key: value.clone() for key, value in source.module.state_dict().items()}
    _check_same(_describe(source.module), _describe(wanted), name)
    _renormalise(tensors, source.recipe.views, recipe.views)
    num_prefix = 0 if wanted.no_embed_class else wanted.num_prefix_tokens
    position = tensors["pos_embed"][0]
    grid = resample_positions(position[num_prefix:], source.module.patch_embed.grid_size, wanted.patch_embed.grid_size)
    tensors["pos_embed"] = torch.cat([position[:num_prefix], grid])[None]
    shapes = {key: tuple(value.shape) for key, value in wanted.state_dict().items()}
    if PATCH_BIAS not in shapes and PATCH_BIAS in tensors:
        _drop_bias(tensors, recipe.model.backbone, name)
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    _check_same(found, shapes, name)
    return tensors


def load_start(model: Objective, tensors: Tensors) -> None:
    """Give the encoders of an objective these weights: the trained one, and the one that follows it."""
    for encoder in {id(each): each for each in (model.published, model.anchor) if each is not None}.values():
        encoder.load_state_dict(tensors, strict=True)


def _renormalise(tensors: Tensors, old: ViewSettings, new: ViewSettings) -> None:
    before, after = ((views.pixel_mean, views.pixel_std) for views in (old, new))
    if before != after:
        weight, bias = renormalise_pixels(tensors[PATCH_WEIGHT], tensors.get(PATCH_BIAS), before, after)
        tensors |= {PATCH_WEIGHT: weight, PATCH_BIAS: bias}


def _drop_bias(tensors: Tensors, backbone: str, name: str) -> None:
    """Leave out the bias of the first layer where the architecture has none, as long as it is 0."""
    if tensors.pop(PATCH_BIAS).abs().max() > 1e-6 * tensors[PATCH_WEIGHT].abs().max():
        what = f"the pixels of {plain(name, 120)} cannot be the recipe's: {backbone} has no bias in its first layer"
        raise UsageError(what, hint="set views.pixel_mean and views.pixel_std to those that the weights were made with")


def _describe(module: VisionTransformer) -> dict[str, Any]:
    """Return what of an architecture the shapes of its weights do not say, or say in many places, in words."""
    block: Any = module.blocks[0]
    norm: Any = module.norm
    width = int(module.embed_dim)
    return {
        "patches of so many px": int(module.patch_embed.patch_size[0]),
        "width": width,
        "depth": len(module.blocks),
        "heads": int(block.attn.num_heads),
        "width of the hidden layers": int(block.mlp.fc1.out_features) if hasattr(block.mlp, "fc1") else 0,
        "epsilon of the norms": float(norm.eps),
        "activation": type(getattr(block.mlp, "act", None)).__name__,
        "registers": int(module.num_prefix_tokens) - 1,
        "positions of the class token": not module.no_embed_class,
        "a norm before the blocks": type(module.norm_pre).__name__,
    }


def _check_same(found: dict[str, Any], wanted: dict[str, Any], name: str) -> None:
    """Raise UsageError with what the weights have otherwise than the recipe's encoder."""
    keys = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    if keys:
        said = "; ".join(f"{key}: {_show(found, key)}, the recipe's has {_show(wanted, key)}" for key in keys[:3])
        more = f"; and {len(keys) - 3} more" if len(keys) > 3 else ""
        what = f"the weights of {plain(name, 120)} do not fit the recipe's encoder: {said}{more}"
        raise UsageError(what, hint="choose their architecture: --backbone, --set model.patch_px=N")


def _show(values: dict[str, Any], key: str) -> str:
    return plain(values[key], 40) if key in values else "none"
