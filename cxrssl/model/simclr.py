"""SimCLR: two crops of a film attract each other, and the crops of all other films of the batch repel them.

    z    = h(g([f(x) ; f_ehr(e)]))
    loss = mean over crops i of  -ln( exp(cos(z_i, z_j) / temp) / sum over crops k != i of exp(cos(z_i, z_k) / temp) )

j is the other crop of the film. Source: Chen et al. 2020, eq. 1. Differs: no distortion of colours, which grey films do
not have, and no blur; AdamW in place of LARS; batch norm over the first and the second crops apart, as a record may
join the first alone, and none after the last layer of the head.
Shape letters: B films, D embedding width, P width of the projection.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.model.heads import build_fusion
from cxrssl.model.objective import RECORD_LOSS, Loss, Number, Objective, Tensors, add_record_loss
from cxrssl.model.record import NO_RECORD, Record, RecordColumns, RecordHead
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.objectives import SimclrSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.views.draw import Views
from cxrssl.views.plan import ViewKind, ViewPlan

CROPS = "crops"


def nt_xent(first_BP: Tensor, second_BP: Tensor, temp: float) -> tuple[Tensor, Tensor]:
    """Return the loss, and the share of crops whose nearest other crop is of the same film; two scalars.

    Source: Chen et al. 2020, eq. 1 (NT-Xent).
    """
    num_films = len(first_BP)
    crops = F.normalize(torch.cat([first_BP, second_BP]).float(), dim=1)
    # A crop is not its own rival.
    is_self = torch.eye(2 * num_films, dtype=torch.bool, device=crops.device)
    similarity = (crops @ crops.T / temp).masked_fill(is_self, -math.inf)
    partner = torch.arange(2 * num_films, device=crops.device).roll(num_films)
    found = (similarity.detach().argmax(dim=1) == partner).float().mean()
    return F.cross_entropy(similarity, partner), found


class SimCLR(Objective):
    """One encoder and one head; no target."""

    numbers: tuple[Number, ...] = (
        Number("cross_entropy", "of telling a crop's partner among the batch's crops, in nats"),
        Number("matched", "share of the crops whose nearest other crop is of the same film"),
        Number(
            "feature_std",
            "mean standard deviation over the batch of the L2-normalised projections, times sqrt(P)",
            low=0.1,
            complaint="the projections spread {value:.2f}, under {low}; 1 is even",
        ),
    )

    def __init__(self, recipe: Recipe, columns: RecordColumns = NO_RECORD) -> None:
        super().__init__()
        assert isinstance(recipe.objective, SimclrSettings), "the recipe names this objective"
        self.settings, self.ehr = recipe.objective, recipe.ehr
        crops = ViewKind(CROPS, 2, recipe.views.global_px, recipe.views.global_scale)
        self.view_plan = ViewPlan((crops,), recipe.views, recipe.model.patch_px)
        self.encoder = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
        width = int(self.encoder.embed_dim)
        hidden = width * recipe.model.head_hidden_mult
        self.head = nn.Sequential(
            nn.Linear(width, hidden, bias=False),
            nn.BatchNorm1d(hidden, track_running_stats=False),
            nn.ReLU(),
            nn.Linear(hidden, self.settings.projection_dim, bias=False),
        )
        self.fusion = build_fusion(recipe.ehr, columns.num_given, width)
        self.record_head = RecordHead(width, columns.predicted, recipe.ehr) if columns.predicted else None
        self.numbers = (*type(self).numbers, *([RECORD_LOSS] if columns.predicted else []))

    def encode(self, views: Views) -> Tensors:
        """Return the class tokens of both crops, [B, 2, D]."""
        pixels = views[CROPS].pixels_BV1PP
        return (encode_views(self.encoder, pixels.flatten(0, 1)).view(*pixels.shape[:2], -1),)

    def compare(self, encoded: Tensors, targets: Tensors, record: Record) -> Loss:
        """Return the loss of a whole batch: every film is a rival of every other."""
        (cxr_B2D,) = encoded
        first_BD, second_BD = cxr_B2D.unbind(1)
        if self.fusion is not None:
            first_BD = self.fusion(first_BD, record.given_BM)
            if self.ehr.branch == "both":
                second_BD = self.fusion(second_BD, record.given_BM)
        first_BP, second_BP = self.head(first_BD), self.head(second_BD)
        with torch.autocast(first_BP.device.type, enabled=False):
            total, matched = nt_xent(first_BP, second_BP, self.settings.temp)
            with torch.no_grad():
                spread = F.normalize(first_BP.float(), dim=1).std(dim=0).mean() * math.sqrt(first_BP.shape[1])
            numbers = {"cross_entropy": total.detach(), "matched": matched, "feature_std": spread}
            loss = Loss(total, numbers, features_BD=first_BP.detach())
            return add_record_loss(loss, self.record_head, cxr_B2D, record)

    @property
    def published(self) -> VisionTransformer:
        """The encoder, without its head."""
        return self.encoder

    def lr_mults(self) -> dict[str, float]:
        """Return that of the fusion."""
        return {"fusion.": self.ehr.lr_mult}
