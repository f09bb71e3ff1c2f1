"""The films of the last steps, for what a small batch alone cannot show: how evenly prototypes are used.

Shape letters: B films of a batch, Q films of the queue, S batches of the queue, D embedding width, K prototypes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FilmQueue(nn.Module):
    """Target embeddings and mean anchor assignments of the last steps, newest first; zeros until steps fill it.

    Embeddings are kept, not their assignments, so that they are scored against the prototypes of today.
    Source: Caron et al. 2020 (SwAV), section 4.
    """

    targets_QD: Tensor
    """L2-normalised."""
    means_SK: Tensor
    """The mean assignment of all anchor views of each batch."""
    num_batches: Tensor
    """How many batches it holds, at most S."""

    def __init__(self, num_films: int, batch_size: int, width: int, num_prototypes: int) -> None:
        super().__init__()
        self._batch_size = batch_size
        self.register_buffer("targets_QD", torch.zeros(num_films, width))
        self.register_buffer("means_SK", torch.zeros(-(-num_films // batch_size), num_prototypes))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, targets_BD: Tensor, mean_K: Tensor, is_bad: Tensor) -> None:
        """Take a batch in and let the oldest go, unless `is_bad`; the device decides, nobody waits for its word."""
        # One shape at every step, full or not: a compiled graph is made once, and no branch asks how full it is.
        for kept, new in ((self.targets_QD, F.normalize(targets_BD.float(), dim=1)), (self.means_SK, mean_K[None])):
            moved = torch.cat([new, kept])[: len(kept)]
            kept.copy_(torch.where(is_bad > 0, kept, moved))
        self.num_batches.add_(is_bad <= 0).clamp_(max=len(self.means_SK))

    def log_weights(self) -> Tensor:
        """Return ln 1 for each film that is there and ln 0 for each empty place, [Q]."""
        places_Q = torch.arange(len(self.targets_QD), device=self.targets_QD.device)
        return torch.where(places_Q < self.num_batches * self._batch_size, 0.0, -torch.inf)

    def join_mean(self, log_mean_K: Tensor) -> Tensor:
        """Return the log of the mean assignment over batch and queue; only the batch's share has a gradient."""
        # (mean of the batch + sum of the means kept) / (1 + their number), in logarithms.
        return torch.logaddexp(log_mean_K, self.means_SK.sum(dim=0).log()) - torch.log1p(self.num_batches)
