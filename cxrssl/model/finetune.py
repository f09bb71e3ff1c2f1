"""Fine-tuning: the supervised objective from weights that are there, with a lower rate the nearer a layer is to the
film.

    rate of block k of n, from 0 on:  lr * layer_decay^(n - k)
    rate of the embedding:            lr * layer_decay^(n + 1);  of the last norm and the layer for findings: lr

Source: Bao et al. 2022 (BEiT), He et al. 2022, appendix A.1. Differs: see recipe/finetune.toml.
Shape letters: B films, T tokens, D embedding width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from cxrssl.model.record import NO_RECORD, RecordColumns
from cxrssl.model.supervised import CROP, Supervised
from cxrssl.model.vit import encode_dropping, encode_tokens, encode_views
from cxrssl.recipe.objectives import FinetuneSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.views.draw import Views

EMBEDDING = ("cls_token", "reg_token", "pos_embed", "patch_embed.", "norm_pre.")
"""Beginnings of the names of what lies before the first block."""


class Finetune(Supervised):
    """The supervised objective, its rates falling towards the film."""

    settings: FinetuneSettings

    def __init__(self, recipe: Recipe, columns: RecordColumns = NO_RECORD) -> None:
        super().__init__(recipe, columns)
        if self.settings.drop_path:
            (crop,) = self.view_plan.kinds
            crop = replace(crop, num_draws=2 * len(cast(Any, self.encoder.blocks)))
            self.view_plan = replace(self.view_plan, kinds=(crop,))

    def read(self, views: Views) -> Tensor:
        """Return what the layer for findings reads of each film, [B, D]: class token, or mean of the patches."""
        pixels_B1PP, drawn_BN = views[CROP].pixels_BV1PP[:, 0], views[CROP].drawn_BN
        if drawn_BN is not None:
            return self._pool(encode_dropping(self.encoder, pixels_B1PP, drawn_BN, self.settings.drop_path))
        if self.settings.pool == "cls":
            return encode_views(self.encoder, pixels_B1PP)
        return self._pool(encode_tokens(self.encoder, pixels_B1PP))

    def _pool(self, tokens_BTD: Tensor) -> Tensor:
        """Return the class token, or the mean of the patches, [B, D]."""
        if self.settings.pool == "cls":
            return tokens_BTD[:, 0]
        return tokens_BTD[:, self.encoder.num_prefix_tokens :].mean(dim=1)

    @property
    def finding_head(self) -> nn.Linear | None:
        """The layer for findings, where it reads the class token, as what is published is read."""
        return self.head if self.settings.pool == "cls" else None

    def lr_mults(self) -> dict[str, float]:
        """Return the rates of parts of the encoder as multiples of the recipe's; the others have the rate itself."""
        decay, depth = self.settings.layer_decay, len(cast(Any, self.encoder.blocks))
        blocks = {f"encoder.blocks.{k}.": decay ** (depth - k) for k in range(depth)}
        return blocks | {f"encoder.{name}": decay ** (depth + 1) for name in EMBEDDING}
