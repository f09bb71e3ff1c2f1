"""What is measured beside the steps every now and then: the rank of the features, the panel's probe.

In: the loss of a step, the model. Out: numbers for the journal. Never: an effect on the weights: it only reads.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from cxrssl.model.objective import Loss, Objective
from cxrssl.train.pace import PROBE_EVERY, Pace
from cxrssl.train.panel import Panel
from cxrssl.train.plan import RunPlan


class Health:
    """Measures what is due at a step, and which share of the time that takes."""

    def __init__(self, plan: RunPlan, device: torch.device) -> None:
        self._machine = plan.machine
        self._panel = Panel(plan, device) if plan.machine.probe_every != 0 else None
        self._pace = Pace(PROBE_EVERY, plan.machine.probe_every)
        self._started = time.perf_counter()
        self._spent_s = 0.0

    def measure(self, step: int, is_last: bool, loss: Loss, model: Objective) -> dict[str, float]:
        """Return what is due at `step` for the journal."""
        started = time.perf_counter()
        found: dict[str, float] = {}
        if step % self._machine.health_every == 0 or is_last:
            found["feature_rank"] = rank_me(loss.features_BD)
        if self._panel and (self._pace.is_due(step) or is_last):
            with self._pace.spend():
                found |= self._panel.score(model.published)
        now = time.perf_counter()
        self._spent_s += now - started
        return {**found, "health_frac": self._spent_s / max(now - self._started, 1e-9)} if found else {}


def rank_me(embeddings_BD: Tensor) -> float:
    """Return exp(entropy) of the normalised singular values: the number of directions that the embeddings fill.

    Source: Garrido et al. 2023 (RankMe), eq. 1. At most min(B, D); 1 is a line, nan where one is not finite.
    """
    # In double precision on the host, so that the rank does not depend on the device's kernels.
    host_BD = embeddings_BD.detach().to("cpu", torch.float64)
    if not torch.isfinite(host_BD).all():
        return math.nan
    values = torch.linalg.svdvals(host_BD)
    shares = values / values.sum().clamp(min=1e-12)
    return float(torch.special.entr(shares).sum().exp())
