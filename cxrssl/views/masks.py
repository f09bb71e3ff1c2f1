"""Which patches a masked view keeps: a function of a seed, drawn on the CPU.

Shape letters: B films, V views of a kind, K kept patches.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cxrssl.views.plan import Mask


def draw_kept(num_films: int, num_views: int, num_patches: int, mask: Mask, seed: int) -> Tensor:
    """Draw which patches each anchor keeps: [B, V, K] ascending indices, the same number for every view.

    Source: Assran et al. 2022, section 3 (random drop). The class token is never counted and always kept.
    """
    choices = num_patches - mask.hides_last
    # Rounded down, and the same number in every view, so that views stack; one patch at least stays.
    num_kept = max(1, int(num_patches * (1 - mask.dropped_frac)) - mask.hides_last)
    noise = torch.rand((num_films, num_views, choices), generator=torch.Generator().manual_seed(seed))
    # Equal draws in the order of their patches, whatever the machine: the draw's 24 bits above those of the index.
    keys = np.sort(((noise * 2**24).long() * 2**32 + torch.arange(choices)).numpy(), axis=2)[:, :, :num_kept]
    return torch.from_numpy(np.sort(keys & (2**32 - 1), axis=2))
