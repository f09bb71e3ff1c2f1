"""The cache of frozen features: what it is keyed by, and where it lies.

In: the hashes of weights and films, and what makes a function of weights. Out: a folder, float32 [N, D] by cohort row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.artefact import open_artefact
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.records.fields import write_fields

KIND = "features"
FEATURES = "features.npy"
ATTENTION = "attention"
"""In the place of what is read: how much the class token attends to each patch, float16 [N, P]."""


@dataclass(frozen=True)
class Architecture:
    """What makes a function of weights, and what a run shares with its untrained baseline."""

    backbone: str
    patch_px: int
    view_px: int
    pixel_mean: float
    pixel_std: float
    seed: int


@dataclass(frozen=True)
class FeatureKey:
    """Equal for equal features: equal weights are not equal functions, so heads and normalisation count too."""

    weights_sha256: str
    images_sha256: str
    architecture: Architecture
    read: str | None = None
    """Which features, where they are not class tokens; see `records.reading`."""

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)

    def folder(self, workspace: Workspace) -> Path:
        return workspace.features / hash_settings(self.to_dict())[:16]


def open_tokens(folder: Path) -> NDArray[np.float16]:
    """Return published patch tokens [N, P, D], mapped into memory and not read. Raises: IntegrityError."""
    open_artefact(folder, KIND)
    try:
        values: NDArray[np.float16] = np.load(folder / FEATURES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"{FEATURES} cannot be read: {plain(error, 120)}", folder) from None
    return values


def open_features(folder: Path) -> NDArray[np.float32]:
    """Return published features [N, D], NaN where a film is not packed. Raises: IntegrityError."""
    open_artefact(folder, KIND)
    try:
        values: NDArray[np.float32] = np.load(folder / FEATURES, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IntegrityError(f"{FEATURES} cannot be read: {plain(error, 120)}", folder) from None
    return values
