"""What tells a healthy run from one that is being lost: rank and probe of the features, alarms in words.

In: logged records, target embeddings of a batch. Out: numbers for the journal, sentences for people.
Never: an effect on the weights: every function here only reads.

Thresholds, measured on NIH films with vit-micro, 64 and 1,024 prototypes, batches of 64: healthy runs use .85 to .99 of
the prototypes and spread .83 to .90 from the first step on; without me-max and Sinkhorn usage falls below .1 within 30
steps, and with a target that copies the anchor (momentum 0) besides, the spread below .3 within 25. Momentum 0 alone
does not collapse as long as me-max and Sinkhorn hold the prototypes apart.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

WINDOW = 10
"""Logged steps that a median is taken over: one odd batch is no alarm."""
MIN_USAGE = 0.1
MIN_SPREAD = 0.3
SPIKE_RATIO, SPIKE_RISE = 2.0, 0.5


def rank_me(embeddings_BD: Tensor) -> float:
    """Return exp(entropy) of the normalised singular values: the number of directions that the embeddings fill.

    Source: Garrido et al. 2023 (RankMe), eq. 1. At most min(B, D); 1 is a line, nan where one is not finite.
    """
    host_BD = embeddings_BD.detach().to("cpu", torch.float64)
    if not torch.isfinite(host_BD).all():
        return math.nan
    values = torch.linalg.svdvals(host_BD)
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(shares).sum().exp())


@dataclass(frozen=True)
class Alarm:
    """Something that a person should look at."""

    kind: str
    """`collapse` or `spike`."""
    what: str


@dataclass
class Watch:
    """Reads the records of a run as they are logged; raises each kind of alarm once until its cause is gone."""

    _usage: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _spread: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _losses: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _raised: set[str] = field(default_factory=set)

    def update(self, record: Mapping[str, float]) -> list[Alarm]:
        """Return the alarms that this record raises."""
        self._usage.append(record["prototype_usage"])
        self._spread.append(record["feature_std"])
        alarms = [alarm for alarm in (self._find_collapse(), self._find_spike(record["loss"])) if alarm]
        self._losses.append(record["loss"])
        new = [alarm for alarm in alarms if alarm.kind not in self._raised]
        self._raised = {alarm.kind for alarm in alarms}
        return new

    def _find_collapse(self) -> Alarm | None:
        if len(self._usage) < WINDOW:
            return None
        usage, spread = statistics.median(self._usage), statistics.median(self._spread)
        if usage < MIN_USAGE:
            return Alarm("collapse", f"collapse: the anchors use {usage:.0%} of the prototypes, under {MIN_USAGE:.0%}")
        if spread < MIN_SPREAD:
            return Alarm(
                "collapse", f"collapse: the target embeddings spread {spread:.2f}, under {MIN_SPREAD}; 1 is even"
            )
        return None

    def _find_spike(self, loss: float) -> Alarm | None:
        if len(self._losses) < WINDOW // 2:
            return None
        usual = statistics.median(self._losses)
        if loss > SPIKE_RATIO * usual and loss > usual + SPIKE_RISE:
            return Alarm("spike", f"spike: the loss is {loss:.3f}, usually {usual:.3f}")
        return None
