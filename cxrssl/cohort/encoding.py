"""The health record as numbers for a model: one-hot words, scaled numbers, unknown values as columns of their own.

In: a matrix of values with a mask, names of features. Out: float32 [N, M] whose columns have names.
Never: a guess for an unknown value, unless "paper" asks for the published one; a constant that is fitted on data.
Stdlib and numpy only: training reads this without polars and duckdb.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrssl.cohort.feature import Feature, Scale
from cxrssl.cohort.features import FEATURE_NAMES, FEATURES, PAPER_FEATURES, find_feature
from cxrssl.cohort.impute import impute_codes
from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

Missing = Literal["mask", "zero", "paper"]
AGE = " age"
"""How the name of a column ends that holds the age of a value."""
MISSING_POLICIES: tuple[Missing, ...] = ("mask", "zero", "paper")
Values = npt.NDArray[np.floating[Any]]


def band_index(age_y: Values, edges: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the index of each age's band; NaN where the age is unknown."""
    index: npt.NDArray[np.float64] = np.searchsorted(edges, age_y, side="right").astype(np.float64)
    return np.where(np.isnan(age_y), np.nan, index)


def feature_columns(names: Sequence[str], missing: Missing = "mask") -> tuple[str, ...]:
    """Return the names of the columns that `encode_features` makes: "sex=male", "age", "sex unknown", "sodium age"."""
    _check_missing(names, missing)
    columns: list[str] = []
    for name in names:
        categories = find_feature(name).categories
        columns += [f"{name}={category}" for category in categories] or [name]
    if missing != "mask":
        return tuple(columns)
    columns += [f"{name} unknown" for name in names]
    return tuple(columns + [f"{name}{AGE}" for name in names if find_feature(name).has_age])


def encode_features(
    values_NF: Values,
    known_NF: npt.NDArray[np.bool_],
    names: Sequence[str],
    missing: Missing = "mask",
    columns: Sequence[str] = FEATURE_NAMES,
    age_h_NA: Values | None = None,
) -> npt.NDArray[np.float32]:
    """Return the features as numbers: all value columns (zeros where unknown), then with "mask" the unknown columns,
    then the ages of the values that have one: 0 for new, 1 where it is stale, 0 where it is unknown.

    With "paper", unknown values are first filled from all rows, see `fill_as_paper`; otherwise rows are independent.

    Shapes: values_NF and known_NF have a column for each of `columns` (category index or number), of which the first
    are FEATURES; age_h_NA one for each that has an age; out [N, M].
    """
    _check_missing(names, missing)
    assert values_NF.shape == known_NF.shape, "values and mask must have one shape"
    assert values_NF.shape[1] == len(columns), "values must have one column for each feature"
    if missing == "paper":
        values_NF, known_NF = fill_as_paper(values_NF, known_NF)
    encoded_NM = np.zeros((len(values_NF), len(feature_columns(names, missing))), np.float32)
    at = 0
    for name in names:
        feature, f = find_feature(name), columns.index(name)
        known_N = known_NF[:, f]
        _encode_one(encoded_NM[:, at : at + feature.width], values_NF[:, f], known_N, feature)
        at += feature.width
    if missing == "mask":
        for name in names:
            encoded_NM[:, at] = ~known_NF[:, columns.index(name)]
            at += 1
        aged = [name for name in columns if find_feature(name).has_age]
        for name in names:
            if name in aged:
                assert age_h_NA is not None, "values with an age need their ages"
                encoded_NM[:, at] = scale_ages(age_h_NA[:, aged.index(name)], find_feature(name))
                at += 1
    return encoded_NM


def fill_as_paper(values_NF: Values, known_NF: npt.NDArray[np.bool_]) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Return values and mask after the published imputation of view and position, with "no stay" as alive, not in ICU.

    Films of unknown sex do not take part in it: the published code drops them first, and so does a run.
    """
    values_NF, known_NF = values_NF.copy(), known_NF.copy()
    view, position, sex = (FEATURE_NAMES.index(name) for name in ("view", "position", "sex"))
    # The published codes are those of scikit-learn's LabelEncoder: the words in alphabetical order.
    to_code = {f: np.argsort(np.argsort(FEATURES[f].categories)) for f in (view, position)}
    codes = [
        np.where(known_NF[:, f], to_code[f][np.where(known_NF[:, f], values_NF[:, f], 0).astype(np.int64)], -1)
        for f in (view, position)
    ]
    for f, code_N in zip((view, position), impute_codes(codes[0], codes[1], known_NF[:, sex]), strict=True):
        known_NF[:, f] = code_N >= 0
        values_NF[:, f] = np.where(code_N >= 0, np.argsort(to_code[f])[code_N], np.nan)
    for name, word in (("mortality", "alive"), ("icu", "not_icu")):
        f = FEATURE_NAMES.index(name)
        values_NF[~known_NF[:, f], f] = FEATURES[f].categories.index(word)
        known_NF[:, f] = True
    return values_NF, known_NF


def scale_numbers(values: Values, scale: Scale) -> npt.NDArray[np.float32]:
    """Return numbers on the declared scale, in [0, 1]."""
    clipped = np.clip(values, scale.low, scale.high) - scale.low
    span = scale.high - scale.low
    scaled: npt.NDArray[np.float32] = (np.log1p(clipped) / np.log1p(span) if scale.is_log else clipped / span).astype(
        np.float32
    )
    return scaled


def scale_ages(age_h_N: Values, feature: Feature) -> npt.NDArray[np.float32]:
    """Return ages from 0, new, to 1, stale or at the end of the window; 0 where the value is unknown."""
    assert feature.measured is not None
    span_h = feature.measured.stale_h or feature.measured.window_h
    scaled = np.clip(np.nan_to_num(age_h_N, nan=0.0) / (span_h or 1.0), 0.0, 1.0)
    return np.asarray(scaled, np.float32)


def _encode_one(out_NW: npt.NDArray[np.float32], values_N: Values, known_N: npt.NDArray[np.bool_], f: Feature) -> None:
    (rows,) = np.nonzero(known_N)
    if f.scale is not None:
        out_NW[rows, 0] = scale_numbers(values_N[rows], f.scale)
        return
    category = values_N[rows].astype(np.int64)
    assert np.all((category >= 0) & (category < f.width)), f"category index of {f.name} out of range"
    out_NW[rows, category] = 1.0


def _check_missing(names: Sequence[str], missing: str) -> None:
    if missing not in MISSING_POLICIES:
        raise UsageError(f'unknown missing policy "{plain(missing, 40)}"', hint=nearest_hint(missing, MISSING_POLICIES))
    beyond = [name for name in names if name not in PAPER_FEATURES]
    if missing == "paper" and beyond:
        what = f"the paper does not define what an unknown {beyond[0]} becomes"
        raise UsageError(what, hint="choose --set ehr.missing=mask, or only groups of the paper: demo, meta, stay")
