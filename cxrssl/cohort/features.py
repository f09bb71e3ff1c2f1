"""The health-record features, declared: what each is, when it is known, and how it becomes numbers for a model.

In: names from the user, a matrix of values with a mask. Out: float32 [N, M] whose columns have names.
Never: a guess for an unknown value, unless "paper" asks for the published one; a constant that is fitted on data.
Stdlib and numpy only: training reads this without polars and duckdb.

Facts about the person (`social`) are those of the admission begun last at or before the film, else of the first after
it; the three words of `admission` and the hours since it are unknown before it begins, though the film may be linked to
it: being known would tell that it comes. `care_unit` is the unit in which the ICU stay began.
`prior` counts the subject's studies with an earlier first film, also those whose films are not on this disk, because
that is a fact about the person; of studies without a time it is unknown. In NIH it is the published follow-up number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrssl.cohort.impute import impute_codes
from cxrssl.cohort.words import word_categories
from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

Role = Literal["input", "outcome"]
Known = Literal["before", "at", "after"]
Missing = Literal["mask", "zero", "paper"]
MISSING_POLICIES: tuple[Missing, ...] = ("mask", "zero", "paper")
NONE = "none"
Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` become 0 to 1, others the nearer end. Fixed by declaration, so nothing is fitted."""

    low: float
    high: float
    is_log: bool = False
    """log(1 + x) in place of x."""


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
    scale: Scale | None = None
    """Of a number."""
    form_of: str = ""
    """The feature that this one says in another way; the two are never used together."""

    @property
    def width(self) -> int:
        """Number of value columns."""
        return len(self.categories) or 1


def make_edges(step_y: int) -> tuple[int, ...]:
    """Return the lower ends of all age bands but the first: 20, 20 + step, ... 90."""
    return tuple(range(20, 91, step_y))


