"""A target network that follows a trained one as its moving average."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def move_average(pairs: Sequence[tuple[nn.Module, nn.Module]], momentum: float, is_bad: Tensor | float = 0.0) -> None:
    """Move the second network of each pair by (1 - momentum) of its distance to the first; not at all when `is_bad`.

    Source: Assran et al. 2022, section 3; Caron et al. 2021, section 3.1.
    """
    trained: list[Tensor] = [value for network, _ in pairs for value in network.parameters()]
    moving: list[Tensor] = [value for _, network in pairs for value in network.parameters()]
    # The device itself decides whether the step was good: asking it would hold the host up at every step.
    moves = torch._foreach_sub(trained, moving)
    torch._foreach_mul_(moves, (1.0 - momentum) * (1.0 - is_bad))
    torch._foreach_add_(moving, moves)
