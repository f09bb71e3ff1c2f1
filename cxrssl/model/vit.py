"""timm's vision transformer on grey films; dropped tokens never enter the blocks.

Shape letters: B films, P side of a view, N patches, K kept patches, D embedding width.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

# Width, depth, heads. The paper used 6 heads at width 192 where timm has 3; vit-micro is for the demo.
SHAPES = {
    "vit-micro": (96, 4, 3),
    "vit-tiny": (192, 12, 3),
    "vit-tiny-6h": (192, 12, 6),
    "vit-small": (384, 12, 6),
    "vit-base": (768, 12, 12),
}


def build_encoder(backbone: str, patch_px: int, image_px: int) -> VisionTransformer:
    """Return a ViT without classifier head, for one grey channel, initialised from torch's current generator."""
    width, depth, heads = SHAPES[backbone]
    return VisionTransformer(
        img_size=image_px,
        patch_size=patch_px,
        in_chans=1,
        num_classes=0,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        dynamic_img_size=True,
    )


def encode_views(encoder: VisionTransformer, views_B1PP: Tensor, kept_BK: Tensor | None = None) -> Tensor:
    """Return the class token after the final norm, [B, D]; with `kept_BK` only those patches are computed.

    Source: Dosovitskiy et al. 2021; Assran et al. 2022, section 3 for the dropped patches. Positions are resampled
    (bicubic) when the view's grid differs from the one the encoder was built for.
    """
    grid_BHWD = cast(Tensor, encoder.patch_embed(views_B1PP))
    height, width = grid_BHWD.shape[1:3]
    position = resample_abs_pos_embed(
        encoder.pos_embed, new_size=(height, width), old_size=encoder.patch_embed.grid_size, num_prefix_tokens=1
    )
    patches_BND = grid_BHWD.flatten(1, 2) + position[:, 1:]
    if kept_BK is not None:
        patches_BND = patches_BND.gather(1, kept_BK[:, :, None].expand(-1, -1, patches_BND.shape[2]))
    cls_B1D = (encoder.cls_token + position[:, :1]).expand(len(patches_BND), -1, -1)
    tokens = encoder.norm_pre(torch.cat([cls_B1D.to(patches_BND.dtype), patches_BND], dim=1))
    for block in cast(Any, encoder.blocks):
        tokens = block(tokens)
    return cast(Tensor, encoder.norm(tokens[:, 0]))
