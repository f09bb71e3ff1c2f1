"""The attention of an encoder's class token to the patches of packed films, published beside its features.

In: an encoder, packed films. Out: `features/<key>/features.npy`, float16 [N, P], row by row of the grid of patches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.features import keep_films, key_of
from cxrssl.images.store import ImageStore
from cxrssl.model.attention import attend_to_patches
from cxrssl.model.encoder import Encoder
from cxrssl.model.reading import count_patches
from cxrssl.records.features import ATTENTION
from cxrssl.train.device import Devices
from cxrssl.views.resample import whole_views


def extract_attention(workspace: Workspace, encoder: Encoder, images: ImageStore, devices: Devices) -> Path:
    """Publish the attention to each patch of all packed films, NaN where a film is not packed; return the folder.

    Raises: UsageError for an encoder without plain attention.
    """
    key, size = key_of(encoder, images, ATTENTION), (count_patches(encoder),)
    return keep_films(workspace, key, encoder, images, devices, _attend, size, np.float16, "attention")


@torch.no_grad()
def _attend(encoder: Encoder, films_BSS: Tensor, valid_B4: Tensor) -> Tensor:
    return attend_to_patches(encoder.module, whole_views(films_BSS, valid_B4, encoder.recipe.views))
