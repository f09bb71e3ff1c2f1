"""A cohort in counts: how films came in, what is known of them, how they are split, what cohorts share.

In: a published cohort. Out: CohortDetail. Never: an id of a subject or a film.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.cohort.features import FEATURES
from cxrssl.cohort.read import SPLITS, UNCERTAIN, Cohort, open_cohort
from cxrssl.core.artefact import MANIFEST
from cxrssl.core.errors import CxrsslError
from cxrssl.core.numbers import is_count

AGE_EDGES = (0, 18, 30, 40, 50, 60, 70, 80, 90)
"""Years; the last band has no upper end."""
UNKNOWN = "unknown"
Counts = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Prevalence:
    """A finding in a split: films with it and films of which it is known."""

    num_pos: int
    num_known: int
    num_uncertain: int


@dataclass(frozen=True)
class Overlap:
    """What two cohorts have in common, by the ids of their datasets."""

    other: str
    num_subjects: int
    num_films: int
    is_same_dataset: bool
    """Ids of other datasets mean other people; only pixels can tell there."""


@dataclass(frozen=True)
class CohortDetail:
    """A cohort."""

    names: tuple[str, ...] = ()
    name: str = ""
    dataset: str = ""
    link_rule: str = ""
    scheme: str = ""
    num_films: int = 0
    num_subjects: int = 0
    flow: Counts = ()
    rejected: Counts = ()
    link: Counts = ()
    known: tuple[tuple[str, int], ...] = ()
    """Films of which a feature is known."""
    splits: tuple[tuple[str, int, int], ...] = ()
    """Name, films, subjects."""
    prevalence: Mapping[str, Mapping[str, Prevalence]] | None = None
    """By finding and split."""
    age: Counts = ()
    sex: Counts = ()
    view: Counts = ()
    overlaps: tuple[Overlap, ...] = ()
    remarks: tuple[str, ...] = ()
    problem: str = ""
    """Why it cannot be read."""
    is_reading: bool = False


class CohortFolder:
    """A cohort's folder, opened again only when it was published anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key: object = None
        self._read: Cohort | str = ""

    def poll(self) -> Cohort | str:
        """Return the cohort, or why it cannot be read."""
        try:
            info = (self.folder / MANIFEST).stat()
            key = (info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_size)
        except OSError:
            return "its manifest is missing"
        if key != self._key:
            try:
                self._read = open_cohort(self.folder, verify=False, check=False)
            except CxrsslError as error:
                self._read = error.what
            self._key = key
        return self._read


def describe(names: tuple[str, ...], cohort: Cohort, others: Mapping[str, Cohort]) -> CohortDetail:
    """Return a cohort in counts, and what it shares with others."""
    summary, scheme = cohort.summary, cohort.default_split
    split_N = cohort.split_of(scheme) if scheme in cohort.schemes else np.full(len(cohort), "")
    films = _table(summary.get("films"))
    return CohortDetail(
        names=names,
        name=cohort.name,
        dataset=cohort.dataset,
        link_rule=cohort.link,
        scheme=scheme,
        num_films=len(cohort),
        num_subjects=len(np.unique(cohort.subject_id)),
        flow=tuple((str(what), int(num)) for what, num in summary.get("flow", ())),
        rejected=_counts(films.get("rejected")),
        link=_counts(summary.get("link")),
        known=_known(cohort),
        splits=tuple((name, *_count_split(cohort, split_N == name)) for name in SPLITS),
        prevalence=_prevalence(cohort, split_N),
        age=_ages(cohort),
        sex=_categories(cohort, "sex"),
        view=tuple(_tally(np.where(cohort.view == "", UNKNOWN, cohort.view))),
        overlaps=tuple(_overlap(cohort, other) for other in others.values()),
        remarks=tuple(str(remark) for remark in summary.get("remarks", ())),
    )


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _counts(value: Any) -> Counts:
    return tuple((str(name), num) for name, num in _table(value).items() if is_count(num))


def _known(cohort: Cohort) -> Counts:
    names = cohort.feature_names.tolist()
    forms = {feature.name for feature in FEATURES if feature.form_of}
    counts = zip(names, cohort.ehr_known.sum(axis=0), strict=True)
    return tuple((str(name), int(num)) for name, num in counts if name not in forms)


def _count_split(cohort: Cohort, is_in_N: npt.NDArray[np.bool_]) -> tuple[int, int]:
    return int(is_in_N.sum()), len(np.unique(cohort.subject_id[is_in_N]))


def _prevalence(cohort: Cohort, split_N: npt.NDArray[np.str_]) -> dict[str, dict[str, Prevalence]]:
    found: dict[str, dict[str, Prevalence]] = {}
    for at, finding in enumerate(cohort.finding_names.tolist()):
        for split in SPLITS:
            values = cohort.label_values[split_N == split, at]
            pos, neg, uncertain = (int((values == wanted).sum()) for wanted in (1, 0, UNCERTAIN))
            found.setdefault(finding, {})[split] = Prevalence(pos, pos + neg, uncertain)
    return found


def _column(cohort: Cohort, name: str) -> npt.NDArray[np.float32]:
    """Return the values of a feature where it is known; nothing for a feature that the cohort lacks."""
    names = cohort.feature_names.tolist()
    if name not in names:
        return np.empty(0, np.float32)
    at = names.index(name)
    return np.asarray(cohort.ehr_values[cohort.ehr_known[:, at], at])


def _ages(cohort: Cohort) -> Counts:
    ages = _column(cohort, "age")
    edges = [*AGE_EDGES, np.inf]
    bands = [f"{low} to {high - 1}" for low, high in pairwise(AGE_EDGES)]
    nums = [int(((ages >= low) & (ages < high)).sum()) for low, high in pairwise(edges)]
    return (*zip([*bands, f"{AGE_EDGES[-1]} and over"], nums, strict=True), (UNKNOWN, len(cohort) - len(ages)))


def _categories(cohort: Cohort, name: str) -> Counts:
    values = _column(cohort, name)
    words = next((feature.categories for feature in FEATURES if feature.name == name), ())
    counts = tuple((word, int((values == at).sum())) for at, word in enumerate(words))
    return (*counts, (UNKNOWN, len(cohort) - len(values)))


def _tally(values: npt.NDArray[np.str_]) -> list[tuple[str, int]]:
    words, nums = np.unique(values, return_counts=True)
    return sorted(zip(words.tolist(), nums.tolist(), strict=True), key=lambda pair: -pair[1])


def _overlap(cohort: Cohort, other: Cohort) -> Overlap:
    is_same = cohort.dataset == other.dataset
    subjects = len(np.intersect1d(cohort.subject_id, other.subject_id)) if is_same else 0
    films = len(np.intersect1d(cohort.image_id, other.image_id)) if is_same else 0
    return Overlap(other.name, subjects, films, is_same)
