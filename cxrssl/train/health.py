"""What is measured beside the steps every now and then: the rank of the features, the panel's probe.

In: the loss of a step, the model. Out: numbers for the journal. Never: an effect on the weights: it only reads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cxrssl.model.objective import Loss, Objective
from cxrssl.train.meter import HostCopy, bring
from cxrssl.train.pace import PROBE_EVERY, Pace
from cxrssl.train.panel import Panel
from cxrssl.train.plan import RunPlan


@dataclass(frozen=True)
class Measured:
    """What was measured at a step; the rank of its features may still be on its way from the device."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    products: HostCopy | None = None

    def read(self) -> dict[str, float]:
        """Return all of it for the journal."""
        rank = {} if self.products is None else {"feature_rank": rank_of(self.products.read())}
        return {**rank, **self.numbers}


NOTHING_MEASURED = Measured()


class Health:
    """Measures what is due at a step, and which share of the time that takes."""

    def __init__(self, plan: RunPlan, device: torch.device) -> None:
        self._machine = plan.machine
        self._panel = Panel(plan, device) if plan.machine.probe_every != 0 else None
        self._pace = Pace(PROBE_EVERY, plan.machine.probe_every)
        self._started = time.perf_counter()
        self._spent_s = 0.0

    def measure(self, step: int, is_last: bool, loss: Loss, model: Objective) -> Measured:
        """Return what is due at `step` for the journal."""
        started = time.perf_counter()
        found: dict[str, float] = {}
        products = None
        if step % self._machine.health_every == 0 or is_last:
            products = bring(multiply_features(loss.features_BD))
        if self._panel and (self._pace.is_due(step) or is_last):
            with self._pace.spend():
                found |= self._panel.score(model.published)
        now = time.perf_counter()
        self._spent_s += now - started
        if not found and products is None:
            return NOTHING_MEASURED
        return Measured({**found, "health_frac": self._spent_s / max(now - self._started, 1e-9)}, products)


def rank_me(embeddings_BD: Tensor) -> float:
    """Return exp(entropy) of the normalised singular values: the number of directions that the embeddings fill.

    Source: Garrido et al. 2023 (RankMe), eq. 1. At most min(B, D); 1 is a line, nan where one is not finite.
    """
    return rank_of(multiply_features(embeddings_BD).cpu())


def multiply_features(embeddings_BD: Tensor) -> Tensor:
    """Return the products of all pairs of films, or of all pairs of dimensions if these are fewer, float64, [M, M].

    Their eigenvalues are the squares of the embeddings' singular values. It stays on the device and waits for nothing.
    """
    wide = embeddings_BD.detach().double()
    return wide @ wide.T if len(wide) < wide.shape[1] else wide.T @ wide


def rank_of(products_MM: Tensor) -> float:
    """Return `rank_me` of the embeddings whose products these are."""
    if not torch.isfinite(products_MM).all():
        return math.nan
    values = torch.linalg.eigvalsh(products_MM).clamp(min=0).sqrt()
    # The root of what rounding leaves of an eigenvalue 0 is no direction.
    values = torch.where(values > values.max() * 1e-7, values, 0)
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(shares).sum().exp())
