"""What a declared feature is: plain data, made by cohort/declare from a TOML. Stdlib only.

A feature is a column that the dataset or the hospital's stays give (FEATURES of cohort/features), or it is measured:
chosen for each film from the rows of a table of events, such as laboratory results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

Role = Literal["input", "outcome"]
Known = Literal["before", "at", "after"]
Choose = Literal[
    "nearest_before", "worst_before", "first_after_admission", "count_before", "any_before", "at_film",
    "any_of_admission",
]  # fmt: skip
Missing = Literal["unknown", "no", "no_in_icu"]
NO, YES = "no", "yes"


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` become 0 to 1, others the nearer end. The ends are declared, never fitted."""

    low: float
    high: float
    is_log: bool = False
    """log(1 + x - low) in place of x."""


@dataclass(frozen=True)
class EventTable:
    """A table of events: one row a result, a sign, a code, an interval."""

    name: str
    file: str
    """Folder and stem below the root of its module, as "hosp/labevents"."""
    time: str
    """Column with the moment that a value speaks of, as "charttime"; or a time of the stay that `key` names, as
    "admission.dischtime" or "ed_stay.intime"."""
    subject: str = "subject_id"
    key: str = ""
    stored: str = ""
    """Column with the moment from which it could be read. Without one, a value is known from its time on."""
    until: str = ""
    """Column with the end, where rows are intervals."""
    item: str = ""
    """Column that says what a row is about; of codes, the code."""
    version: str = ""
    """Column with the version of a code."""
    value: str = ""
    unit: str = ""
    limit_in: tuple[str, ...] = ()
    """Columns of text which, where the value is blank, may begin with a limit of detection, as "<0.01"."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the file that are read, but for those that only a feature names."""
        of_stay = "." in self.time
        named = (self.subject, self.key, "" if of_stay else self.time, self.stored, self.until, self.item)
        return tuple(dict.fromkeys(filter(None, (*named, self.version, self.value, self.unit, *self.limit_in))))


@dataclass(frozen=True)
class EventSource:
    """The rows of a table that a feature is taken from."""

    table: str
    items: tuple[str, ...] = ()
    """Values of the table's `item`; none: every row."""
    value: str = ""
    """Column of the value, where it is not the table's."""
    unit: str = ""
    """Of all rows, where the table has no column for it."""
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Version -> beginnings of codes."""


@dataclass(frozen=True)
class Measured:
    """How a value is chosen for a film."""

    choose: Choose
    sources: tuple[EventSource, ...] = ()
    count_of: tuple[str, ...] = ()
    """Features of which the number that are "yes" is counted, in place of rows."""
    unit: str = ""
    units: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Unit as written, in lower case -> factor and summand that turn it into `unit`; "" is a blank cell."""
    low: float = float("-inf")
    high: float = float("inf")
    """The plausible range, in `unit`; other values are rejected and counted."""
    window_h: float | None = None
    """How far back a value is looked for; None: without a limit."""
    stale_h: float | None = None
    """The age from which a value counts as stale. The column of its age grows from 0 to 1 until then."""
    worst: Literal["high", "low"] = "high"
    missing: Missing = "unknown"
    """What it means that no row is found; `no_in_icu`: "no" for films in an ICU stay, unknown for others."""

    @property
    def has_age(self) -> bool:
        return self.choose in ("nearest_before", "worst_before", "first_after_admission")


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
    rule: str = ""
    """SQL of its value in the hospital's tables, where that is more than a column. $1: linked by day."""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Category -> the words of the source that mean it, besides the category's own name; empty: no words of its own."""
    scale: Scale | None = None
    """Of a number."""
    most: float = 0
    """The largest number that a user's own table may hold."""
    is_whole: bool = False
    censored: str = ""
    """A second column: whether the true number is larger than the one given."""
    form_of: str = ""
    """The feature that this one re-encodes; the two are never used together."""
    edges: tuple[int, ...] = ()
    """Of bands: the lower ends of all but the first."""
    reveals: str = ""
    """Another feature that follows from some of its categories."""
    measured: Measured | None = None

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
        """Whether its source has words of its own, which `words` maps to categories."""
        return bool(self.words)

    @property
    def has_age(self) -> bool:
        """Whether each value has an age: how long before the film it was taken."""
        return self.measured is not None and self.measured.has_age

    @property
    def age_column(self) -> str:
        return f"{self.column}_age_h"


@dataclass(frozen=True)
class Declared:
    """The content of a file of declarations."""

    features: tuple[Feature, ...]
    tables: tuple[EventTable, ...] = ()
    unknown_words: tuple[str, ...] = ()


def make_edges(step_y: int) -> tuple[int, ...]:
    """Return the lower ends of all age bands but the first: 20, 20 + step, ... 90."""
    return tuple(range(20, 91, step_y))


def band_labels(edges: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the bands between the edges; an age on an edge belongs to the band above it.

    Differs: the published code closes bands at the right, so that 20 falls into its band "<20".
    """
    inner = [f"{low}-{high - 1}" for low, high in pairwise(edges)]
    return (f"<{edges[0]}", *inner, f"{edges[-1]}+")
