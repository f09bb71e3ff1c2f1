"""The projection head h and the EHR branch (f_ehr, g).

Shape letters: B rows (films x views), D embedding width, M EHR columns.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn


def build_projection(width: int, hidden: int) -> nn.Sequential:
    """Return h: three linear layers D -> hidden -> hidden -> D with batch norm and GELU after the first two.

    Source: Shurrab et al. 2024, the head h. Batch statistics are those of the batch at hand, for the moving average
    too, so no running ones are kept.
    """
    # No bias before a batch norm, which would remove it.
    layers: list[nn.Module] = []
    for inputs in (width, hidden):
        layers += [nn.Linear(inputs, hidden, bias=False), nn.BatchNorm1d(hidden, track_running_stats=False), nn.GELU()]
    head = nn.Sequential(*layers, nn.Linear(hidden, width, bias=False))
    for module in head:
        # As timm initialises the encoder's layers.
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
    return head


class EhrFusion(nn.Module):
    """f_ehr and g: the health record embedded, joined to the film's embedding and brought back to its width.

    Source: Shurrab et al. 2024: v_fused = g([v_cxr ; f_ehr(x_ehr)]), both linear without activation.
    """

    def __init__(self, num_columns: int, embed_dim: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(num_columns, embed_dim)
        self.fuse = nn.Linear(width + embed_dim, width)

    def forward(self, cxr_BD: Tensor, ehr_BM: Tensor) -> Tensor:
        # As published, `fuse` starts at random and leaves little of the film's own direction in what it returns.
        return cast(Tensor, self.fuse(torch.cat([cxr_BD, self.embed(ehr_BM)], dim=1)))
