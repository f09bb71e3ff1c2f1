"""The projection head h and the EHR branch (f_ehr, g).

Shape letters: B rows (films x views), D embedding width, M EHR columns.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from cxrssl.recipe.settings import EhrSettings


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


def build_fusion(ehr: EhrSettings, num_columns: int, width: int) -> EhrFusion | None:
    """Return the fusion of a recipe, None without columns to join."""
    if not num_columns:
        return None
    return EhrFusion(num_columns, ehr.embed_dim, width, ehr.fusion, ehr.start)


class EhrFusion(nn.Module):
    """f_ehr and g: the health record embedded, and joined to the film's embedding at its width.

        linear  g(v, e) = A v + B e + c         Source: Shurrab et al. 2024, eq. of v_fused, without activation.
        mlp     g(v, e) = v + W gelu(U [v; e])
        film    g(v, e) = v (1 + s(e)) + t(e), s and t linear in gelu(e)      Source: Perez et al. 2018 (FiLM)

    Started as the identity, g returns v whatever the record says: the record's weights are 0, and A v is v + A' v with
    A' = 0, so that weight decay pulls towards "no effect". Started at random, as published, g leaves little of the
    film's own direction in what it returns. Differs: the published start exists for `linear` alone.
    """

    def __init__(self, num_columns: int, embed_dim: int, width: int, fusion: str = "linear", start: str = "random"):
        super().__init__()
        self.kind, self.is_residual = fusion, start == "identity" or fusion != "linear"
        self.embed = nn.Linear(num_columns, embed_dim)
        if fusion == "linear":
            self.fuse: nn.Module = nn.Linear(width + embed_dim, width)
            last = self.fuse
        elif fusion == "mlp":
            last = nn.Linear(width, width)
            self.fuse = nn.Sequential(nn.Linear(width + embed_dim, width), nn.GELU(), last)
        else:
            last = nn.Linear(embed_dim, 2 * width)
            self.fuse = nn.Sequential(nn.GELU(), last)
        if start == "identity":
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, cxr_BD: Tensor, ehr_BM: Tensor) -> Tensor:
        """Return the fused embedding, [B, D]."""
        embedded = self.embed(ehr_BM)
        if self.kind == "film":
            scale, shift = self.fuse(embedded).chunk(2, dim=1)
            return cast(Tensor, cxr_BD + cxr_BD * scale + shift)
        moved = cast(Tensor, self.fuse(torch.cat([cxr_BD, embedded], dim=1)))
        return cxr_BD + moved if self.is_residual else moved
