"""What keeps a number that is not finite from weights, moments and target, without a wait for the device.

In: the numbers of a step, AdamW's moments. Out: a flag on the device that optimiser, target and queue obey.
Never: a change of any of them by the first bad step or by one that comes after it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Guard:
    """`is_bad` is 0 on the device, and 1 from the first bad step on."""

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._optimizer = optimizer
        self.is_bad = torch.zeros((), device=device)
        # Fused AdamW reads this flag on the device and leaves its weights alone: no host asks whether to step.
        optimizer.found_inf = self.is_bad  # type: ignore[attr-defined]

    @torch.no_grad()
    def check(self, numbers_P: Tensor) -> None:
        """Look at a step's numbers, and at the moments that it is about to change."""
        # A moment that overflowed makes a good gradient a bad step.
        moments = [state[name] for state in self._optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
        largest = torch._foreach_norm(moments, math.inf) if moments else []
        is_good = torch.isfinite(torch.stack([numbers_P.abs().max(), *largest])).all()
        # Once bad, always bad: steps that are under way when the host learns of it change nothing either.
        self.is_bad.masked_fill_(~is_good, 1.0)
