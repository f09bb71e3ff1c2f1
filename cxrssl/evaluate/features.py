"""Frozen features: every packed film is encoded once and the result kept as an artefact.

In: an encoder and packed films. Out: float32 [N, D] in cohort order, NaN where a film is not packed.
Never: a film encoded again because the command was interrupted after its part was written.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.artefact import is_published, publish
from cxrssl.core.durable import hash_settings, renamed_os_errors, write_bytes
from cxrssl.core.errors import SetupError
from cxrssl.core.progress import track
from cxrssl.core.text import format_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.encode import PRECISION, Read, describe_places, encode_rows
from cxrssl.evaluate.patches import Tokens
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder
from cxrssl.model.reading import count_features, count_patches, read_films
from cxrssl.recipe.settings import Recipe
from cxrssl.records.features import FEATURES, KIND, Architecture, FeatureKey, open_features, open_tokens
from cxrssl.records.reading import CLS, Reading
from cxrssl.train.device import Devices
from cxrssl.train.feed import Rows

PART_FILMS = 16_384
"""Films that are kept together: what an interruption may cost."""


def extract_features(
    workspace: Workspace, encoder: Encoder, images: ImageStore, devices: Devices, reading: Reading = CLS
) -> NDArray[np.float32]:
    """Return the features of all packed films, from the cache if this encoder has encoded these films before.

    Source: Shurrab et al. 2024, evaluation: class token of the target encoder after the final norm, whole film.
    """
    key = key_of(encoder, images, reading.features)
    width = count_features(encoder, reading)
    read = partial(read_films, reading=reading)
    return open_features(keep_films(workspace, key, encoder, images, devices, read, (width,), np.float32, "features"))


def extract_tokens(
    workspace: Workspace, encoder: Encoder, images: ImageStore, devices: Devices, reading: Reading
) -> Tokens:
    """Return the patch tokens of all packed films, in half precision on the disk; from the cache if they are there.

    Raises: SetupError when they do not fit on the disk.
    """
    key = key_of(encoder, images, reading.features)
    size = count_patches(encoder), count_features(encoder, reading)
    if not is_published(key.folder(workspace), KIND, key.to_dict()):
        check_space(workspace, (len(images.is_packed_N), *size))
    read = partial(read_films, reading=reading)
    path = keep_films(workspace, key, encoder, images, devices, read, size, np.float16, "patches")
    return Tokens(open_tokens(path), np.arange(len(images.is_packed_N)))


def key_of(encoder: Encoder, images: ImageStore, what: str | None) -> FeatureKey:
    """Return the key of what is read of these films."""
    return FeatureKey(encoder.weights_sha256, images.content_sha256, architecture_of(encoder.recipe), what)


def keep_films(
    workspace: Workspace,
    key: FeatureKey,
    encoder: Encoder,
    images: ImageStore,
    devices: Devices,
    read: Read,
    size: tuple[int, ...],
    dtype: type[np.float32] | type[np.float16],
    what: str,
) -> Path:
    """Publish what is read of every packed film, of this size each, NaN for others; return where it lies.

    Parts of an interrupted call are found again.
    """
    path, settings = key.folder(workspace), key.to_dict()
    if is_published(path, KIND, settings):
        return path
    packed = np.flatnonzero(images.is_packed_N)
    with publish(path, KIND, settings, {"precision": PRECISION}, hash_settings(settings)[:16]) as building:
        parts = _Parts(building, packed)
        values = _open_values(building / FEATURES, (len(images.is_packed_N), *size), dtype, parts)
        rows = parts.find_missing()
        note = describe_places(encoder, images, devices)
        with track(what, len(packed), "films", done=len(packed) - len(rows)) as progress:
            for some, found in encode_rows(encoder, images, rows, devices, read):
                values[some] = found
                for part in parts.count(some):
                    values.flush()
                    parts.mark(part)
                progress.advance(len(some), note)
        values.flush()
        del values
        parts.remove_marks()
    return path


class _Parts:
    """Which parts of the films are in the file."""

    def __init__(self, folder: Path, packed: Rows) -> None:
        self._folder, self._packed = folder, packed
        self._part_of = np.full(int(packed.max(initial=-1)) + 1, -1, np.int64)
        self._part_of[packed] = np.arange(len(packed)) // PART_FILMS
        self._num_left = np.bincount(np.arange(len(packed)) // PART_FILMS)

    def has_any(self) -> bool:
        return any(self._mark_of(part).exists() for part in range(len(self._num_left)))

    def find_missing(self) -> Rows:
        """Return the rows that are in no part that is marked."""
        parts = [part for part in range(len(self._num_left)) if not self._mark_of(part).exists()]
        return self._packed[np.isin(self._part_of[self._packed], parts)]

    def count(self, rows: Rows) -> Iterator[int]:
        """Yield the parts that these rows complete."""
        for part, num in zip(*np.unique(self._part_of[rows], return_counts=True), strict=True):
            self._num_left[part] -= num
            if not self._num_left[part]:
                yield int(part)

    def mark(self, part: int) -> None:
        write_bytes(self._mark_of(part), b"")

    def remove_marks(self) -> None:
        for part in range(len(self._num_left)):
            self._mark_of(part).unlink(missing_ok=True)

    def _mark_of(self, part: int) -> Path:
        return self._folder / f"part-{part:05d}"


def _open_values(path: Path, shape: tuple[int, ...], dtype: Any, parts: _Parts) -> Any:
    """Return the file as a mapped array: as an interrupted call has left it, or new and all NaN."""
    if path.exists() and parts.has_any():
        kept = np.load(path, mmap_mode="r+", allow_pickle=False)
        if kept.shape == shape and kept.dtype == dtype:
            return kept
    parts.remove_marks()
    values = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    # Without room a page that is written ends the process, where this is an error.
    with renamed_os_errors(path), open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    values[:] = np.nan
    return values


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
