"""Masked siamese network with the health record: the paper's equations, and further ways for the record to enter.

    anchor:  z  = h(g([f(mask(x)) ; f_ehr(e)]))        p  = softmax(cos(z, q) / anchor_temp)
    target:  z+ = h+(f+(x))                            p+ = sinkhorn(sharpen(softmax(cos(z+, q) / anchor_temp)))
    loss  =  mean over views of -sum_k p+_k log p_k  +  memax_weight (ln K - H(mean p))

With `ehr.branch = "both"` the target is z+ = h+(g+([f+(x) ; f_ehr+(e)])). With `ehr.predict` the loss of a head that
predicts features from f(mask(x)) is added, times `predict_weight`.
A queue joins the films of the last steps to the batch where the loss looks at all films together: in the Sinkhorn
normalisation and in the mean p of me-max.
Shape letters: B films, N films of batch and queue, V anchor views, D embedding width, K prototypes.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.model.average import move_average
from cxrssl.model.heads import build_fusion, build_projection
from cxrssl.model.objective import RECORD_LOSS, Loss, Number, Objective, Tensors, add_record_loss
from cxrssl.model.queue import FilmQueue
from cxrssl.model.record import NO_RECORD, Record, RecordColumns, RecordHead
from cxrssl.model.stream import encode_kinds
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.objectives import MsnSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.views.draw import Views
from cxrssl.views.plan import Mask, ViewKind, ViewPlan

TARGET, ANCHORS = "target", ("random", "focal")
# Measured on NIH films with vit-micro, 64 and 1,024 prototypes, batches of 64: healthy runs use .85 to .99 of the
# prototypes and spread .83 to .90 from the first step on; without me-max and Sinkhorn usage falls below .1 within 30
# steps, and with a target that copies the anchor (momentum 0) besides, the spread below .3 within 25. Momentum 0 alone
# does not collapse as long as me-max and Sinkhorn hold the prototypes apart.
MIN_USAGE, MIN_SPREAD = 0.1, 0.3


def settings_of(recipe: Recipe) -> MsnSettings:
    """Return the recipe's objective, which is this one."""
    assert isinstance(recipe.objective, MsnSettings), "the recipe names this objective"
    return recipe.objective


def plan_views(recipe: Recipe) -> ViewPlan:
    """Return one target view and the masked anchors. Source: Shurrab et al. 2024, section 1.1."""
    views, objective = recipe.views, settings_of(recipe)
    mask = Mask(objective.mask_frac, objective.hide_last_patch) if objective.mask_frac > 0 else None
    kinds = (
        ViewKind(TARGET, 1, views.global_px, views.global_scale),
        ViewKind("random", views.num_random, views.global_px, views.global_scale, mask),
        ViewKind("focal", views.num_focal, views.focal_px, views.focal_scale, mask if objective.mask_focal else None),
    )
    return ViewPlan(kinds, views, recipe.model.patch_px)


def assign_prototypes(embeddings_BD: Tensor, prototypes_KD: Tensor, temp: float) -> Tensor:
    """Return log softmax(cosine / temp), [B, K]. Source: Assran et al. 2022, eq. 1."""
    # In float32 whatever the encoders ran in: a cosine in bf16 divided by .1 is off by up to .02.
    similarity = F.normalize(embeddings_BD.float(), dim=1) @ F.normalize(prototypes_KD.float(), dim=1).T
    return F.log_softmax(similarity / temp, dim=1)


def sharpen(log_probs_BK: Tensor, temp: float) -> Tensor:
    """Return log of p^(1/temp) renormalised. Source: Assran et al. 2022, eq. 2."""
    return F.log_softmax(log_probs_BK / temp, dim=1)


def sinkhorn(log_probs_NK: Tensor, num_iters: int, log_weights_N: Tensor | None = None) -> Tensor:
    """Return log assignments whose prototypes are used equally, by alternate normalisation; rows sum to 1.

    A row of log weight -inf has no part in it. In logarithms no temperature is too low for float32.
    Source: Cuturi 2013 as used by SwAV and MSN: each prototype receives 1/K of the mass, then each film its weight.
    """
    if num_iters == 0:
        return log_probs_NK
    # Scaling factors of rows and columns in place of the matrix itself: the probabilities are never multiplied out.
    wanted_N = log_probs_NK.new_zeros(len(log_probs_NK)) if log_weights_N is None else log_weights_N
    film_N = wanted_N
    for _ in range(num_iters):
        # First every prototype gets its share, then every film its weight: the films come last, so rows sum to 1.
        prototype_K = -torch.logsumexp(log_probs_NK + film_N[:, None], dim=0)
        film_N = wanted_N - torch.logsumexp(log_probs_NK + prototype_K, dim=1)
    return log_probs_NK + film_N[:, None] + prototype_K


def entropy(log_probs: Tensor) -> Tensor:
    """Return -sum p ln p over the last axis, in nats. From ln p its gradient has no pole where p vanishes."""
    return -(log_probs.exp() * log_probs).sum(dim=-1)


