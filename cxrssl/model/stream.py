"""Views of several sizes through one encoder at once: all their tokens in one stream.

Norms and linear layers take the whole stream; attention goes by kind, as the tokens of a view see only each other. A
GPU launches half the kernels so, and takes one gradient of each weight; a CPU, whose cache the stream would not fit,
encodes each kind apart.

Shape letters: B views of a kind, P side of a view, K kept patches, T tokens of a view, N tokens of all views, D
embedding width, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrssl.model.class_token import attend_from_class_tokens, class_tokens
from cxrssl.model.vit import (
    add_branch,
    add_prefix,
    embed_pixels,
    encode_views,
    is_plain,
    lay_out_patches,
    norm_tokens,
    start_stream,
    widen,
)

Kind = tuple[Tensor, Tensor | None]
"""Views of one size, [B, 1, P, P], and the patches that are kept, [B, K], or None for all."""
Shapes = Sequence[tuple[int, int]]
"""Views and tokens of each kind, (B, T)."""


def encode_kinds(encoder: VisionTransformer, kinds: Sequence[Kind]) -> list[Tensor]:
    """Return the class tokens of each kind after the final norm, [B, D], as `encode_views` does."""
    is_apart = len(kinds) == 1 or kinds[0][0].device.type == "cpu"
    if is_apart or not all(is_plain(block) for block in cast(Any, encoder.blocks)):
        return [encode_views(encoder, *kind) for kind in kinds]
    return encode_stream(encoder, kinds)


def encode_stream(encoder: VisionTransformer, kinds: Sequence[Kind]) -> list[Tensor]:
    """Return the class tokens of each kind after the final norm, [B, D]; the encoder's blocks are timm's plain ones."""
    tokens_ND, shapes = _embed(encoder, kinds)
    tokens_ND = start_stream(encoder, tokens_ND)
    *first, last = cast(Any, encoder.blocks)
    for block in first:
        tokens_ND = add_branch(tokens_ND, block.ls1(_attend(block.attn, norm_tokens(block.norm1, tokens_ND), shapes)))
        tokens_ND = add_branch(tokens_ND, block.ls2(block.mlp(norm_tokens(block.norm2, tokens_ND))))
    # Of the last block only the class tokens are read, so only these are computed.
    branch_BD = last.ls1(attend_from_class_tokens(last.attn, _divide(norm_tokens(last.norm1, tokens_ND), shapes)))
    cls_BD = add_branch(widen(class_tokens(_divide(tokens_ND, shapes))), branch_BD)
    cls_BD = add_branch(cls_BD, last.ls2(last.mlp(norm_tokens(last.norm2, cls_BD))))
    return list(torch.split(norm_tokens(encoder.norm, cls_BD), [num_views for num_views, _ in shapes]))


def _embed(encoder: VisionTransformer, kinds: Sequence[Kind]) -> tuple[Tensor, Shapes]:
    """Return the tokens of all views, view by view, and how they are divided."""
    pixels, positions = zip(*[lay_out_patches(encoder, *kind) for kind in kinds], strict=True)
    patches = embed_pixels(encoder, torch.cat([each.flatten(0, 1) for each in pixels]))
    each_kind = torch.split(patches, [position.shape[0] * position.shape[1] for position in positions])
    tokens = [
        add_prefix(encoder, part.view(position.shape) + position)
        for part, position in zip(each_kind, positions, strict=True)
    ]
    return torch.cat([each.flatten(0, 1) for each in tokens]), [(each.shape[0], each.shape[1]) for each in tokens]


def _divide(values_ND: Tensor, shapes: Shapes) -> list[Tensor]:
    """Return the tokens of each kind, [B, T, D]."""
    parts = torch.split(values_ND, [num_views * num_tokens for num_views, num_tokens in shapes])
    return [part.view(*shape, -1) for part, shape in zip(parts, shapes, strict=True)]


def _attend(attn: Attention, tokens_ND: Tensor, shapes: Shapes) -> Tensor:
    found = []
    for part in _divide(attn.qkv(tokens_ND), shapes):
        shape = (*part.shape[:2], attn.num_heads, attn.head_dim)
        query, key, value = (each.view(shape).transpose(1, 2) for each in part.chunk(3, dim=2))
        found.append(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2).flatten(0, 1))
    return cast(Tensor, attn.proj(attn.norm(torch.cat(found))))
