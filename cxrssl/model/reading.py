"""What is read of a frozen encoder beside its class token.

Shape letters: B films, P side of a view, N patches, T tokens, D embedding width, E features.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun
from cxrssl.model.encoder import Encoder
from cxrssl.model.vit import embed_patches, encode_tokens
from cxrssl.records.reading import Reading
from cxrssl.views.resample import whole_views


@torch.no_grad()
def read_films(encoder: Encoder, films_BSS: Tensor, valid_B4: Tensor, reading: Reading) -> Tensor:
    """Return features [B, E] of whole films, uint8 [B, S, S] with boxes; for a probe that sees patches [B, N, D].

    `patches`: the mean of the patch tokens after the final norm, without registers. `last:N`: the class tokens after
    each of the last N blocks, each through the final norm, the last block's at the end; other kinds the class token.
    Source: Caron et al. 2021 (DINO) for several layers; Oquab et al. 2023 (DINOv2) for the norm of each.
    """
    if reading.features is None:
        return encoder.encode_films(films_BSS, valid_B4)
    module, views_B1PP = encoder.module, whole_views(films_BSS, valid_B4, encoder.recipe.views)
    if reading.kind != "last":
        patches_BND = encode_tokens(module, views_B1PP)[:, module.num_prefix_tokens :]
        return patches_BND if reading.pooling else patches_BND.mean(dim=1)
    return read_layers(encoder, views_B1PP, reading.count, has_patches=False)


@torch.no_grad()
def read_layers(encoder: Encoder, views_B1PP: Tensor, num_layers: int, has_patches: bool) -> Tensor:
    """Return of views the class tokens after each of the last blocks, each through the final norm, [B, E].

    After them, where they are asked for, the mean of the patch tokens of the last block through the final norm, without
    registers.
    """
    module = encoder.module
    blocks = cast(Any, module.blocks)
    tokens_BTD = module.norm_pre(embed_patches(module, views_B1PP, None))
    kept = []
    for place, block in enumerate(blocks):
        tokens_BTD = block(tokens_BTD)
        if place >= len(blocks) - num_layers:
            kept.append(module.norm(tokens_BTD[:, 0]))
    if has_patches:
        kept.append(module.norm(tokens_BTD[:, module.num_prefix_tokens :]).mean(dim=1))
    return torch.cat(kept, dim=1)


def count_patches(encoder: Encoder) -> int:
    """Return how many patches the encoder has of a film."""
    return int((encoder.recipe.views.global_px // encoder.recipe.model.patch_px) ** 2)


def count_features(encoder: Encoder, reading: Reading) -> int:
    """Return how many features a film, or a patch, has. Raises: UsageError for more layers than there are."""
    depth, width = len(cast(Any, encoder.module.blocks)), int(encoder.module.embed_dim)
    if reading.kind == "last" and reading.count > depth:
        what = f"--read {reading.name} asks for more layers than the encoder has"
        raise UsageError(what, hint=f"it has {count_noun(depth, 'layer')}")
    return width * (reading.count if reading.kind == "last" else 1)
