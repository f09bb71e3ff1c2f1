"""The health record of a batch as an objective gets it, and the head that predicts a part of it from the films.

In: numbers that `cohort.encoding` makes. Out: Record, and the loss of its predicted features.
Never: a loss for a value that is unknown.

Shape letters: B films, V views, D embedding width, M columns that the model is given, P value columns and F features
that it predicts.
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


NO_RECORD = RecordColumns()


class Record(NamedTuple):
    """The record of a batch of films; a tensor is None where the model takes or predicts nothing."""

    given_BM: Tensor | None = None
    """What the films are joined with."""
    values_BP: Tensor | None = None
    """One-hot categories and scaled numbers that are predicted; zeros where unknown."""
    known_BF: Tensor | None = None
    """1 where the feature is known, else 0."""

    def to(self, device: torch.device) -> Record:
        return Record(*(None if tensor is None else tensor.to(device) for tensor in self))


NOTHING = Record()


class RecordHead(nn.Module):
    """Linear map from an embedding to the predicted features, and their loss."""

    def __init__(self, width: int, predicted: Sequence[Predicted], ehr: EhrSettings) -> None:
        super().__init__()
        self.predicted, self.ehr = tuple(predicted), ehr
        self.weight = 0.0
        """Weight of the loss in this step."""
        self.linear = nn.Linear(width, sum(feature.width for feature in predicted))
        # As timm initialises a classifier's weights: the first guesses are nearly even, and no feature starts ahead.
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def begin_step(self, progress: float) -> None:
        """Let the loss take part once `predict_start` of the steps are done."""
        self.weight = self.ehr.predict_weight * (progress >= self.ehr.predict_start)

    def forward(self, cls_BVD: Tensor, record: Record) -> Tensor:
        """Return the mean loss over features and views, a scalar: 1 is no better than the best constant guess.

        Cross entropy of categories over their entropy, squared error of numbers over their variance; of each feature
        the mean over the films where it is known, then the mean over the features that are known at all.
        """
        assert record.values_BP is not None, "the batch carries what is predicted"
        assert record.known_BF is not None, "the batch carries what is known"
        guess_BVP = self.linear(cls_BVD.to(self.linear.weight.dtype))
        losses = []
        for feature in self.predicted:
            guess, wanted = guess_BVP[..., feature.columns], record.values_BP[:, None, feature.columns]
            if feature.width > 1:
                loss_BV = -(wanted * F.log_softmax(guess, dim=2)).sum(dim=2)
            else:
                loss_BV = (guess - wanted).square().squeeze(2)
            losses.append(loss_BV.mean(dim=1) / feature.scale)
        loss_BF = torch.stack(losses, dim=1)
        # Counts stay on the device: a batch in which nothing is known gives 0 and no gradient.
        num_known_F = record.known_BF.sum(dim=0)
        loss_F = (loss_BF * record.known_BF).sum(dim=0) / num_known_F.clamp(min=1)
        return loss_F.sum() / (num_known_F > 0).sum().clamp(min=1)
