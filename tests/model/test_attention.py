"""The attention of the class token against weights that timm's own blocks multiply values with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cxrssl.core.errors import UsageError
from cxrssl.model.attention import attend_to_patches
from cxrssl.model.vit import build_encoder


def make_encoder() -> Any:
    torch.manual_seed(0)
    encoder = build_encoder("vit-micro", 8, 32).eval()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.1)
    return encoder


def slow_attention(encoder: Any, views: torch.Tensor) -> torch.Tensor:
    """Return softmax(q k / sqrt(E)) of the class token, one film, head and patch after the other."""
    seen: list[torch.Tensor] = []
    handle = encoder.blocks[-1].attn.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    encoder.forward_features(views)
    handle.remove()
    attn, (tokens,) = encoder.blocks[-1].attn, seen
    width, heads = attn.head_dim, attn.num_heads
    found = torch.zeros(len(views), tokens.shape[1])
    for film, token_TD in enumerate(tokens):
        query, key, _ = attn.qkv(token_TD).chunk(3, dim=1)
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            scores = torch.stack([query[0, own] @ each[own] for each in key]) / width**0.5
            found[film] += scores.softmax(0) / heads
    return found[:, 1:]


@torch.no_grad()
def test_attention_is_the_mean_over_heads_of_what_the_last_block_uses() -> None:
    encoder, views = make_encoder(), torch.randn(3, 1, 32, 32)
    found = attend_to_patches(encoder, views)
    assert found.shape == (3, 16)
    torch.testing.assert_close(found, slow_attention(encoder, views), rtol=1e-4, atol=1e-6)
    assert (found.sum(dim=1) < 1).all()


def test_an_encoder_with_another_attention_is_refused() -> None:
    encoder = make_encoder()
    encoder.blocks[-1].attn = nn.Identity()
    with pytest.raises(UsageError, match="no attention that can be shown"):
        attend_to_patches(encoder, torch.zeros(1, 1, 32, 32))
