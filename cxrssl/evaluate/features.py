"""Frozen features: every packed film is encoded once and the result kept as an artefact.

In: an encoder and packed films. Out: float32 [N, D] in cohort order, NaN where a film is not packed.
"""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from cxrssl.core.artefact import is_published, publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import SetupError
from cxrssl.core.progress import track
from cxrssl.core.text import format_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.patches import Tokens
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder
from cxrssl.model.reading import count_features, count_patches, read_films
from cxrssl.recipe.settings import Recipe
from cxrssl.records.features import FEATURES, KIND, Architecture, FeatureKey, open_features, open_tokens
from cxrssl.records.reading import CLS, Reading

BATCH_FILMS = 64


def extract_features(
    workspace: Workspace, encoder: Encoder, images: ImageStore, device: torch.device, reading: Reading = CLS
) -> NDArray[np.float32]:
    """Return the features of all packed films, from the cache if this encoder has encoded these films before.

    Source: Shurrab et al. 2024, evaluation: class token of the target encoder after the final norm, whole film.
    """
    shape = architecture_of(encoder.recipe)
    key = FeatureKey(encoder.weights_sha256, images.content_sha256, shape, reading.features)
    path = key.folder(workspace)
    if not is_published(path, KIND, key.to_dict()):
        with publish(path, KIND, key.to_dict()) as building:
            with track("features", int(images.is_packed_N.sum()), "films") as progress:
                values = _encode_all(encoder, images, device, reading, progress.advance)
            buffer = io.BytesIO()
            np.save(buffer, values)
            write_bytes(building / FEATURES, buffer.getvalue())
    return open_features(path)


def _encode_all(
    encoder: Encoder, images: ImageStore, device: torch.device, reading: Reading, advance: Callable[[int], None]
) -> NDArray[np.float32]:
    values = np.full((len(images.is_packed_N), count_features(encoder, reading)), np.nan, np.float32)
    for rows, found in _encode_batches(encoder, images, device, reading):
        values[rows] = found
        advance(len(rows))
    return values


def _encode_batches(
    encoder: Encoder, images: ImageStore, device: torch.device, reading: Reading
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield rows of packed films with what is read of them."""
    encoder.module.to(device)
    packed = np.flatnonzero(images.is_packed_N)
    for start in range(0, len(packed), BATCH_FILMS):
        rows = packed[start : start + BATCH_FILMS]
        films = torch.from_numpy(images.read_rows(rows)).to(device)
        valid = torch.from_numpy(images.box_N4[rows].astype(np.float32)).to(device)
        yield rows, read_films(encoder, films, valid, reading).float().cpu().numpy()


def extract_tokens(
    workspace: Workspace, encoder: Encoder, images: ImageStore, device: torch.device, reading: Reading
) -> Tokens:
    """Return the patch tokens of all packed films, in half precision on the disk; from the cache if they are there.

    Raises: SetupError when they do not fit on the disk.
    """
    shape = architecture_of(encoder.recipe)
    key = FeatureKey(encoder.weights_sha256, images.content_sha256, shape, reading.features)
    path = key.folder(workspace)
    if not is_published(path, KIND, key.to_dict()):
        size = len(images.is_packed_N), count_patches(encoder), count_features(encoder, reading)
        check_space(workspace, size)
        with publish(path, KIND, key.to_dict()) as building:
            values = np.lib.format.open_memmap(building / FEATURES, mode="w+", dtype=np.float16, shape=size)
            with track("patches", int(images.is_packed_N.sum()), "films") as progress:
                for rows, found in _encode_batches(encoder, images, device, reading):
                    values[rows] = found
                    progress.advance(len(rows))
            values.flush()
            del values
    return Tokens(open_tokens(path), np.arange(len(images.is_packed_N)))


def check_space(workspace: Workspace, size: tuple[int, int, int]) -> None:
    """Raise SetupError if patch tokens of this size, in half precision, do not fit beside a tenth of the disk."""
    disk, needed = shutil.disk_usage(workspace.root), 2 * math.prod(size)
    if needed > disk.free - disk.total // 10:
        films, patches, width = size
        what = f"{films:,} films of {patches:,} patches and {width:,} features take {format_bytes(needed)} on the disk"
        hint = "free some space, pool them as --read patches does, or ask for fewer films with another cohort"
        raise SetupError(f"{what}, and {format_bytes(disk.free)} are free", workspace.features, hint)


def architecture_of(recipe: Recipe) -> Architecture:
    """Return what turns weights into a function; a run shares it with its untrained baseline."""
    model, views = recipe.model, recipe.views
    return Architecture(
        backbone=model.backbone,
        patch_px=model.patch_px,
        view_px=views.global_px,
        pixel_mean=views.pixel_mean,
        pixel_std=views.pixel_std,
        seed=recipe.train.seed,
    )
