"""Encode films on the fake GPU: `python -m tests.gpu.fake.features` prints what the loop asked of the device.

With the word `planted` each batch is brought to the host at once, as it must not be.
"""

from __future__ import annotations

import contextlib
import json
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from cxrssl.evaluate import encode
from cxrssl.model.encoder import Encoder
from cxrssl.model.vit import build_encoder
from cxrssl.recipe.load import load_recipe
from cxrssl.records.encoder import NOWHERE
from cxrssl.train.meter import HostCopy
from tests.gpu.fake.device import CUDA, Parts, fake_gpu

NUM_FILMS, BATCH_FILMS, FILM_PX = 20, 4, 64
SMALL = ["model.backbone=vit-micro", "model.patch_px=8", "views.global_px=48"]


class Reader:
    """Films that are on the device already."""

    def __init__(self, images: Any, batches: list[Any], *_: object) -> None:
        self._sizes = iter([len(batch) for batch in batches])

    def take(self, what: str) -> Tensor:
        return torch.empty((next(self._sizes), FILM_PX, FILM_PX), dtype=torch.uint8, device=CUDA)

    def close(self) -> None: ...


def bring_at_once(values: Tensor) -> HostCopy:
    return HostCopy(values.cpu(), None)


def main() -> None:
    recipe = load_recipe("strict", SMALL)
    module = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px).eval()
    encoder = Encoder(module.requires_grad_(False), recipe, "", NOWHERE)
    images: Any = SimpleNamespace(size_px=FILM_PX, box_N4=np.full((NUM_FILMS, 4), FILM_PX, np.int16))
    parts, arrived = Parts(), []
    with contextlib.ExitStack() as stack:
        stack.enter_context(fake_gpu())
        for each in module.modules():
            for name, value in list(each._parameters.items()):
                if value is not None:
                    fake = torch.empty(value.shape, dtype=value.dtype, device=CUDA)
                    each._parameters[name] = nn.Parameter(fake, requires_grad=False)
        stack.enter_context(patch.object(module, "to", lambda device: module))
        stack.enter_context(patch.object(encode, "FilmReader", Reader))
        stack.enter_context(patch.object(encode, "choose_size", lambda *_: BATCH_FILMS))
        # What a fake tensor holds cannot be read: that is all that lies beyond.
        stack.enter_context(patch.object(encode, "_arrive", lambda rows, copied: arrived.append(rows.tolist())))
        if "planted" in sys.argv:
            stack.enter_context(patch.object(encode, "bring", bring_at_once))

        def read(own: Encoder, films: Tensor, valid: Tensor) -> Tensor:
            return own.encode_films(films, valid)

        def loop() -> None:
            list(encode.encode_rows(encoder, images, np.arange(NUM_FILMS), CUDA, read))

        parts.named("features", loop)()
    sys.stdout.write(json.dumps({**vars(parts.found["features"]), "arrived": arrived}))


if __name__ == "__main__":
    main()
