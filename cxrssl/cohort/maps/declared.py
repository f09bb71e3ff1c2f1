"""A map as plain data: what the user says of films, labels, record, times and measures. Made by cohort/maps/parse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cxrssl.core.config import setting

KEYS = ("image", "study", "patient", "file")
"""What the ids of a table name."""
UNITS_H = {"s": 1 / 3600, "min": 1 / 60, "h": 1.0, "d": 24.0, "w": 168.0}
"""Unit of an offset -> hours."""
ANY, BLANK, UNKNOWN = "*", "", "unknown"
"""Among the cells of a word: any cell that is not named, and the blank cell; as a word: cells that say nothing."""


@dataclass(frozen=True)
class JoinMap:
    """A second table with columns of the films."""

    file: str = ""
    column: str = ""
    """Its ids."""
    to: str = ""
    """The column of the table of films that holds these ids; by default that of the film's id."""


@dataclass(frozen=True)
class FilmsMap:
    """Where the films are, and what tells them and their persons apart.

    `subject`, `study`, `patient` and `path` are a column, or text with columns in braces, as "{site}-{person}".
    """

    file: str = ""
    """The table with a row a film; without one, the files are the films."""
    image: str = ""
    """Its column with a name of the film: its file, with or without folders and suffix."""
    subject: str = ""
    study: str = ""
    """By default each film is a study of its own."""
    patient: str = ""
    """The dataset's own patient, where `subject` joins several."""
    path: str = ""
    """The film's file, where `image` does not name it."""
    folder: str = ""
    """Of the films, below PATH."""
    name: str = ""
    """The form of a film's path without its suffix, as "{subject}_{number}": what is in braces is a column too."""
    suffixes: tuple[str, ...] = ()
    split: str = ""
    taken: str = ""
    order: str = ""
    """A column of numbers by which the films of a person are in order, where there is no time."""
    keep: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> the cells of films that are kept."""
    joins: tuple[JoinMap, ...] = ()


@dataclass(frozen=True)
class TimeMap:
    """How times are written."""

    unit: str = setting("", options=("", *UNITS_H))
    """Times are numbers of this unit; without it, dates and times."""
    zero: str = setting("film", options=("film", "patient"))
    """What such a number is counted from: the film that the row is about, or one moment of the patient's own."""
    format: str = ""
    """Of dates and times, where it is not ISO 8601."""


@dataclass(frozen=True)
class LabelMap:
    """A table of labels: its file, what its ids identify, and the cells that mean present, absent and uncertain."""

    file: str = ""
    """None: the table of films."""
    column: str = ""
    key: str = setting("study", options=KEYS)
    present: tuple[str, ...] = ("1", "1.0")
    absent: tuple[str, ...] = ("0", "0.0")
    uncertain: tuple[str, ...] = ("-1", "-1.0")
    list: str = ""
    """A column that names the findings which are present, in place of a column a finding."""
    separators: tuple[str, ...] = ("|",)
    normal: str = ""
    """The word for "no finding"; it may be a finding too."""
    unknown: tuple[str, ...] = ()
    """Cells of `list` that say nothing."""
    open: tuple[str, ...] = ()
    """Findings that, named alone, say nothing of the others."""
    others: str = setting("keep", options=("keep", "drop"))
    """What becomes of findings that the dataset has itself."""
    findings: dict[str, str] = field(default_factory=dict)
    """Finding -> column; of `list`, finding -> ""."""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Finding -> other words for it in `list`."""
    implies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Finding -> those that are present with it."""


@dataclass(frozen=True)
class FeatureMap:
    """A column of the health record."""

    column: str = ""
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Our word -> the cells that mean it; if empty, cells are taken unchanged."""
    factor: float = 1.0
    """A number times this is in our unit."""


@dataclass(frozen=True)
class EhrMap:
    """A table of the health record: its file, what its ids identify, and its columns."""

    file: str = ""
    column: str = ""
    key: str = setting("patient", options=KEYS)
    features: dict[str, FeatureMap] = field(default_factory=dict)
    """Column of the cohort -> column of the table."""


@dataclass(frozen=True)
class SpanMap:
    """Intervals: admissions, or stays in intensive care."""

    file: str = ""
    column: str = ""
    key: str = setting("patient", options=KEYS)
    start: str = ""
    end: str = ""
    absent: str = setting("unknown", options=("unknown", "never"))
    """What it means that a film or a person has no interval."""


@dataclass(frozen=True)
class MeasureSource:
    """Where the values of one measured feature are."""

    items: tuple[str, ...] = ()
    """Cells of the table's `item`; none: `value` is a column of its own."""
    value: str = ""
    time: str = ""
    unit: str = ""
    factor: float = 1.0
    """A number times this is in `unit`."""
    limits: tuple[float, ...] = ()
    """The limits of detection, which replace -inf and inf."""


@dataclass(frozen=True)
class MeasureMap:
    """A table of repeated measures, long (a row a value) or wide (a column a feature)."""

    file: str = ""
    column: str = ""
    key: str = setting("patient", options=KEYS)
    time: str = ""
    stored: str = ""
    until: str = ""
    item: str = ""
    value: str = ""
    unit: str = ""
    """Column with the unit."""
    features: dict[str, MeasureSource] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordMap:
    """The content of the TOML."""

    body_part: tuple[str, ...] = ()
    ids: str = setting("tags", options=("tags", "file"))
    """What tells DICOM films apart: their tags, or the names of their files, where the tags were taken out."""
    collection: str = ""
    """What the films are of. The ids of two cohorts are compared only where they are of one collection."""
    films: FilmsMap | None = None
    time: TimeMap = TimeMap()
    labels: tuple[LabelMap, ...] = ()
    ehr: tuple[EhrMap, ...] = ()
    admission: SpanMap | None = None
    icu: SpanMap | None = None
    measures: tuple[MeasureMap, ...] = ()
    declared: tuple[dict[str, Any], ...] = ()
    """The tables [[feature]]."""

    @property
    def spans(self) -> dict[str, SpanMap]:
        """Name -> intervals."""
        return {name: span for name, span in (("admission", self.admission), ("icu", self.icu)) if span}
