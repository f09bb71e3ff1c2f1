"""The health-record features, each declared once.

Out: FEATURES, from which everything else derives: the tables and views of a cohort (schema), the SQL that fills them
(ehr), frames of sources, maps, arrays, codebook, MEDS and the inputs of a model (encoding). `words` declares what the
words of a source mean.
Never: an import of polars, duckdb or numpy.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from cxrssl.cohort.words import WORDS, word_categories
from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

Role = Literal["input", "outcome"]
Known = Literal["before", "at", "after"]
NONE = "none"


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` become 0 to 1, others the nearer end. The ends are declared, never fitted."""

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
    """`outcome`: a model input only if the user names it, and every report then says so."""
    known: Known
    """Relative to the film. It also decides which row a column of `admission` is taken from. `before`: a fact about the
    person, from the admission begun last at or before the film, else from the first after it. `at`: from the admission
    that the film is linked to, once it has begun. `after`: from that admission."""
    meaning: str
    """For the codebook and `cxrssl sql --tables`."""
    categories: tuple[str, ...] = ()
    """In the paper's order; empty for a number."""
    column: str = ""
    """Its column in `given_feature`, `ehr` and `film`; the suffix is its unit. By default the name."""
    source: str = ""
    """The table.column of schemas/1_source.sql that holds it, where that is one column."""
    scale: Scale | None = None
    """Of a number."""
    most: float = 0
    """The largest number that a user's own table may hold."""
    is_whole: bool = False
    censored: str = ""
    """A second column: whether the true number is larger than the one given."""
    form_of: str = ""
    """The feature that this one re-encodes; the two are never used together."""
    reveals: str = ""
    """Another feature that follows from some of its categories."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "column", self.column or self.name)

    @property
    def width(self) -> int:
        """Number of value columns."""
        return len(self.categories) or 1

    @property
    def kind(self) -> Literal["text", "int", "float"]:
        """Type of its column."""
        return "text" if self.categories else "int" if self.is_whole else "float"

    @property
    def is_worded(self) -> bool:
        """Whether its source has words of its own, which WORDS maps to categories."""
        return self.name in WORDS


def make_edges(step_y: int) -> tuple[int, ...]:
    """Return the lower ends of all age bands but the first: 20, 20 + step, ... 90."""
    return tuple(range(20, 91, step_y))


def band_labels(edges: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the bands between the edges; an age on an edge belongs to the band above it.

    Differs: the published code closes bands at the right, so that 20 falls into its band "<20".
    """
    inner = [f"{low}-{high - 1}" for low, high in pairwise(edges)]
    return (f"<{edges[0]}", *inner, f"{edges[-1]}+")


AGE_BANDS = {"age5": make_edges(5), "age10": make_edges(10)}


def _band(age: Feature, name: str) -> Feature:
    return replace(age, name=name, group=name, categories=band_labels(AGE_BANDS[name]), scale=None, form_of=age.name)


def _worded(name: str, group: str, role: Role, known: Known, meaning: str, source: str, reveals: str = "") -> Feature:
    return Feature(name, group, role, known, meaning, word_categories(name), source=source, reveals=reveals)


