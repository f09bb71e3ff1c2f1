"""An objective that the package does not know: two crops of a film agree, and their spread over the batch stays.

Source: VICReg's invariance and variance terms (Bardes et al. 2022, eqs. 1 and 5), without a projector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from cxrssl.core.config import setting
from cxrssl.model import build
from cxrssl.model.objective import Loss, Number, Objective, Tensors
from cxrssl.model.record import Record, RecordColumns
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe import objectives
from cxrssl.recipe.settings import Recipe
from cxrssl.views.draw import Views
from cxrssl.views.plan import ViewKind, ViewPlan


@dataclass(frozen=True)
class ToySettings(objectives.ObjectiveSettings):
    name: str = "toy"
    spread_weight: float = setting(1.0, low=0.0, high=100.0)
    """Weight of the term that keeps features apart."""


class Toy(Objective):
    numbers = (
        Number("agreement", "cosine of the two crops"),
        Number("spread", "mean deviation of the features", low=1e-6, complaint="the features spread {value:.1e}"),
    )

    def __init__(self, recipe: Recipe, columns: RecordColumns) -> None:
        super().__init__()
        self.encoder = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
        self.weight = float(recipe.objective.spread_weight)  # type: ignore[attr-defined]
        crops = ViewKind("crops", 2, recipe.views.global_px, recipe.views.global_scale)
        self.view_plan = ViewPlan((crops,), recipe.views, recipe.model.patch_px)

    def encode(self, views: Views) -> Tensors:
        pixels = views["crops"].pixels_BV1PP
        return (encode_views(self.encoder, pixels.flatten(0, 1)).view(*pixels.shape[:2], -1),)

    def compare(self, encoded: Tensors, targets: Tensors, record: Record) -> Loss:
        first_BD, second_BD = encoded[0].unbind(1)
        agreement, spread = F.cosine_similarity(first_BD, second_BD).mean(), first_BD.std(dim=0).mean()
        numbers = {"agreement": agreement.detach(), "spread": spread.detach()}
        return Loss(1 - agreement + self.weight * torch.relu(1 - spread), numbers, first_BD.detach())

    @property
    def published(self) -> VisionTransformer:
        return self.encoder


ROOMS = (objectives.OBJECTIVES, {"toy": ToySettings}), (build.OBJECTIVES, {"toy": Toy})
