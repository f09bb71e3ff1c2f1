"""Fine-tuning: the supervised objective from weights that are there, with a lower rate the nearer a layer is to the
film.

    rate of block k of n, from 0 on:  lr * layer_decay^(n - k)
    rate of the embedding:            lr * layer_decay^(n + 1);  of the last norm and the layer for findings: lr

Source: Bao et al. 2022 (BEiT), He et al. 2022, appendix A.1. Differs: see recipe/finetune.toml.
"""

from __future__ import annotations

from typing import Any, cast

from cxrssl.model.supervised import Supervised
from cxrssl.recipe.objectives import FinetuneSettings

EMBEDDING = ("cls_token", "reg_token", "pos_embed", "patch_embed.", "norm_pre.")
"""Beginnings of the names of what lies before the first block."""


class Finetune(Supervised):
    """The supervised objective, its rates falling towards the film."""

    def lr_mults(self) -> dict[str, float]:
        """Return the rates of parts of the encoder as multiples of the recipe's; the others have the rate itself."""
        assert isinstance(self.settings, FinetuneSettings), "the recipe names this objective"
        decay, depth = self.settings.layer_decay, len(cast(Any, self.encoder.blocks))
        blocks = {f"encoder.blocks.{k}.": decay ** (depth - k) for k in range(depth)}
        return blocks | {f"encoder.{name}": decay ** (depth + 1) for name in EMBEDDING}