# (age - 16) / 84. Source: nyuad-cai/CXR-EHR-MSN, notebooks/EHR-data-prep.ipynb. Differs: clipped to [0, 1].
AGE = Feature(
    "age", "demo", "input", "before", "age at the film",
    column="age_y", scale=Scale(16, 100), most=130, censored="age_is_censored",
)  # fmt: skip
FEATURES: tuple[Feature, ...] = (
    Feature("sex", "demo", "input", "before", "sex of the person", ("male", "female")),
    AGE,
    _band(AGE, "age5"),
    _band(AGE, "age10"),
    Feature(
        "view", "meta", "input", "at", "projection; other than the four is unknown",
        ("PA", "LATERAL", "AP", "LL"), source="image.view",
    ),
    Feature(
        "position", "meta", "input", "at", "position of the person", ("Erect", "Recumbent"), source="image.position"
    ),
    Feature(
        "mortality", "stay", "outcome", "after", "whether the admission ended in death; unknown outside admissions",
        ("alive", "died"),
    ),
    Feature(
        "icu", "stay", "input", "at",
        "whether it was taken during a stay in intensive care; unknown outside hospital stays", ("icu", "not_icu"),
    ),
    _worded(
        "race", "social", "input", "before", "race or ethnicity, as the hospital wrote it down", "admission.race"
    ),
    _worded(
        "insurance", "social", "input", "before", "who pays; before MIMIC-IV 3.0 private is among other",
        "admission.insurance",
    ),
    _worded("language", "social", "input", "before", "language of the person", "admission.language"),
    _worded(
        "marital_status", "social", "input", "before", "marital status of the person", "admission.marital_status"
    ),
    _worded(
        "admission_type", "admission", "input", "at", "type of the admission; unknown before it begins",
        "admission.admission_type",
    ),
    _worded(
        "admission_location", "admission", "input", "at",
        "where the person came from; unknown before the admission begins", "admission.admission_location",
    ),
    _worded(
        "ed_arrival", "admission", "input", "at",
        "how the person came to the emergency department; ed: not told, not_ed: past it", "ed_stay.arrival_transport",
    ),
    _worded(
        "care_unit", "course", "input", "at",
        "where the person lay; of an ICU stay, the unit in which it began", "icu_stay.first_careunit", reveals="icu",
    ),
    Feature(
        "since_admission", "course", "input", "at", "time since the admission; unknown before it begins",
        column="since_admission_h", scale=Scale(0, 2400, is_log=True), most=240_000,
    ),
    # Counts studies with an earlier first film, including those whose films are not on this disk, because it is a fact
    # about the person. Unknown for a study without a time. In NIH it is the published follow-up number.
    Feature(
        "prior", "course", "input", "before", "earlier studies of the person in the dataset",
        column="num_prior", scale=Scale(0, 100, is_log=True), most=100_000, is_whole=True,
    ),
    Feature(
        "los", "discharge", "outcome", "after", "length of the admission",
        column="los_d", scale=Scale(0, 100, is_log=True), most=10_000,
    ),
    _worded(
        "discharge_location", "discharge_location", "outcome", "after",
        "where the person went from the hospital; unknown outside admissions", "admission.discharge_location",
        reveals="mortality",
    ),
)  # fmt: skip
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(feature.group for feature in FEATURES))
PAPER_FEATURES: tuple[str, ...] = tuple(FEATURE_NAMES[: FEATURE_NAMES.index("icu") + 1])
"""The features of the paper, the only ones that its imputation covers."""
RECORDED: tuple[Feature, ...] = tuple(
    sorted(
        (feature for feature in FEATURES if not feature.form_of),
        key=lambda feature: (GROUPS.index(feature.group), feature.role == "outcome"),
    )
)
"""Features with a column of their own, in the order of the columns: by group, within it outcomes last."""
GIVEN: tuple[Feature, ...] = tuple(feature for feature in RECORDED if not feature.source.startswith("image."))
"""Features that a dataset may state itself, in `given_feature`, where null is unknown."""
_BY_NAME = {feature.name: feature for feature in FEATURES}


def find_feature(name: str) -> Feature:
    """Return the declared feature of this name.

    Raises: UsageError that names the nearest one.
    """
    if name not in _BY_NAME:
        known = (*FEATURE_NAMES, *GROUPS, NONE)
        raise UsageError(f'there is no feature or group "{plain(name, 60)}"', hint=nearest_hint(name, known))
    return _BY_NAME[name]


def parse_ehr(text: str) -> tuple[str, ...]:
    """Return the features that `text` names, in declared order: groups and names in any mix, or "none".

    An age band replaces the age of a group.

    Raises: UsageError for an unknown name, naming the nearest one, for "none" mixed with features, and for two forms of
    one feature.
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
            raise UsageError(f'"{forms[quantity]}" and "{name}" are the same feature', hint="name one of them")
    replaced = {_BY_NAME[name].form_of for name in named}
    wanted = named | ({name for word in words for name in _group_members(word)} - replaced)
    return tuple(name for name in FEATURE_NAMES if name in wanted)


def name_features(names: Sequence[str], joined_by: str) -> str:
    """Return the shortest text that `parse_ehr` turns into `names`: whole groups by their name, the rest one by one."""
    words: dict[str, None] = {}
    for name in names:
        group = find_feature(name).group
        words[group if set(_group_members(group)) <= set(names) else name] = None
    return joined_by.join(words)


def is_outcome_used(names: Sequence[str]) -> bool:
    """Return whether any of these features is an outcome."""
    return any(find_feature(name).role == "outcome" for name in names)


def _group_members(word: str) -> tuple[str, ...]:
    return tuple(feature.name for feature in FEATURES if feature.group == word)
