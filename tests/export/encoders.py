"""Finished runs with encoders of any backbone, published by the real code and trained on nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cxrssl.core.workspace import Workspace
from cxrssl.model.encoder import publish_encoder
from cxrssl.model.vit import build_encoder
from cxrssl.recipe.load import load_recipe
from cxrssl.records.encoder import EncoderOrigin, SeenFilms

FILMS = SeenFilms(
    np.array(["film-c", "film-a", "film-b"]),
    np.array(["person-1", "person-1", "person-2"]),
    np.array([b"c" * 32, b"a" * 32, b""]),
)


def publish_run(
    workspace: Workspace,
    run_id: str,
    backbone: str = "vit-micro",
    *,
    has_anchor: bool = False,
    dataset: str = "mimic",
    changes: tuple[str, ...] = (),
    **origin: Any,
) -> Any:
    """Publish an encoder whose weights are all drawn, and return its module."""
    recipe = load_recipe("demo", [f"model.backbone={backbone}", *changes])
    modules = []
    for seed in range(1 + has_anchor):
        torch.manual_seed(seed)
        module: Any = build_encoder(backbone, recipe.model.patch_px, recipe.views.global_px).eval()
        with torch.no_grad():
            for weight in module.parameters():  # biases and norms too: a mistake in any of them must show
                weight += 0.05 * torch.randn_like(weight)
        modules.append(module)
    where = EncoderOrigin(run_id, 12, "here", dataset, "official", recipe.sha256, "c" * 64, "i" * 64)
    known = EncoderOrigin(**{**vars(where), **origin})
    publish_encoder(workspace.runs / run_id / "encoder", modules[0], recipe, known, FILMS, *modules[1:])
    return modules[0]
