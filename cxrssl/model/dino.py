"""DINO: a student's assignment of every crop is to be its teacher's assignment of another crop of the whole film.

    student  p_s = softmax(h(g([f(x) ; f_ehr(e)])) / student_temp)
    teacher  p_t = softmax((h+(f+(x)) - c) / teacher_temp)
    loss     = mean over pairs of a global crop x and another crop x' of  -sum_k p_t(x)_k ln p_s(x')_k

The teacher is the moving average of the student; c, the centre, that of the teacher's mean output.
Source: Caron et al. 2021, section 3, algorithm 1. Differs: no distortion of colours and no blur; the rows of the last
layer have unit length from the start (their `norm_last_layer`); the teacher's temperature is constant; its momentum
rises in a straight line (`train.schedule`); gradients are clipped as one; the record may join the student, or both.
Shape letters: B films, V crops of a film, D embedding width, K outputs.
"""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.model.average import move_average
from cxrssl.model.heads import build_fusion
from cxrssl.model.objective import RECORD_LOSS, Loss, Number, Objective, Tensors, add_record_loss
from cxrssl.model.record import NO_RECORD, Record, RecordColumns, RecordHead
from cxrssl.model.stream import encode_kinds
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.objectives import DinoSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.views.draw import Views
from cxrssl.views.plan import ViewKind, ViewPlan

GLOBAL, FOCAL = "global", "focal"
NUM_GLOBAL = 2


