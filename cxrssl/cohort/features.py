"""The health-record features, declared: what each is, when it is known, and how it becomes numbers for a model.

In: names from the user, a matrix of values with a mask. Out: float32 [N, M] whose columns have names.
Never: a guess for an unknown value. Stdlib and numpy only: training reads this without polars and duckdb.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

Role = Literal["input", "outcome"]
Known = Literal["before", "at", "after"]
Missing = Literal["mask", "zero"]
MISSING_POLICIES: tuple[Missing, ...] = ("mask", "zero")
NONE = "none"
# (age - 16) / 84. Source: nyuad-cai/CXR-EHR-MSN, notebooks/EHR-data-prep.ipynb. Differs: clipped to [0, 1].
AGE_LOW_Y, AGE_SPAN_Y = 16.0, 84.0


@dataclass(frozen=True)
class Feature:
    """One declared feature."""

    name: str
    group: str
    role: Role
    """`outcome`: using it as a model input is allowed only because the user names it, and every report says so."""
    known: Known
    """Relative to the film."""
    categories: tuple[str, ...] = ()
    """In the paper's order; empty for a number."""

    @property
    def width(self) -> int:
        """Number of value columns."""
        return len(self.categories) or 1


FEATURES: tuple[Feature, ...] = (
    Feature("sex", "demo", "input", "before", ("male", "female")),
    Feature("age", "demo", "input", "before"),
    Feature("view", "meta", "input", "at", ("PA", "LATERAL", "AP", "LL")),
    Feature("position", "meta", "input", "at", ("Erect", "Recumbent")),
    Feature("mortality", "stay", "outcome", "after", ("alive", "died")),
    Feature("icu", "stay", "input", "at", ("icu", "not_icu")),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(feature.group for feature in FEATURES))
_BY_NAME = {feature.name: feature for feature in FEATURES}


def find_feature(name: str) -> Feature:
    """Return the declared feature of this name.

    Raises: UsageError naming the nearest one.
    """
    if name not in _BY_NAME:
        known = (*FEATURE_NAMES, *GROUPS, NONE)
        raise UsageError(f'there is no feature or group "{plain(name, 60)}"', hint=nearest_hint(name, known))
    return _BY_NAME[name]


def parse_ehr(text: str) -> tuple[str, ...]:
    """Return the feature names that `text` asks for, in declared order: groups and names in any mix, or "none".

    Raises: UsageError for an unknown name, naming the nearest one, and for "none" together with something else.
    """
    words = [word for word in re.split(r"[,\s]+", text) if word]
    if not words:
        raise UsageError("no feature is named", hint=f'name groups ({", ".join(GROUPS)}), single features, or "{NONE}"')
    if NONE in words:
        if len(words) > 1:
            raise UsageError(f'"{NONE}" cannot be mixed with features', hint=f'got "{plain(text, 80)}"')
        return ()
    wanted: set[str] = set()
    for word in words:
        wanted.update(_group_members(word) or (find_feature(word).name,))
    return tuple(name for name in FEATURE_NAMES if name in wanted)


def name_features(names: Sequence[str], joined_by: str) -> str:
    """Return the shortest text that `parse_ehr` turns into `names`: whole groups by their name, the rest singly."""
    words: dict[str, None] = {}
    for name in names:
        group = find_feature(name).group
        words[group if set(_group_members(group)) <= set(names) else name] = None
    return joined_by.join(words)


def is_outcome_used(names: Sequence[str]) -> bool:
    """Return whether any of these features is an outcome."""
    return any(find_feature(name).role == "outcome" for name in names)


def feature_widths(names: Sequence[str]) -> dict[str, int]:
    """Return the number of value columns of each feature, in the order of `names`."""
    return {name: find_feature(name).width for name in names}


def feature_columns(names: Sequence[str], missing: Missing = "mask") -> tuple[str, ...]:
    """Return the names of the columns that `encode_features` makes, such as "sex=male", "age" and "sex unknown"."""
    _check_missing(missing)
    columns: list[str] = []
    for name in names:
        categories = find_feature(name).categories
        columns += [f"{name}={category}" for category in categories] or [name]
    return tuple(columns + [f"{name} unknown" for name in names if missing == "mask"])


def encode_features(
    values_NF: npt.NDArray[np.floating[Any]],
    known_NF: npt.NDArray[np.bool_],
    names: Sequence[str],
    missing: Missing = "mask",
) -> npt.NDArray[np.float32]:
    """Return the features as numbers: all value columns (zeros where unknown), then with "mask" the unknown columns.

    Shapes: values_NF and known_NF have one column for each of FEATURES (category index, or age in years); out [N, M].
    """
    _check_missing(missing)
    assert values_NF.shape == known_NF.shape, "values and mask must have one shape"
    assert values_NF.shape[1] == len(FEATURES), "values must have one column for each declared feature"
    encoded_NM = np.zeros((len(values_NF), len(feature_columns(names, missing))), np.float32)
    at = 0
    for name in names:
        feature, f = find_feature(name), FEATURE_NAMES.index(name)
        known_N = known_NF[:, f]
        _encode_one(encoded_NM[:, at : at + feature.width], values_NF[:, f], known_N, feature)
        at += feature.width
    if missing == "mask":
        for name in names:
            encoded_NM[:, at] = ~known_NF[:, FEATURE_NAMES.index(name)]
            at += 1
    return encoded_NM


def normalise_age(age_y: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """Return (age - 16) / 84 clipped to [0, 1].

    Source: the paper's notebook, which does not clip; ages there may leave 16..100.
    """
    normalised: npt.NDArray[np.float32] = np.clip((age_y - AGE_LOW_Y) / AGE_SPAN_Y, 0.0, 1.0).astype(np.float32)
    return normalised


def _encode_one(
    out_NW: npt.NDArray[np.float32],
    values_N: npt.NDArray[np.floating[Any]],
    known_N: npt.NDArray[np.bool_],
    feature: Feature,
) -> None:
    (rows,) = np.nonzero(known_N)
    if not feature.categories:
        out_NW[rows, 0] = normalise_age(values_N[rows])
        return
    category = values_N[rows].astype(np.int64)
    assert np.all((category >= 0) & (category < feature.width)), f"category index of {feature.name} out of range"
    out_NW[rows, category] = 1.0


def _group_members(word: str) -> tuple[str, ...]:
    return tuple(feature.name for feature in FEATURES if feature.group == word)


def _check_missing(missing: str) -> None:
    if missing not in MISSING_POLICIES:
        raise UsageError(f'unknown missing policy "{plain(missing, 40)}"', hint=nearest_hint(missing, MISSING_POLICIES))
