"""Masked autoencoder: a quarter of a film's patches is encoded, and a small decoder draws the others from them.

    loss = mean over hidden patches of the mean squared error of their pixels, each patch at mean 0 and variance 1

Source: He et al. 2022, section 3. Differs: learned positions of encoder and decoder in place of sines; the decoder's
blocks are timm's own, without biases of queries, keys and values; crops, rates and weight decay are the recipe's. The
record has no place in the drawing of pixels: `ehr.predict` alone may use it.
Shape letters: B films, N patches, K kept patches, C pixels of a patch, D embedding width, W width of the decoder.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from cxrssl.model.objective import RECORD_LOSS, Loss, Number, Objective, Tensors, add_record_loss
from cxrssl.model.record import NO_RECORD, Record, RecordColumns, RecordHead
from cxrssl.model.vit import build_encoder, cut_patches, encode_tokens
from cxrssl.recipe.objectives import MaeSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.views.draw import Views
from cxrssl.views.plan import Mask, ViewKind, ViewPlan

WHOLE = "whole"
HEAD_DIM = 32


def mae_loss(drawn_BNC: Tensor, pixels_BNC: Tensor, kept_BK: Tensor, is_normalised: bool) -> Tensor:
    """Return each film's mean squared error over its hidden patches, [B]. Source: He et al. 2022, section 3."""
    if is_normalised:
        mean, variance = pixels_BNC.mean(dim=2, keepdim=True), pixels_BNC.var(dim=2, keepdim=True)
        pixels_BNC = (pixels_BNC - mean) / (variance + 1e-6).sqrt()
    hidden_BN = torch.ones(pixels_BNC.shape[:2], device=pixels_BNC.device).scatter(1, kept_BK, 0.0)
    error_BN = (drawn_BNC - pixels_BNC).square().mean(dim=2)
    return (error_BN * hidden_BN).sum(dim=1) / hidden_BN.sum(dim=1)


class Decoder(nn.Module):
    """Transformer that puts a mask token at each hidden place and returns the pixels of every patch."""

    def __init__(self, width: int, decoder_width: int, depth: int, num_patches: int, patch_pixels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + num_patches, decoder_width))
        self.blocks = nn.Sequential(*(Block(decoder_width, decoder_width // HEAD_DIM) for _ in range(depth)))
        self.norm = nn.LayerNorm(decoder_width)
        self.draw = nn.Linear(decoder_width, patch_pixels)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for linear in (self.embed, self.draw):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens_BTD: Tensor, kept_BK: Tensor, num_prefix: int) -> Tensor:
        """Return the pixels of all patches, [B, N, C], from class token, other prefix tokens and kept patches."""
        tokens = self.embed(tokens_BTD)
        num_patches = self.pos_embed.shape[1] - 1
        patches = self.mask_token.to(tokens.dtype).expand(len(tokens), num_patches, -1)
        where = kept_BK[:, :, None].expand(-1, -1, tokens.shape[2])
        patches = patches.scatter(1, where, tokens[:, num_prefix:])
        joined = torch.cat([tokens[:, :1], patches], dim=1) + self.pos_embed
        return cast(Tensor, self.draw(self.norm(self.blocks(joined)))[:, 1:])


class MAE(Objective):
    """Encoder of the kept patches, decoder of all."""

    numbers: tuple[Number, ...] = (
        Number("pixel_error", "mean squared error of the hidden patches; 1 is a grey patch where they are normalised"),
        Number(
            "feature_std", "mean standard deviation over the batch of the L2-normalised class tokens, times sqrt(D)"
        ),
    )
    undecayed = (*Objective.undecayed, "mask_token")

    def __init__(self, recipe: Recipe, columns: RecordColumns = NO_RECORD) -> None:
        super().__init__()
        assert isinstance(recipe.objective, MaeSettings), "the recipe names this objective"
        self.settings, self.patch_px = recipe.objective, recipe.model.patch_px
        whole = ViewKind(WHOLE, 1, recipe.views.global_px, recipe.views.global_scale, Mask(self.settings.mask_frac))
        self.view_plan = ViewPlan((whole,), recipe.views, self.patch_px)
        self.encoder = build_encoder(recipe.model.backbone, self.patch_px, recipe.views.global_px)
        width, num_patches = int(self.encoder.embed_dim), (recipe.views.global_px // self.patch_px) ** 2
        decoder_width = self.settings.decoder_width
        self.decoder = Decoder(width, decoder_width, self.settings.decoder_depth, num_patches, self.patch_px**2)
        self.record_head = RecordHead(width, columns.predicted, recipe.ehr) if columns.predicted else None
        self.numbers = (*type(self).numbers, *([RECORD_LOSS] if columns.predicted else []))

    def encode(self, views: Views) -> Tensors:
        """Return class tokens [B, 1, D] and each film's loss [B]: a film is drawn by itself."""
        view = views[WHOLE]
        pixels_B1PP = view.pixels_BV1PP[:, 0]
        assert view.kept_BVK is not None, "the views are masked"
        kept_BK = view.kept_BVK[:, 0]
        tokens = encode_tokens(self.encoder, pixels_B1PP, kept_BK)
        drawn_BNC = self.decoder(tokens, kept_BK, self.encoder.num_prefix_tokens)
        with torch.autocast(drawn_BNC.device.type, enabled=False):
            wanted = cut_patches(pixels_B1PP, self.patch_px)
            loss_B = mae_loss(drawn_BNC.to(wanted.dtype), wanted, kept_BK, self.settings.normalise_patches)
        return tokens[:, :1], loss_B

    def compare(self, encoded: Tensors, targets: Tensors, record: Record) -> Loss:
        """Return the mean loss of the films."""
        cls_B1D, loss_B = encoded
        with torch.autocast(loss_B.device.type, enabled=False):
            total, tokens_BD = loss_B.mean(), cls_B1D[:, 0].detach().float()
            spread = F.normalize(tokens_BD, dim=1).std(dim=0).mean() * math.sqrt(tokens_BD.shape[1])
            loss = Loss(total, {"pixel_error": total.detach(), "feature_std": spread}, features_BD=tokens_BD)
            return add_record_loss(loss, self.record_head, cls_B1D, record)

    @property
    def published(self) -> VisionTransformer:
        """The encoder, without the decoder."""
        return self.encoder

    def film_parameters(self) -> list[Tensor]:
        """Return those of encoder and decoder."""
        return [*self.encoder.parameters(), *self.decoder.parameters()]
