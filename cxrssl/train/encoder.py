"""The encoder that a run publishes: target weights and what is needed to use them on a film.

In: `encoder/{encoder.safetensors, manifest.json}`. Out: a frozen module from packed films to features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrssl.audit.pretraining import ENCODER_KIND, FILMS_FILE, SeenFilms
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.config import build_settings
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import IntegrityError
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.settings import Recipe
from cxrssl.views.resample import whole_views

WEIGHTS_FILE = "encoder.safetensors"


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder with the recipe that says how films enter it."""

    module: VisionTransformer
    recipe: Recipe
    weights_sha256: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Run, step, dataset, split and hashes; empty for an encoder that was never published."""

    @torch.no_grad()
    def encode_films(self, films_BSS: Tensor, valid_B4: Tensor) -> Tensor:
        """Return features [B, D] (class token after the final norm) of whole films, uint8 [B, S, S] with boxes."""
        return encode_views(self.module, whole_views(films_BSS, valid_B4, self.recipe.views))


def publish_encoder(
    dest: Path,
    module: VisionTransformer,
    recipe: Recipe,
    origin: Mapping[str, Any],
    films: SeenFilms,
) -> None:
    """Publish an encoder with its recipe, its origin and the films it was trained on."""
    # timm's own names, so that a file loads without this package.
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with publish(dest, ENCODER_KIND, {"recipe": recipe.to_dict(), **origin}) as building:
        write_bytes(building / WEIGHTS_FILE, save(weights))
        write_bytes(building / FILMS_FILE, films.to_csv())


def open_encoder(path: Path) -> Encoder:
    """Return a published encoder; every weight must be there, and nothing else."""
    artefact = open_artefact(path, ENCODER_KIND)
    recipe = build_settings(Recipe, artefact.settings["recipe"])
    module = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
    try:
        module.load_state_dict(load((path / WEIGHTS_FILE).read_bytes()), strict=True)
    except RuntimeError as error:
        raise IntegrityError(f"the weights do not fit {recipe.model.backbone}: {error}", path) from None
    sha256 = str(artefact.manifest["files"][WEIGHTS_FILE]["sha256"])
    return Encoder(module.eval().requires_grad_(False), recipe, sha256, artefact.settings)