class DinoHead(nn.Module):
    """h: three linear layers with GELU to a bottleneck of unit length, then K unit rows: K cosines. Source: section 3.

    The last layer may be held: without a target that means something, its rows run away in the first steps.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, num_outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        for module in self.layers:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.rows = nn.Parameter(F.normalize(torch.randn(num_outputs, bottleneck), dim=1))

    def forward(self, embedding_BD: Tensor, is_held: bool = False) -> Tensor:
        """Return [B, K]."""
        bottleneck = self.layers(embedding_BD)
        # Cosines over a temperature of .04: bf16 has not the digits for them.
        with torch.autocast(bottleneck.device.type, enabled=False):
            rows = F.normalize(self.rows.detach() if is_held else self.rows, dim=1)
            return F.linear(F.normalize(bottleneck.to(rows.dtype), dim=1), rows)


def dino_loss(student_VBK: Tensor, teacher_GBK: Tensor, centre_K: Tensor, settings: DinoSettings) -> Tensor:
    """Return the loss, a scalar; the first G of the student's crops are those that the teacher sees.

    Source: Caron et al. 2021, eq. 3 and algorithm 1.
    """
    log_student = F.log_softmax(student_VBK / settings.student_temp, dim=2)
    wanted = F.softmax((teacher_GBK - centre_K) / settings.teacher_temp, dim=2)
    terms = -torch.einsum("gbk,vbk->gv", wanted, log_student) / student_VBK.shape[1]
    # A crop is not compared with itself.
    is_other = 1 - torch.eye(*terms.shape, device=terms.device)
    return (terms * is_other).sum() / is_other.sum()


class DINO(Objective):
    """Student (encoder, fusion, head), its moving average, and the centre of the average's outputs."""

    numbers: tuple[Number, ...] = (
        Number("cross_entropy", "between the teacher's and the student's assignments, in nats"),
        Number("target_entropy", "mean entropy of the teacher's assignments, in nats; ln K is uniform"),
        Number(
            "output_usage",
            "exp(entropy of the teacher's mean assignment) / K, in (0, 1]: the share of outputs in use",
            low=0.001,
            complaint="the teacher uses {value:.2%} of the outputs, under {low:.1%}",
        ),
        Number(
            "feature_std",
            "mean standard deviation over the batch of the teacher's L2-normalised class tokens, times sqrt(D)",
            low=0.01,
            complaint="the class tokens spread {value:.3f}, under {low}; 1 is even",
        ),
    )
    undecayed = (*Objective.undecayed, "head.rows")

    def __init__(self, recipe: Recipe, columns: RecordColumns = NO_RECORD) -> None:
        super().__init__()
        assert isinstance(recipe.objective, DinoSettings), "the recipe names this objective"
        self.settings, self.ehr = recipe.objective, recipe.ehr
        self.view_plan = _plan_views(recipe)
        self.encoder = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
        width = int(self.encoder.embed_dim)
        hidden = width * recipe.model.head_hidden_mult
        self.head = DinoHead(width, hidden, self.settings.bottleneck_dim, self.settings.num_outputs)
        self.fusion = build_fusion(recipe.ehr, columns.num_given, width)
        self.record_head = RecordHead(width, columns.predicted, recipe.ehr) if columns.predicted else None
        self.numbers = (*type(self).numbers, *([RECORD_LOSS] if columns.predicted else []))
        self.is_held = False
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.target_head = copy.deepcopy(self.head).requires_grad_(False)
        self.target_fusion = None
        if self.fusion is not None and recipe.ehr.branch == "both":
            self.target_fusion = copy.deepcopy(self.fusion).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(self.settings.num_outputs))
        self.centre: Tensor

    def encode(self, views: Views) -> Tensors:
        """Return the class tokens of all crops, the global ones first, [B, V, D]."""
        kinds = [views[purpose].pixels_BV1PP for purpose in (GLOBAL, FOCAL) if purpose in views]
        found = encode_kinds(self.encoder, [(pixels_BV1PP.flatten(0, 1), None) for pixels_BV1PP in kinds])
        tokens = [cls.view(len(kinds[0]), -1, cls.shape[1]) for cls in found]
        return (torch.cat(tokens, dim=1),)

    @torch.no_grad()
    def encode_targets(self, views: Views) -> Tensors:
        """Return the teacher's class tokens of the global crops, [B, 2, D]."""
        pixels = views[GLOBAL].pixels_BV1PP
        return (encode_views(self.target_encoder, pixels.flatten(0, 1)).view(*pixels.shape[:2], -1),)

    def compare(self, encoded: Tensors, targets: Tensors, record: Record) -> Loss:
        """Return the loss of a whole batch, whose mean moves the centre."""
        (cxr_BVD,), (target_BGD,) = encoded, targets
        student = _join(self.fusion, cxr_BVD, record)
        student_VBK = self.head(student.transpose(0, 1).flatten(0, 1), self.is_held)
        student_VBK = student_VBK.view(cxr_BVD.shape[1], len(cxr_BVD), -1)
        with torch.no_grad():
            teacher = _join(self.target_fusion, target_BGD, record)
            teacher_GBK = self.target_head(teacher.transpose(0, 1).flatten(0, 1)).view(NUM_GLOBAL, len(cxr_BVD), -1)
        with torch.autocast(student_VBK.device.type, enabled=False):
            total = dino_loss(student_VBK, teacher_GBK, self.centre, self.settings)
            loss = Loss(
                total,
                {"cross_entropy": total.detach(), **self._describe(teacher_GBK, target_BGD)},
                features_BD=target_BGD[:, 0].float(),
                kept=(teacher_GBK.mean(dim=(0, 1)),),
            )
            return add_record_loss(loss, self.record_head, cxr_BVD[:, :NUM_GLOBAL], record)

    @torch.no_grad()
    def _describe(self, teacher_GBK: Tensor, target_BGD: Tensor) -> dict[str, Tensor]:
        log_probs = F.log_softmax((teacher_GBK - self.centre) / self.settings.teacher_temp, dim=2)
        log_mean_K = torch.logsumexp(log_probs.flatten(0, 1), dim=0) - math.log(log_probs[..., 0].numel())
        tokens_BD = F.normalize(target_BGD[:, 0].float(), dim=1)
        return {
            "target_entropy": -(log_probs.exp() * log_probs).sum(dim=2).mean(),
            "output_usage": (-(log_mean_K.exp() * log_mean_K).sum()).exp() / len(log_mean_K),
            "feature_std": tokens_BD.std(dim=0).mean() * math.sqrt(tokens_BD.shape[1]),
        }

    def begin_step(self, momentum: float, is_bad: Tensor, progress: float) -> None:
        """Hold the last layer in the first steps, and let the predicted features begin."""
        super().begin_step(momentum, is_bad, progress)
        self.is_held = progress < self.settings.hold_frac

    @torch.no_grad()
    def end_step(self, loss: Loss, momentum: float, is_bad: Tensor) -> None:
        """Move the teacher and the centre, unless the step was bad."""
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.encoder, self.target_encoder), (self.head, self.target_head)]
        if self.fusion is not None and self.target_fusion is not None:
            pairs.append((self.fusion, self.target_fusion))
        move_average(pairs, momentum, is_bad)
        (mean_K,) = loss.kept
        # A selection, as 0 times a number that is not finite is not 0.
        moved_K = torch.lerp(mean_K, self.centre, self.settings.centre_momentum)
        self.centre.copy_(torch.where(is_bad > 0, self.centre, moved_K))

    @property
    def published(self) -> VisionTransformer:
        """The teacher's encoder."""
        return self.target_encoder

    @property
    def anchor(self) -> VisionTransformer:
        """The student's encoder."""
        return self.encoder

    def film_parameters(self) -> list[Tensor]:
        """Return those of the student's encoder."""
        return list(self.encoder.parameters())

    def lr_mults(self) -> dict[str, float]:
        """Return that of the fusion."""
        return {"fusion.": self.ehr.lr_mult}


def _plan_views(recipe: Recipe) -> ViewPlan:
    views = recipe.views
    kinds = (
        ViewKind(GLOBAL, NUM_GLOBAL, views.global_px, views.global_scale),
        ViewKind(FOCAL, views.num_focal, views.focal_px, views.focal_scale),
    )
    return ViewPlan(kinds, views, recipe.model.patch_px)


def _join(fusion: nn.Module | None, cxr_BVD: Tensor, record: Record) -> Tensor:
    """Return the crops' embeddings joined with the record of their film, where there is a fusion."""
    if fusion is None:
        return cxr_BVD
    assert record.given_BM is not None, "the model was built with columns of the record"
    record_RM = record.given_BM.repeat_interleave(cxr_BVD.shape[1], dim=0)
    return cast(Tensor, fusion(cxr_BVD.flatten(0, 1), record_RM)).view(cxr_BVD.shape)
