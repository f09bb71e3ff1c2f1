"""The arrays of a cohort: films.npz, one row a film. Stdlib and numpy only."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import plain

Text = npt.NDArray[np.str_]
OPTIONAL = ("ehr_age_h",)
"""Arrays that not every cohort has."""


@dataclass(frozen=True, eq=False)
class Films:
    """The arrays of films.npz, one row a film in the order (subject_id, study_id, image_id)."""

    image_id: Text
    study_id: Text
    subject_id: Text
    path: Text
    """Relative to the root of the dataset."""
    view: Text
    """Empty where unknown, as in all text arrays."""
    position: Text
    link_status: Text
    hadm_id: Text
    stay_id: Text
    taken_at: Text
    """ISO 8601 to the millisecond, or empty."""
    gap_h: npt.NDArray[np.float32]
    age_is_censored: npt.NDArray[np.bool_]
    split_official: Text
    split_hash: Text
    split_icu: Text
    split_file: Text
    feature_names: Text
    ehr_values: npt.NDArray[np.float32]
    """[N, F]: category index, or age in years; NaN where unknown."""
    ehr_known: npt.NDArray[np.bool_]
    finding_names: Text
    label_values: npt.NDArray[np.int8]
    """[N, L]: 1, 0, -1 uncertain, -2 blank."""
    ehr_age_h: npt.NDArray[np.float32] | None = field(default=None, kw_only=True)
    """[N, A]: how long before the film the value was taken, for the features that have an age, in the order of
    `feature_names`; None where no feature has."""


def load_arrays(path: Path) -> dict[str, Any]:
    """Return the fields of Films. Raises: IntegrityError."""
    names = [each.name for each in fields(Films)]
    try:
        with np.load(path, allow_pickle=False) as archive:
            absent = [name for name in OPTIONAL if name not in archive]
            names = [name for name in names if name not in absent]
            arrays = {name: _decode(archive[name]) for name in names}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise IntegrityError(f"films.npz cannot be read: {plain(error)}", path) from None
    num_films = len(arrays["image_id"])
    per_film = [name for name in names if name not in ("feature_names", "finding_names")]
    if any(len(arrays[name]) != num_films for name in per_film):
        raise IntegrityError("films.npz has arrays of different lengths", path)
    return arrays | dict.fromkeys(absent)


def _decode(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return UTF-8 bytes as text, other arrays as they are."""
    if array.dtype.kind != "S":
        return array
    try:
        return array.astype(np.str_)  # the fast way, ASCII only
    except UnicodeDecodeError:
        return np.char.decode(array, "utf-8")
