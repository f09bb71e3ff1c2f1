"""The health record of a batch as an objective gets it, and the head that predicts a part of it from the films.

In: numbers that `cohort.encoding` makes. Out: Record, and the loss of its predicted features.
Never: a loss for a value that is unknown.

Shape letters: B films, V views, D embedding width, M columns that the model is given, P value columns and F features
that it predicts, L findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxrssl.recipe.settings import EhrSettings


@dataclass(frozen=True)
class Predicted:
    """One feature that is predicted from the film."""

    name: str
    first: int
    """Its first column among the P."""
    width: int
    """Number of categories; 1 for a number."""
    scale: float
    """Loss of the best constant guess on the training films: the entropy of the categories in nats, or the variance of
    the number. Divided by it, each feature's loss is 1 as long as the film says nothing about it."""

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + self.width)


@dataclass(frozen=True)
class RecordColumns:
    """What of the record a model is built for."""

    num_given: int = 0
    """M; with 0 there is no fusion."""
    predicted: tuple[Predicted, ...] = ()
    num_findings: int = 0
    """L, for an objective that learns labels."""


NO_RECORD = RecordColumns()


class Record(NamedTuple):
    """The record of a batch of films; a tensor is None where the model takes or predicts nothing."""

    given_BM: Tensor | None = None
    """What the films are joined with."""
    values_BP: Tensor | None = None
    """One-hot categories and scaled numbers that are predicted; zeros where unknown."""
    known_BF: Tensor | None = None
    """1 where the feature is known, else 0."""
    withheld_B: Tensor | None = None
    """1 for films of people whose record the head is never taught, so that its skill is measured on them; else 0."""
    labels_BL: Tensor | None = None
    """Findings, for an objective that learns them: 1, 0, and -1 where the label is unknown or does not count."""

    def to(self, device: torch.device) -> Record:
        return Record(*(None if tensor is None else tensor.to(device) for tensor in self))


NOTHING = Record()


# The skill of a feature starts at 0 as if so many withheld films had been predicted no better than by a constant, and
# follows the last of about so many.
PRIOR_FILMS, SKILL_FILMS = 64.0, 256.0


class RecordHead(nn.Module):
    """Linear map from an embedding to the predicted features, and their loss.

    With `ehr.predict_gate = "skill"` the encoder is taught each feature in proportion to how well the head predicts it
    for people whose record it is never taught: a record that has nothing to do with the films leaves the encoder alone.
    """

    losses_2F: Tensor
    """Withheld films, weighted towards the last: sum of their losses and their number."""
    last_2F: Tensor
    """The same of the last step alone, until it is known not to be a bad one."""

    def __init__(self, width: int, predicted: Sequence[Predicted], ehr: EhrSettings) -> None:
        super().__init__()
        self.predicted, self.ehr = tuple(predicted), ehr
        self.weight = 0.0
        """Weight of the loss in this step."""
        self.linear = nn.Linear(width, sum(feature.width for feature in predicted))
        # As timm initialises a classifier's weights: the first guesses are nearly even, and no feature starts ahead.
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        self.is_gated = ehr.predict_gate == "skill"
        if self.is_gated:
            self.register_buffer("losses_2F", torch.full((2, len(predicted)), PRIOR_FILMS))
            self.register_buffer("last_2F", torch.zeros(2, len(predicted)))

    def begin_step(self, progress: float, is_bad: Tensor) -> None:
        """Let the loss take part once `predict_start` of the steps are done, and count the last step's losses."""
        self.weight = self.ehr.predict_weight * (progress >= self.ehr.predict_start)
        if self.is_gated:
            # Where the step was bad its losses may be nan: they are left out, not multiplied by 0.
            last_2F = torch.where(is_bad > 0, torch.zeros_like(self.last_2F), self.last_2F)
            # A step of more films than that leaves nothing of the steps before it.
            self.losses_2F.mul_((1 - last_2F[1] / SKILL_FILMS).clamp(min=0)).add_(last_2F)
            self.last_2F.zero_()

    @property
    def skill_F(self) -> Tensor:
        """How far the loss of withheld films lies below that of the best constant guess, in [0, 1]."""
        return (1 - self.losses_2F[0] / self.losses_2F[1]).clamp(min=0)

    def forward(self, cls_BVD: Tensor, record: Record) -> Tensor:
        """Return the mean loss over features and views, a scalar: 1 is no better than the best constant guess.

        Cross entropy of categories over their entropy, squared error of numbers over their variance; of each feature
        the mean over the films where it is known, then the mean over the features that are known at all.
        """
        assert record.values_BP is not None, "the batch carries what is predicted"
        assert record.known_BF is not None, "the batch carries what is known"
        cls_BVD = cls_BVD.to(self.linear.weight.dtype)
        losses = []
        for f, feature in enumerate(self.predicted):
            seen_BVD = self._gate(cls_BVD, f)
            guess = F.linear(seen_BVD, self.linear.weight[feature.columns], self.linear.bias[feature.columns])
            wanted = record.values_BP[:, None, feature.columns]
            if feature.width > 1:
                loss_BV = -(wanted * F.log_softmax(guess, dim=2)).sum(dim=2)
            else:
                loss_BV = (guess - wanted).square().squeeze(2)
            losses.append(loss_BV.mean(dim=1) / feature.scale)
        loss_BF, taught_BF = torch.stack(losses, dim=1), record.known_BF
        if self.is_gated:
            taught_BF = self._withhold(loss_BF, record)
        # Counts stay on the device: a batch in which nothing is known gives 0 and no gradient.
        num_known_F = taught_BF.sum(dim=0)
        loss_F = (loss_BF * taught_BF).sum(dim=0) / num_known_F.clamp(min=1)
        return loss_F.sum() / (num_known_F > 0).sum().clamp(min=1)

    def _gate(self, cls_BVD: Tensor, f: int) -> Tensor:
        """Return the embedding, through which as much of a feature's gradient passes as the head has skill."""
        return cls_BVD.detach() + self.skill_F[f] * (cls_BVD - cls_BVD.detach()) if self.is_gated else cls_BVD

    def _withhold(self, loss_BF: Tensor, record: Record) -> Tensor:
        """Note the losses of withheld films and return what is known of the others."""
        assert record.known_BF is not None, "the batch carries what is known"
        assert record.withheld_B is not None, "the batch carries whose record is withheld"
        withheld_BF = record.known_BF * record.withheld_B[:, None]
        if self.training:
            self.last_2F.copy_(torch.stack([(loss_BF.detach() * withheld_BF).sum(dim=0), withheld_BF.sum(dim=0)]))
        return record.known_BF - withheld_BF
