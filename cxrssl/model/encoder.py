"""The encoder that a run publishes: target weights and what is needed to use them on a film.

In: `encoder/{encoder.safetensors, manifest.json}`. Out: a frozen module from packed films to features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from cxrssl.core.artefact import publish
from cxrssl.core.config import build_settings
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import IntegrityError
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.settings import Recipe
from cxrssl.records.encoder import FILMS, KIND, WEIGHTS, EncoderOrigin, SeenFilms, make_settings, open_record
from cxrssl.views.resample import whole_views


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder with the recipe that says how films enter it."""

    module: VisionTransformer
    recipe: Recipe
    weights_sha256: str
    origin: EncoderOrigin
    """NOWHERE for an encoder that was never published."""

    @torch.no_grad()
    def encode_films(self, films_BSS: Tensor, valid_B4: Tensor) -> Tensor:
        """Return features [B, D] (class token after the final norm) of whole films, uint8 [B, S, S] with boxes."""
        return encode_views(self.module, whole_views(films_BSS, valid_B4, self.recipe.views))


def publish_encoder(
    dest: Path, module: VisionTransformer, recipe: Recipe, origin: EncoderOrigin, films: SeenFilms
) -> None:
    """Publish an encoder with its recipe, its origin and the films it was trained on."""
    # timm's own names, so that a file loads without this package.
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with publish(dest, KIND, make_settings(recipe.to_dict(), origin)) as building:
        write_bytes(building / WEIGHTS, save(weights))
        write_bytes(building / FILMS, films.to_csv())


def open_encoder(path: Path) -> Encoder:
    """Return a published encoder; every weight must be there, and nothing else."""
    record = open_record(path)
    recipe = build_settings(Recipe, record.recipe)
    module = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
    try:
        module.load_state_dict(load((path / WEIGHTS).read_bytes()), strict=True)
    except RuntimeError as error:
        raise IntegrityError(f"the weights do not fit {recipe.model.backbone}: {error}", path) from None
    return Encoder(module.eval().requires_grad_(False), recipe, record.weights_sha256, record.origin)