def msn_loss(
    anchors_VBD: Tensor,
    targets_BD: Tensor,
    prototypes_KD: Tensor,
    objective: MsnSettings,
    queue: FilmQueue | None = None,
) -> Loss:
    """Return the loss of a batch. Source: Shurrab et al. 2024, section 1.1 (the equations of the file's header).

    With a queue, Sinkhorn runs over its films too, of which the batch's rows are the targets (SwAV, section 4), and the
    mean p of me-max is that of all these films. H(mean p) of a population has the gradient -(ln mean p) . d(mean p):
    the batch gives d(mean p), batch and queue the nearer estimate of ln mean p. So the gradient through the batch's
    share of the mean is taken whole, not in proportion to its share.
    Shapes: anchors [V, B, D], targets [B, D], prototypes [K, D]; no gradient flows into targets and queue.
    """
    num_views, num_films, _ = anchors_VBD.shape
    # Targets teach and are not taught: a gradient into them lets both branches agree on a constant.
    with torch.no_grad():
        # Of unit vectors spread evenly, each coordinate deviates by 1/sqrt(D).
        spread = F.normalize(targets_BD.float(), dim=1).std(dim=0).mean() * math.sqrt(targets_BD.shape[1])
        log_wanted_BK = _balance_targets(targets_BD, prototypes_KD, objective, queue)
    log_probs = assign_prototypes(anchors_VBD.flatten(0, 1), prototypes_KD, objective.anchor_temp)
    cross_entropy = -(log_wanted_BK.exp() * log_probs.view(num_views, num_films, -1)).sum(dim=2).mean()
    # The mean of probabilities, not of their logarithms: me-max is about how often a prototype is used.
    log_mean_K = torch.logsumexp(log_probs, dim=0) - math.log(len(log_probs))
    joined_K = log_mean_K if queue is None else queue.join_mean(log_mean_K)
    memax = math.log(len(prototypes_KD)) - entropy(joined_K)
    if queue is not None:
        # join_mean gave the batch 1/(1 + batches) of the gradient; this gives it back whole, and leaves the value.
        memax = memax.detach() + (memax - memax.detach()) * (1 + queue.num_batches)
    numbers = {
        "cross_entropy": cross_entropy.detach(),
        "memax": memax.detach(),
        "target_entropy": entropy(log_wanted_BK).mean(),
        "prototype_usage": entropy(log_mean_K.detach()).exp() / len(prototypes_KD),
        "feature_std": spread,
    }
    total = cross_entropy + objective.memax_weight * memax
    return Loss(total, numbers, features_BD=targets_BD, kept=(log_mean_K.detach().exp(),))


def _balance_targets(
    targets_BD: Tensor, prototypes_KD: Tensor, objective: MsnSettings, queue: FilmQueue | None
) -> Tensor:
    """Return the log assignments [B, K] that the anchors are to have."""
    known_ND, log_weights_N = targets_BD, None
    if queue is not None:
        # Old embeddings are scored against the prototypes of today: their old assignments would be stale.
        known_ND = torch.cat([F.normalize(targets_BD.float(), dim=1), queue.targets_QD])
        log_weights_N = torch.cat([queue.targets_QD.new_zeros(len(targets_BD)), queue.log_weights()])
    log_probs_NK = sharpen(assign_prototypes(known_ND, prototypes_KD, objective.anchor_temp), objective.target_temp)
    return sinkhorn(log_probs_NK, objective.sinkhorn_iters, log_weights_N)[: len(targets_BD)]


def _flatten_kept(kept_BVK: Tensor | None) -> Tensor | None:
    return None if kept_BVK is None else kept_BVK.transpose(0, 1).flatten(0, 1)


