"""The attention of an encoder's class token to the patches of packed films, published beside its features.

In: an encoder, packed films. Out: `features/<key>/features.npy`, float16 [N, P], row by row of the grid of patches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cxrssl.core.artefact import is_published, publish
from cxrssl.core.progress import track
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.features import BATCH_FILMS, architecture_of
from cxrssl.images.store import ImageStore
from cxrssl.model.attention import attend_to_patches
from cxrssl.model.encoder import Encoder
from cxrssl.records.features import ATTENTION, FEATURES, KIND, FeatureKey
from cxrssl.views.resample import whole_views


@torch.no_grad()
def extract_attention(workspace: Workspace, encoder: Encoder, images: ImageStore, device: torch.device) -> Path:
    """Publish the attention to each patch of all packed films, NaN where a film is not packed; return the folder.

    Raises: UsageError for an encoder without plain attention.
    """
    shape = architecture_of(encoder.recipe)
    key = FeatureKey(encoder.weights_sha256, images.content_sha256, shape, ATTENTION)
    path = key.folder(workspace)
    if is_published(path, KIND, key.to_dict()):
        return path
    encoder.module.to(device)
    packed = np.flatnonzero(images.is_packed_N)
    size = len(images.is_packed_N), (shape.view_px // shape.patch_px) ** 2
    with publish(path, KIND, key.to_dict()) as building, track("attention", len(packed), "films") as progress:
        values = np.lib.format.open_memmap(building / FEATURES, mode="w+", dtype=np.float16, shape=size)
        values[:] = np.nan
        for start in range(0, len(packed), BATCH_FILMS):
            rows = packed[start : start + BATCH_FILMS]
            films = torch.from_numpy(images.read_rows(rows)).to(device)
            valid = torch.from_numpy(images.box_N4[rows].astype(np.float32)).to(device)
            views = whole_views(films, valid, encoder.recipe.views)
            values[rows] = attend_to_patches(encoder.module, views).float().cpu().numpy()
            progress.advance(len(rows))
        values.flush()
        del values
    return path
