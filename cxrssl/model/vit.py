"""timm's vision transformer on grey films: dropped patches are never computed, nor is what the last block would waste.

Shape letters: B films, P side of a view, N patches, C pixels of a patch, K kept patches, T tokens, D embedding width,
H heads, E width of a head.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from cxrssl.core.errors import ConfigError
from cxrssl.core.text import plain
from cxrssl.model.class_token import attend_from_class_tokens
from cxrssl.recipe.settings import BACKBONES, TIMM_PREFIX

MAX_BLOCK_BYTES = 2**25


def build_encoder(
    backbone: str, patch_px: int, image_px: int, timm_args: Mapping[str, Any] | None = None
) -> VisionTransformer:
    """Return a ViT without classifier head, for one grey channel, initialised from torch's current generator.

    `backbone` is a name of BACKBONES, or `timm:` and the name of one of timm's own, with other arguments than timm's
    entry has in `timm_args`; no weights are ever downloaded.
    Raises: ConfigError for a name that timm does not have, or of a model without class token, positions or this patch
    size.
    """
    if backbone.startswith(TIMM_PREFIX):
        return _build_timm(backbone.removeprefix(TIMM_PREFIX), patch_px, image_px, timm_args or {})
    width, depth, heads = BACKBONES[backbone]
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


def _build_timm(name: str, patch_px: int, image_px: int, args: Mapping[str, Any]) -> VisionTransformer:
    known = timm.list_models(module="vision_transformer")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f'nearest is "{near[0]}"' if near else 'timm.list_models(module="vision_transformer") lists them'
        raise ConfigError(f'timm has no vision transformer "{plain(name, 80)}"', hint=hint)
    # Whatever the model pools, the class token is read after the final norm.
    ours: dict[str, Any] = {"img_size": image_px, "in_chans": 1, "num_classes": 0, "dynamic_img_size": True}
    ours |= {"global_pool": "", "fc_norm": False}
    try:
        module: Any = timm.create_model(name, pretrained=False, **{**args, **ours})
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"timm's {name} cannot be built: {plain(error, 120)}") from None
    if module.cls_token is None or module.pos_embed is None or type(module.patch_embed) is not PatchEmbed:
        raise ConfigError(f"timm's {name} lacks what this program needs: class token, learned positions, plain patches")
    found, _ = module.patch_embed.patch_size
    if found != patch_px:
        hint = f"--set model.patch_px={found}, and views whose sides are multiples of it"
        raise ConfigError(f'timm\'s {name} has patches of {found} px, "model.patch_px" is {patch_px}', hint=hint)
    return cast(VisionTransformer, module)


def encode_views(encoder: VisionTransformer, views_B1PP: Tensor, kept_BK: Tensor | None = None) -> Tensor:
    """Return the class token after the final norm, [B, D]; with `kept_BK` only those patches are computed.

    Equal to timm's own `forward_features` but for the order of sums. Positions are resampled (bicubic) when the view's
    grid differs from the one the encoder was built for.
    Source: Dosovitskiy et al. 2021; Assran et al. 2022, section 3 for the dropped patches.
    """
    # Groups change the speed alone: films do not see each other in an encoder.
    num_groups = _count_groups(encoder, views_B1PP, kept_BK)
    views = views_B1PP.tensor_split(num_groups)
    kept = [None] * num_groups if kept_BK is None else kept_BK.tensor_split(num_groups)
    return torch.cat([_encode(encoder, *group) for group in zip(views, kept, strict=True)])


def _count_groups(encoder: VisionTransformer, views_B1PP: Tensor, kept_BK: Tensor | None) -> int:
    """Return into how many groups the CPU divides the views; a GPU takes them at once.

    The C library gives larger blocks than MAX_BLOCK_BYTES back to the system each time, and page faults then cost a
    sixth of the step. The largest block is the hidden layer of an MLP, four times as wide as the embedding.
    """
    if views_B1PP.device.type != "cpu":
        return 1
    all_patches = views_B1PP[0].numel() // encoder.patch_embed.patch_size[0] ** 2
    num_patches = all_patches if kept_BK is None else kept_BK.shape[1]
    num_values = len(views_B1PP) * (num_patches + encoder.num_prefix_tokens) * 4 * encoder.embed_dim
    return min(len(views_B1PP), -(-num_values * views_B1PP.element_size() // MAX_BLOCK_BYTES))


def _encode(encoder: VisionTransformer, views_B1PP: Tensor, kept_BK: Tensor | None) -> Tensor:
    tokens = start_stream(encoder, embed_patches(encoder, views_B1PP, kept_BK))
    # Of the last block only the class token is read, so only that one is computed.
    *first, last = cast(Any, encoder.blocks)
    for block in first:
        tokens = _tokens_after(block, tokens)
    return norm_tokens(encoder.norm, _class_token_after(last, tokens))


def start_stream(encoder: VisionTransformer, tokens: Tensor) -> Tensor:
    """Return the tokens that the first block gets, in the precision of the products: blocks add to them in the same.

    What is read and written between two products is halved by it, and is most of what a GPU moves. Differs: autocast
    alone would keep them in float32. `tests.train.test_precision` has what it costs in digits.
    """
    tokens, device = encoder.norm_pre(tokens), tokens.device.type
    return tokens.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else tokens


def add_branch(tokens: Tensor, branch: Tensor) -> Tensor:
    """Return the tokens with what a branch of a block adds, in the precision of the tokens."""
    return tokens + branch.to(tokens.dtype)


def norm_tokens(norm: nn.Module, tokens: Tensor) -> Tensor:
    """Return the tokens after a norm, in float32 at least: so does autocast on a GPU, and on a CPU it does not."""
    return cast(Tensor, norm(widen(tokens)))


def widen(tokens: Tensor) -> Tensor:
    """Return the tokens in float32 at least."""
    return tokens.to(torch.promote_types(tokens.dtype, torch.float32))


def encode_tokens(encoder: VisionTransformer, views_B1PP: Tensor, kept_BK: Tensor | None = None) -> Tensor:
    """Return all tokens after the final norm, [B, T, D]: class token, registers if there are any, kept patches."""
    tokens = start_stream(encoder, embed_patches(encoder, views_B1PP, kept_BK))
    for block in cast(Any, encoder.blocks):
        tokens = _tokens_after(block, tokens)
    return norm_tokens(encoder.norm, tokens)


def encode_dropping(encoder: VisionTransformer, views_B1PP: Tensor, drawn_BN: Tensor, rate: float) -> Tensor:
    """Return all tokens after the final norm, [B, T, D], with branches of blocks left out of films (drop path).

    The rate rises in a straight line from 0 at the first block to `rate` at the last. A branch that a film keeps is
    divided by the share of films that keep it; `drawn_BN` are uniform numbers, two a block.
    Source: Huang et al. 2016 (stochastic depth), section 3; by film and with this scale as timm does it.
    """
    tokens = start_stream(encoder, embed_patches(encoder, views_B1PP, None))
    blocks = list(cast(Any, encoder.blocks))
    rate_K = [rate * place / max(1, len(blocks) - 1) for place in range(len(blocks))]
    for block, dropped, drawn_B2 in zip(blocks, rate_K, drawn_BN.chunk(len(blocks), dim=1), strict=True):
        scale_2B11 = ((drawn_B2 >= dropped).to(tokens.dtype) / (1 - dropped)).T[:, :, None, None]
        if is_plain(block):
            found = _attend(block.attn, norm_tokens(block.norm1, tokens))
            tokens = add_branch(tokens, scale_2B11[0] * block.ls1(found))
            tokens = add_branch(tokens, scale_2B11[1] * block.ls2(block.mlp(norm_tokens(block.norm2, tokens))))
        else:  # both branches at once, where a block has others of its own
            tokens = add_branch(tokens, scale_2B11[0] * (block(tokens) - tokens))
    return norm_tokens(encoder.norm, tokens)


def cut_patches(views_B1PP: Tensor, patch_px: int) -> Tensor:
    """Return the pixels of each patch, row by row, [B, N, C]."""
    rows, columns = (side // patch_px for side in views_B1PP.shape[-2:])
    cells = views_B1PP.reshape(-1, rows, patch_px, columns, patch_px).transpose(2, 3)
    return cells.reshape(-1, rows * columns, patch_px**2)


def embed_patches(encoder: VisionTransformer, views_B1PP: Tensor, kept_BK: Tensor | None) -> Tensor:
    """Return class token, registers if there are any, and the kept patches with their positions, [B, T, D]."""
    pixels_BKC, position_BKD = lay_out_patches(encoder, views_B1PP, kept_BK)
    return add_prefix(encoder, embed_pixels(encoder, pixels_BKC) + position_BKD)


def lay_out_patches(encoder: VisionTransformer, views_B1PP: Tensor, kept_BK: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the pixels of the kept patches, [B, K, C], and their positions, [B, K, D]."""
    embed = encoder.patch_embed
    patch_px = embed.patch_size[0]
    rows, columns = (side // patch_px for side in views_B1PP.shape[-2:])
    pixels_BNC = cut_patches(views_B1PP, patch_px)
    num_prefix = 0 if encoder.no_embed_class else encoder.num_prefix_tokens
    positions = cast(Tensor, encoder.pos_embed)
    position_ND = resample_positions(positions[0, num_prefix:], embed.grid_size, (rows, columns))
    if kept_BK is None:
        return pixels_BNC, position_ND.expand(len(pixels_BNC), -1, -1)
    # Before the embedding: a dropped patch costs nothing at all.
    return _take(pixels_BNC, kept_BK), _take_positions(position_ND, kept_BK)


def embed_pixels(encoder: VisionTransformer, pixels_C: Tensor) -> Tensor:
    """Return the embeddings of patches, [..., D]: a convolution whose stride is its width is one linear map of each."""
    proj = encoder.patch_embed.proj
    return cast(Tensor, encoder.patch_embed.norm(F.linear(pixels_C, proj.weight.flatten(1), proj.bias)))


def add_prefix(encoder: VisionTransformer, patches_BKD: Tensor) -> Tensor:
    """Return class token, registers if there are any, and patches, [B, T, D]."""
    prefix_tokens = cast(tuple[Tensor | None, ...], (encoder.cls_token, encoder.reg_token))
    prefix = torch.cat([token for token in prefix_tokens if token is not None], dim=1)
    if not encoder.no_embed_class and encoder.num_prefix_tokens:
        prefix = prefix + cast(Tensor, encoder.pos_embed)[:, : encoder.num_prefix_tokens]
    return torch.cat([prefix.to(patches_BKD.dtype).expand(len(patches_BKD), -1, -1), patches_BKD], dim=1)


def resample_positions(position_ND: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Return the positions of a grid of `new` rows and columns, by bicubic interpolation as timm does it.

    As a product with constant weights: on a GPU the gradient of torch's own interpolation adds up in any order.
    """
    if old == new:
        return position_ND
    # Interpolation is linear: what it makes of the unit vectors are its weights, the same at every step.
    each_NN = torch.eye(len(position_ND), dtype=position_ND.dtype, device=position_ND.device)
    weights = F.interpolate(each_NN.view(1, -1, *old), size=new, mode="bicubic", antialias=True)[0].flatten(1)
    with torch.autocast(position_ND.device.type, enabled=False):
        return weights.T @ position_ND


def _take(values_BND: Tensor, kept_BK: Tensor) -> Tensor:
    return values_BND.gather(1, kept_BK[:, :, None].expand(-1, -1, values_BND.shape[2]))


def _take_positions(position_ND: Tensor, kept_BK: Tensor) -> Tensor:
    """Return the positions of the kept patches, [B, K, D].

    Where a GPU must repeat itself, as a product with ones and zeros: the gradient of a gather is there a sort of all
    the indices.
    """
    if position_ND.device.type == "cpu" or not torch.are_deterministic_algorithms_enabled():
        return _take(position_ND.expand(len(kept_BK), -1, -1), kept_BK)
    places = torch.arange(len(position_ND), device=kept_BK.device)
    with torch.autocast(position_ND.device.type, enabled=False):
        return (kept_BK[:, :, None] == places).to(position_ND.dtype) @ position_ND


def _tokens_after(block: Any, tokens_BTD: Tensor) -> Tensor:
    """Return all tokens after a block, [B, T, D]."""
    if not is_plain(block):
        return cast(Tensor, block(tokens_BTD))
    tokens_BTD = add_branch(tokens_BTD, block.ls1(_attend(block.attn, norm_tokens(block.norm1, tokens_BTD))))
    return add_branch(tokens_BTD, block.ls2(block.mlp(norm_tokens(block.norm2, tokens_BTD))))


def _attend(attn: Attention, tokens_BTD: Tensor) -> Tensor:
    """Return timm's own attention; queries, keys and values cut along the last axis save a copy of their gradients."""
    shape = (*tokens_BTD.shape[:2], attn.num_heads, attn.head_dim)
    query, key, value = (part.view(shape).transpose(1, 2) for part in attn.qkv(tokens_BTD).chunk(3, dim=2))
    found_BTHE = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    return cast(Tensor, attn.proj(attn.norm(found_BTHE.flatten(2))))


def _class_token_after(block: Any, tokens_BTD: Tensor) -> Tensor:
    """Return the class token after a block, [B, D]: all that is read of the last one."""
    if not is_plain(block):
        return cast(Tensor, block(tokens_BTD)[:, 0])
    branch_BD = block.ls1(attend_from_class_tokens(block.attn, [norm_tokens(block.norm1, tokens_BTD)]))
    # They are few: in float32 they cost nothing.
    cls_BD = add_branch(widen(tokens_BTD[:, 0]), branch_BD)
    return add_branch(cls_BD, block.ls2(block.mlp(norm_tokens(block.norm2, cls_BD))))


def is_plain(block: nn.Module) -> bool:
    """Return whether a block is timm's common one, with queries and keys that are linear in the tokens."""
    attn = getattr(block, "attn", None)
    return (
        type(block) is Block
        and type(attn) is Attention
        and isinstance(attn.q_norm, nn.Identity)
        and isinstance(attn.k_norm, nn.Identity)
        and getattr(attn, "gate", None) is None
    )
