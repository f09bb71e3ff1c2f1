"""What a training objective is: the seam between the loop, which knows no equation, and the equations.

    views     an objective asks for them by a plan                                  view_plan
    encode    film by film, so that a batch may be encoded in parts and by processes    encode, encode_targets
    compare   over the whole batch, because batch norm and normalisations need it       compare
    end_step  what moves without a gradient: a moving average, a queue                  end_step
    publish   the encoder that probes, reports and users get                            published

A new objective is a subclass here, a dataclass of settings in `recipe.objectives` and a line in `model.build`.
Shape letters: B films, V views, D embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.model.record import NOTHING, Record, RecordHead
from cxrssl.views.draw import CutKinds, Views, cut_kinds
from cxrssl.views.plan import ViewPlan

Tensors = tuple[Tensor, ...]
"""Tensors whose first axis is the films."""


@dataclass(frozen=True)
class Number:
    """A scalar of every step that the journal records."""

    name: str
    meaning: str
    low: float | None = None
    """The least value of a healthy run; the median of several steps below it is a collapse."""
    complaint: str = ""
    """What a collapse means: a format of `value` and `low`."""


@dataclass(frozen=True)
class Loss:
    """The loss of a batch and what is recorded of it; everything lies on the device, only `total` has a gradient."""

    total: Tensor
    numbers: Mapping[str, Tensor]
    """The scalars that the objective's `numbers` declare."""
    features_BD: Tensor
    """Embeddings whose rank shows whether the features fill their space."""
    kept: Tensors = ()
    """What the objective wants back at the end of the step."""


RECORD_LOSS = Number("record_loss", "loss of the predicted features; 1 is no better than the best constant guess")


def add_record_loss(loss: Loss, head: RecordHead | None, cls_BVD: Tensor, record: Record) -> Loss:
    """Return the loss with that of the predicted features, or as it is when there are none."""
    if head is None:
        return loss
    record_loss = head(cls_BVD, record)
    numbers = {**loss.numbers, RECORD_LOSS.name: record_loss.detach()}
    return replace(loss, total=loss.total + head.weight * record_loss, numbers=numbers)


class Objective(nn.Module, ABC):
    """A model that turns views into a loss. Weights are registered as in any module; a checkpoint holds them all."""

    numbers: tuple[Number, ...]
    undecayed: tuple[str, ...] = ("cls_token", "pos_embed")
    """Ends of the names of the matrices that weight decay leaves alone; norms and biases it always does."""
    view_plan: ViewPlan

    def __init__(self) -> None:
        super().__init__()
        self.cut_kinds: CutKinds = cut_kinds
        """How its views are cut from the films."""
        self.record_head: RecordHead | None = None
        """Predicts features of the record, where the recipe asks for it."""

    @abstractmethod
    def encode(self, views: Views) -> Tensors:
        """Return what depends on one film alone and carries a gradient. It is called twice when a batch is in parts."""

    def encode_targets(self, views: Views) -> Tensors:
        """Return what depends on one film alone and carries no gradient."""
        return ()

    @abstractmethod
    def compare(self, encoded: Tensors, targets: Tensors, record: Record) -> Loss:
        """Return the loss of a whole batch from what the encoders gave for it and the health record."""

    def end_step(self, loss: Loss, momentum: float, is_bad: Tensor) -> None:
        """Move what has no gradient; leave it as it is when `is_bad`, a scalar on the device, is 1."""

    def begin_step(self, momentum: float, is_bad: Tensor, progress: float) -> None:
        """Move what moves before the step, if the recipe says so; leave it as it is when `is_bad` is 1.

        `progress` is the share of the run's steps that are done.
        """
        if self.record_head is not None:
            self.record_head.begin_step(progress, is_bad)

    @property
    @abstractmethod
    def published(self) -> VisionTransformer:
        """The encoder that the run is for."""

    @property
    def anchor(self) -> VisionTransformer | None:
        """The trained encoder that `published` follows as its moving average; None where that is itself trained."""
        return None

    @property
    def finding_head(self) -> nn.Linear | None:
        """The layer that scores findings from the class token; None where labels are not learnt."""
        return None

    def film_parameters(self) -> Sequence[Tensor]:
        """Return the parameters that `encode` uses: several processes add up their gradients."""
        return list(self.published.parameters())

    def trained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Return the named parameters that the optimiser trains."""
        return [(name, value) for name, value in self.named_parameters() if value.requires_grad]

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def lr_mults(self) -> dict[str, float]:
        """Return the learning rates that are a multiple of the recipe's, by the beginning of the parameters' names."""
        return {}

    def forward(self, views: Views, record: Record = NOTHING) -> Loss:
        """Return the loss of views that are all at hand."""
        return self.compare(self.encode(views), self.encode_targets(views), record)
