"""Features that a figure is drawn of: whose they are, where they lie, and the test films that they are of.

In: what is published. Out: places and rows. Never: an error of what cannot be read, instead of a figure that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import CxrsslError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.eval_settings import EvalSettings, is_of_folds
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.features import FeatureKey
from cxrssl.report.figures.plan import Material
from cxrssl.report.figures.series import TRAINED, name_series, pick_series

FigureT = TypeVar("FigureT")


class Featured(NamedTuple):
    """A setup whose features are published."""

    evaluation: Evaluation
    folder: Path
    """Of the features."""
    name: str
    """As figures call it, with the seed where it has several."""


def find_featured(workspace: Workspace, table: Sequence[SeedGroup], material: Material) -> Featured | None:
    """Return the first trained setup of a table whose features are published."""
    for group in pick_series(table, material.ablations):
        folder = find_features(workspace, group.evaluations[0].settings)
        if group.settings.kind in TRAINED and folder is not None:
            seed = f", seed {group.seeds[0]}" if group.num_seeds > 1 else ""
            return Featured(group.evaluations[0], folder, f"{name_series(group, material.arms)}{seed}")
    return None


def find_features(workspace: Workspace, settings: EvalSettings, read: str | None = None) -> Path | None:
    """Return where the class tokens of an encoder lie, or their attention; None where they are not published."""
    candidate = settings.candidate
    if candidate.weights_sha256 is None or candidate.architecture is None or candidate.read is not None:
        return None
    key = FeatureKey(candidate.weights_sha256, settings.images_sha256, candidate.architecture, read)
    folder = key.folder(workspace)
    return folder if folder.is_dir() else None


def find_tests(
    is_there_N: NDArray[np.bool_], cohort: Cohort, settings: EvalSettings, part: str = "test"
) -> NDArray[np.int64]:
    """Return the rows of the films of a part of the split; with folds each film is of every part."""
    if is_of_folds(settings.split):
        return np.flatnonzero(is_there_N)
    return np.flatnonzero(is_there_N & (cohort.split_of(settings.split) == part))


def read_or_leave_out(read: Callable[[], FigureT], make_empty: Callable[[tuple[str, ...]], FigureT]) -> FigureT:
    """Return the figure that `read` returns; an empty one with the reason where what it needs cannot be read."""
    try:
        return read()
    except CxrsslError as error:
        return make_empty((f"Left out: {plain(error.what, 300)}.",))
