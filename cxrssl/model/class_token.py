"""The class tokens' attention in a last block of which nothing else is read.

Shape letters: B views, T tokens of a view, D embedding width, H heads, E width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from timm.layers.attention import Attention
from torch import Tensor


def attend_from_class_tokens(attn: Attention, kinds: Sequence[Tensor]) -> Tensor:
    """Return what the class tokens gather by attention, [B, D], from the tokens of each kind of view, [B, T, D] each.

    One query a head needs neither keys nor values of all tokens: q . (W_k x) = (W_k^T q) . x, the keys' bias adds the
    same to all scores, which the softmax removes, and sum_t a_t (W_v x_t + b_v) = W_v (sum_t a_t x_t) + b_v.
    """
    query_HED, key_HED, value_HED = attn.qkv.weight.view(3, attn.num_heads, attn.head_dim, -1)
    query_BHE = torch.einsum("bd,hed->bhe", class_tokens(kinds), query_HED)
    if attn.qkv.bias is not None:
        query_bias_HE, _, value_bias_HE = attn.qkv.bias.view(3, attn.num_heads, attn.head_dim)
        query_BHE = query_BHE + query_bias_HE
    asked_BHD = torch.einsum("bhe,hed->bhd", query_BHE * attn.scale, key_HED)
    asked = torch.split(asked_BHD, [len(tokens_BTD) for tokens_BTD in kinds])
    seen_BHD = _join(
        [
            (asked_BHD @ tokens_BTD.transpose(1, 2)).softmax(dim=2) @ tokens_BTD
            for asked_BHD, tokens_BTD in zip(asked, kinds, strict=True)
        ]
    )
    found_BHE = torch.einsum("bhd,hed->bhe", seen_BHD, value_HED)
    if attn.qkv.bias is not None:
        found_BHE = found_BHE + value_bias_HE
    return cast(Tensor, attn.proj(attn.norm(found_BHE.flatten(1))))


def class_tokens(kinds: Sequence[Tensor]) -> Tensor:
    """Return the class tokens of all views, [B, D], from the tokens of each kind of view, [B, T, D] each."""
    return _join([tokens_BTD[:, 0] for tokens_BTD in kinds])


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Return one tensor, without a copy where it is one already."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
