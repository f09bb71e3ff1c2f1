"""Supervised training end to end, for comparison: the findings of the training films are learnt from their labels.

    logits = W f(x) + b
    loss   = mean over the known labels y of all films and findings of  -y ln p - (1 - y) ln(1 - p),  p = sigmoid(logit)

Differs: one random crop of a film a step and the recipe's rates, as for the objectives that see no label; no weights of
classes and no decay of the rate by layer.
Shape letters: B films, D embedding width, L findings.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.model.objective import RECORD_LOSS, Loss, Number, Objective, Tensors, add_record_loss
from cxrssl.model.record import NO_RECORD, Record, RecordColumns, RecordHead
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.objectives import SupervisedSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.views.draw import Views
from cxrssl.views.plan import ViewKind, ViewPlan

CROP = "crop"


def label_loss(logits_BL: Tensor, labels_BL: Tensor) -> Tensor:
    """Return the mean binary cross entropy in nats over the known labels, 1 or 0; -1 is unknown. 0 if none is known."""
    is_known_BL = (labels_BL >= 0).to(logits_BL.dtype)
    wanted_BL = labels_BL.clamp(min=0).to(logits_BL.dtype)
    loss_BL = F.binary_cross_entropy_with_logits(logits_BL, wanted_BL, reduction="none")
    return (loss_BL * is_known_BL).sum() / is_known_BL.sum().clamp(min=1)


class Supervised(Objective):
    """One encoder and a linear layer for all findings."""

    numbers: tuple[Number, ...] = (
        Number("label_loss", "binary cross entropy of the known labels, in nats"),
        Number(
            "feature_std", "mean standard deviation over the batch of the L2-normalised class tokens, times sqrt(D)"
        ),
    )

    def __init__(self, recipe: Recipe, columns: RecordColumns = NO_RECORD) -> None:
        super().__init__()
        assert isinstance(recipe.objective, SupervisedSettings), "the recipe names this objective"
        self.settings = recipe.objective
        crop = ViewKind(CROP, 1, recipe.views.global_px, recipe.views.global_scale)
        self.view_plan = ViewPlan((crop,), recipe.views, recipe.model.patch_px)
        self.encoder = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
        width = int(self.encoder.embed_dim)
        # One finding at least, so that an untrained encoder can be built for a comparison, whatever the cohort.
        self.head = nn.Linear(width, max(1, columns.num_findings))
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.record_head = RecordHead(width, columns.predicted, recipe.ehr) if columns.predicted else None
        self.numbers = (*type(self).numbers, *([RECORD_LOSS] if columns.predicted else []))

    def encode(self, views: Views) -> Tensors:
        """Return what is read, [B, 1, D]."""
        return (self.read(views)[:, None],)

    def read(self, views: Views) -> Tensor:
        """Return what the layer for findings reads of each film, [B, D]: its class token."""
        return encode_views(self.encoder, views[CROP].pixels_BV1PP[:, 0])

    def compare(self, encoded: Tensors, targets: Tensors, record: Record) -> Loss:
        """Return the mean loss of the known labels of a whole batch."""
        (cls_B1D,) = encoded
        assert record.labels_BL is not None, "the batch carries its labels"
        logits_BL = self.head(cls_B1D[:, 0].to(self.head.weight.dtype))
        with torch.autocast(logits_BL.device.type, enabled=False):
            total = label_loss(logits_BL, record.labels_BL)
            tokens_BD = cls_B1D[:, 0].detach().float()
            spread = F.normalize(tokens_BD, dim=1).std(dim=0).mean() * math.sqrt(tokens_BD.shape[1])
            loss = Loss(total, {"label_loss": total.detach(), "feature_std": spread}, features_BD=tokens_BD)
            return add_record_loss(loss, self.record_head, cls_B1D, record)

    @property
    def finding_head(self) -> nn.Linear | None:
        """The layer for findings."""
        return self.head

    @property
    def published(self) -> VisionTransformer:
        """The encoder, without its layer for findings."""
        return self.encoder