def band_labels(edges: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the bands between the edges; an age on an edge belongs to the band above it.

    Differs: the published code closes bands at the right, so that 20 falls into the band that it calls "<20".
    """
    inner = [f"{low}-{high - 1}" for low, high in pairwise(edges)]
    return (f"<{edges[0]}", *inner, f"{edges[-1]}+")


def band_index(age_y: Values, edges: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the index of each age's band; NaN where the age is unknown."""
    index: npt.NDArray[np.float64] = np.searchsorted(edges, age_y, side="right").astype(np.float64)
    return np.where(np.isnan(age_y), np.nan, index)


AGE_BANDS = {"age5": make_edges(5), "age10": make_edges(10)}
FEATURES: tuple[Feature, ...] = (
    Feature("sex", "demo", "input", "before", ("male", "female")),
    # (age - 16) / 84. Source: nyuad-cai/CXR-EHR-MSN, notebooks/EHR-data-prep.ipynb. Differs: clipped to [0, 1].
    Feature("age", "demo", "input", "before", scale=Scale(16, 100)),
    Feature("age5", "age5", "input", "before", band_labels(AGE_BANDS["age5"]), form_of="age"),
    Feature("age10", "age10", "input", "before", band_labels(AGE_BANDS["age10"]), form_of="age"),
    Feature("view", "meta", "input", "at", ("PA", "LATERAL", "AP", "LL")),
    Feature("position", "meta", "input", "at", ("Erect", "Recumbent")),
    Feature("mortality", "stay", "outcome", "after", ("alive", "died")),
    Feature("icu", "stay", "input", "at", ("icu", "not_icu")),
    *(
        Feature(name, "social", "input", "before", word_categories(name))
        for name in ("race", "insurance", "language", "marital_status")
    ),
    *(
        Feature(name, "admission", "input", "at", word_categories(name))
        for name in ("admission_type", "admission_location", "ed_arrival")
    ),
    Feature("care_unit", "course", "input", "at", word_categories("care_unit")),
    Feature("since_admission", "course", "input", "at", scale=Scale(0, 2400, is_log=True)),  # hours
    Feature("prior", "course", "input", "before", scale=Scale(0, 100, is_log=True)),  # studies
    Feature("los", "discharge", "outcome", "after", scale=Scale(0, 100, is_log=True)),  # days
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(feature.group for feature in FEATURES))
PAPER_FEATURES: tuple[str, ...] = tuple(FEATURE_NAMES[: FEATURE_NAMES.index("icu") + 1])
"""Those of the paper, which its imputation speaks of."""
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

    An age band takes the place of the age that a group brings.

    Raises: UsageError for an unknown name, naming the nearest one, for "none" together with something else, and for two
    forms of one feature that are both named.
    """
    words = [word for word in re.split(r"[,\s]+", text) if word]
    if not words:
        raise UsageError("no feature is named", hint=f'name groups ({", ".join(GROUPS)}), single features, or "{NONE}"')
    if NONE in words:
        if len(words) > 1:
            raise UsageError(f'"{NONE}" cannot be mixed with features', hint=f'got "{plain(text, 80)}"')
        return ()
    named = {find_feature(word).name for word in words if word not in GROUPS or word in _BY_NAME}
    forms: dict[str, str] = {}
    for name in sorted(named, key=FEATURE_NAMES.index):
        quantity = _BY_NAME[name].form_of or name
        if forms.setdefault(quantity, name) != name:
            raise UsageError(f'"{forms[quantity]}" and "{name}" say the same', hint="name one of them")
    replaced = {_BY_NAME[name].form_of for name in named}
    wanted = named | ({name for word in words for name in _group_members(word)} - replaced)
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
    _check_missing(names, missing)
    columns: list[str] = []
    for name in names:
        categories = find_feature(name).categories
        columns += [f"{name}={category}" for category in categories] or [name]
    return tuple(columns + [f"{name} unknown" for name in names if missing == "mask"])


def encode_features(
    values_NF: Values,
    known_NF: npt.NDArray[np.bool_],
    names: Sequence[str],
    missing: Missing = "mask",
) -> npt.NDArray[np.float32]:
    """Return the features as numbers: all value columns (zeros where unknown), then with "mask" the unknown columns.

    With "paper" unknown values are filled from all rows first, see `fill_as_paper`; else a row stands for itself.

    Shapes: values_NF and known_NF have one column for each of FEATURES (category index or number); out [N, M].
    """
    _check_missing(names, missing)
    assert values_NF.shape == known_NF.shape, "values and mask must have one shape"
    assert values_NF.shape[1] == len(FEATURES), "values must have one column for each declared feature"
    if missing == "paper":
        values_NF, known_NF = fill_as_paper(values_NF, known_NF)
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


def fill_as_paper(values_NF: Values, known_NF: npt.NDArray[np.bool_]) -> tuple[Values, npt.NDArray[np.bool_]]:
    """Return values and mask after the published imputation: of view and position, and "no stay" as alive, not in ICU.

    Films without sex do not take part in it: the published code drops them first, and so does a run.
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


def _encode_one(out_NW: npt.NDArray[np.float32], values_N: Values, known_N: npt.NDArray[np.bool_], f: Feature) -> None:
    (rows,) = np.nonzero(known_N)
    if f.scale is not None:
        out_NW[rows, 0] = scale_numbers(values_N[rows], f.scale)
        return
    category = values_N[rows].astype(np.int64)
    assert np.all((category >= 0) & (category < f.width)), f"category index of {f.name} out of range"
    out_NW[rows, category] = 1.0


def _group_members(word: str) -> tuple[str, ...]:
    return tuple(feature.name for feature in FEATURES if feature.group == word)


def _check_missing(names: Sequence[str], missing: str) -> None:
    if missing not in MISSING_POLICIES:
        raise UsageError(f'unknown missing policy "{plain(missing, 40)}"', hint=nearest_hint(missing, MISSING_POLICIES))
    beyond = [name for name in names if name not in PAPER_FEATURES]
    if missing == "paper" and beyond:
        what = f"the paper does not say what an unknown {beyond[0]} becomes"
        raise UsageError(what, hint="choose --set ehr.missing=mask, or only groups of the paper: demo, meta, stay")
