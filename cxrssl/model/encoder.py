"""The encoders that a run publishes: target and anchor weights, and what is needed to use them on a film.

In: `encoder/{encoder.safetensors, anchor.safetensors, manifest.json}`. Out: a frozen module from packed films to
features.
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
from cxrssl.core.errors import DataError, IntegrityError
from cxrssl.model.vit import build_encoder, encode_views
from cxrssl.recipe.settings import Recipe
from cxrssl.records.encoder import (
    ANCHOR,
    FILMS,
    HEAD,
    KIND,
    WEIGHTS,
    WEIGHTS_OF,
    EncoderName,
    EncoderOrigin,
    Lineage,
    SeenFilms,
    make_settings,
    open_record,
)
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
    dest: Path,
    module: VisionTransformer,
    recipe: Recipe,
    origin: EncoderOrigin,
    films: SeenFilms,
    anchor: VisionTransformer | None = None,
    lineage: Lineage = ((), {}),
    head: bytes = b"",
) -> None:
    """Publish an encoder, and its anchor if it has one, with its recipe, its origin and the films it was trained on.

    `lineage` are its ancestors, and by file the lists of the films that these were trained on; `head` is the file of
    its layer for findings, if it has one.
    """
    ancestors, lists = lineage
    with publish(dest, KIND, make_settings(recipe.to_dict(), origin, ancestors)) as building:
        write_bytes(building / WEIGHTS, pack_weights(module))
        if anchor is not None:
            write_bytes(building / ANCHOR, pack_weights(anchor))
        for name, data in {FILMS: films.to_csv(), **lists, **({HEAD: head} if head else {})}.items():
            write_bytes(building / name, data)


def pack_weights(module: VisionTransformer) -> bytes:
    """Return the weights as a safetensors file, under timm's own names, so that it loads without this package."""
    return save({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()})


def open_encoder(path: Path, which: EncoderName = "target") -> Encoder:
    """Return a published encoder; every weight must be there, and nothing else.

    Raises: IntegrityError when it is damaged, DataError when the run has no such encoder.
    """
    record = open_record(path)
    recipe = build_settings(Recipe, record.recipe)
    sha256 = {"target": record.weights_sha256, "anchor": record.anchor_sha256}[which]
    if not sha256:
        raise _name_missing_anchor(recipe, record.origin.run_id, path)
    module = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
    try:
        module.load_state_dict(load((path / WEIGHTS_OF[which]).read_bytes()), strict=True)
    except RuntimeError as error:
        raise IntegrityError(f"the weights do not fit {recipe.model.backbone}: {error}", path) from None
    return Encoder(module.eval().requires_grad_(False), recipe, sha256, record.origin)


def _name_missing_anchor(recipe: Recipe, run_id: str, path: Path) -> DataError:
    objective = recipe.objective
    if not objective.has_target:
        what = f"run {run_id} has no anchor encoder: {objective.name.upper()} trains one encoder, without a target"
        return DataError(what, path, "probe it with --encoder target, which is that encoder")
    what = f"run {run_id} has no anchor encoder: it was published by an older version"
    return DataError(what, path, "pretrain again, or probe with --encoder target")