class MSN(Objective):
    """Anchor branch (encoder, EHR fusion, head, prototypes) and its moving average (target encoder and head)."""

    numbers: tuple[Number, ...] = (
        Number("cross_entropy", "between the targets' and the anchors' assignments, in nats"),
        Number("memax", "ln K minus the entropy of the mean anchor assignment, in nats; 0 uses all prototypes evenly"),
        Number("target_entropy", "mean entropy of the targets, in nats; ln K is uniform, 0 is one prototype a film"),
        Number(
            "prototype_usage",
            "exp(entropy of the mean anchor assignment) / K, in (0, 1]: the share of prototypes in use",
            low=MIN_USAGE,
            complaint="the anchors use {value:.0%} of the prototypes, under {low:.0%}",
        ),
        Number(
            "feature_std",
            "mean standard deviation over the batch of the L2-normalised target embeddings, times sqrt(D)",
            low=MIN_SPREAD,
            complaint="the target embeddings spread {value:.2f}, under {low}; 1 is even",
        ),
    )
    undecayed = (*Objective.undecayed, "prototypes")

    def __init__(self, recipe: Recipe, columns: RecordColumns = NO_RECORD) -> None:
        super().__init__()
        self.settings, self.ehr = settings_of(recipe), recipe.ehr
        self.view_plan = plan_views(recipe)
        self.is_target_first = recipe.train.ema_first
        self.encoder = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
        width = int(self.encoder.embed_dim)
        self.head = build_projection(width, width * recipe.model.head_hidden_mult)
        # M: U(-1/sqrt d, 1/sqrt d); cosine similarity makes the length irrelevant.
        bound = 1 / math.sqrt(width)
        prototypes = torch.empty(self.settings.num_prototypes, width).uniform_(-bound, bound)
        self.prototypes = nn.Parameter(prototypes, requires_grad=self.settings.train_prototypes)
        # Made last, so that runs with and without the record start from the same encoder, head and prototypes.
        self.fusion = build_fusion(recipe.ehr, columns.num_given, width)
        self.record_head = RecordHead(width, columns.predicted, recipe.ehr) if columns.predicted else None
        self.numbers = (*type(self).numbers, *([RECORD_LOSS] if columns.predicted else []))
        # Equal to the anchor at the start, so that the first targets are those of an agreeing pair.
        self.target_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.target_head = copy.deepcopy(self.head).requires_grad_(False)
        self.target_fusion = None
        if self.fusion is not None and recipe.ehr.branch == "both":
            self.target_fusion = copy.deepcopy(self.fusion).requires_grad_(False)
        size = self.settings.queue_size
        batch_size, num_prototypes = recipe.train.batch_size, self.settings.num_prototypes
        self.queue = FilmQueue(size, batch_size, width, num_prototypes) if size else None

    def encode(self, views: Views) -> Tensors:
        """Return the class tokens of the anchor views, [B, V, D]."""
        kinds = [views[purpose] for purpose in ANCHORS if purpose in views]
        # View-major rows: all films of view 0, then of view 1. The head's batch norm and the loss add up in this
        # order, and golden losses hold to the last digit of it.
        flat = [(kind.pixels_BV1PP.transpose(0, 1).flatten(0, 1), _flatten_kept(kind.kept_BVK)) for kind in kinds]
        num_films = len(kinds[0].pixels_BV1PP)
        seen = [cls.view(-1, num_films, cls.shape[1]) for cls in encode_kinds(self.encoder, flat)]
        return (torch.cat(seen).transpose(0, 1),)

    @torch.no_grad()
    def encode_targets(self, views: Views) -> Tensors:
        """Return the class tokens of the target views, [B, D]."""
        return (encode_views(self.target_encoder, views[TARGET].pixels_BV1PP[:, 0]),)

    def compare(self, encoded: Tensors, targets: Tensors, record: Record) -> Loss:
        """Return the loss of a whole batch: batch norm, Sinkhorn and me-max look at all its films together."""
        (cxr_BVD,), (target_cxr_BD,) = encoded, targets
        num_films, num_views, _ = cxr_BVD.shape
        with torch.no_grad():
            if self.target_fusion is not None:
                target_cxr_BD = self.target_fusion(target_cxr_BD, record.given_BM)
            # Else the target sees the film as a user will, without the record.
            targets_BD = self.target_head(target_cxr_BD)
        rows = cxr_BVD.transpose(0, 1).flatten(0, 1)
        if self.fusion is not None:
            assert record.given_BM is not None, "the model was built with columns of the record"
            rows = self.fusion(rows, record.given_BM.repeat(num_views, 1))
        anchors_VBD = self.head(rows).view(num_views, num_films, -1)
        # Exponentials of cosines over a temperature: bf16 has not the digits for them.
        with torch.autocast(anchors_VBD.device.type, enabled=False):
            loss = msn_loss(anchors_VBD, targets_BD, self.prototypes, self.settings, self.queue)
            # From the views of the whole film where there are some: a small part of it shows neither view nor age.
            num_whole = self.view_plan.num_views("random") or num_views
            return add_record_loss(loss, self.record_head, cxr_BVD[:, :num_whole], record)

    def begin_step(self, momentum: float, is_bad: Tensor, progress: float) -> None:
        """Move the target before the step, as the published code does, and let the predicted features begin."""
        super().begin_step(momentum, is_bad, progress)
        if self.is_target_first:
            self.move_target(momentum, is_bad)

    def end_step(self, loss: Loss, momentum: float, is_bad: Tensor) -> None:
        """Let the step's films into the queue, if there is one, and move the target unless it has moved before."""
        if self.queue is not None:
            (mean_K,) = loss.kept
            self.queue.push(loss.features_BD, mean_K, is_bad)
        if not self.is_target_first:
            self.move_target(momentum, is_bad)

    def move_target(self, momentum: float, is_bad: Tensor | float = 0.0) -> None:
        """Move the target towards the anchor, and not at all after a bad step."""
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.encoder, self.target_encoder), (self.head, self.target_head)]
        if self.fusion is not None and self.target_fusion is not None:
            pairs.append((self.fusion, self.target_fusion))
        move_average(pairs, momentum, is_bad)

    @property
    def published(self) -> VisionTransformer:
        """The target encoder."""
        return self.target_encoder

    @property
    def anchor(self) -> VisionTransformer:
        """The anchor encoder."""
        return self.encoder

    def film_parameters(self) -> list[Tensor]:
        """Return those of the anchor encoder."""
        return list(self.encoder.parameters())

    def lr_mults(self) -> dict[str, float]:
        """Return that of the fusion."""
        return {"fusion.": self.ehr.lr_mult}
