"""Where an encoder looks: the attention of its class token to the patches of a film.

In: views. Out: [B, N], row by row of the grid. Never: the weights of an attention that is not timm's plain one.

Suffix letters: B views, N patches, T tokens, H heads, E values of a head, D width.
"""

from __future__ import annotations

from typing import Any, cast

from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrssl.core.errors import UsageError
from cxrssl.model.vit import embed_patches


def attend_to_patches(encoder: VisionTransformer, views_B1PP: Tensor) -> Tensor:
    """Return how much of its attention the class token of the last block gives to each patch, mean over heads.

    What it gives to itself and to registers is not among them: the sum is below 1.
    Source: Caron et al. 2021 (ICCV), section 4.2.2 and figure 1.
    Raises: UsageError for an encoder whose last block has no such weights.
    """
    tokens_BTD = encoder.norm_pre(embed_patches(encoder, views_B1PP, None))
    *first, last = cast(Any, encoder.blocks)
    for block in first:
        tokens_BTD = block(tokens_BTD)
    attn = getattr(last, "attn", None)
    if type(attn) is not Attention:
        raise UsageError("the last block of this encoder has no attention that can be shown")
    normed_BTD = last.norm1(tokens_BTD)
    shape = (*normed_BTD.shape[:2], 3, attn.num_heads, attn.head_dim)
    query_BHTE, key_BHTE, _ = attn.qkv(normed_BTD).view(shape).permute(2, 0, 3, 1, 4)
    asked_BH1E = attn.q_norm(query_BHTE[:, :, :1]) * attn.scale
    weights_BHT = (asked_BH1E @ attn.k_norm(key_BHTE).transpose(2, 3)).softmax(dim=3)[:, :, 0]
    return cast(Tensor, weights_BHT.mean(dim=1)[:, encoder.num_prefix_tokens :])
