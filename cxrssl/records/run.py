"""The folder of a run: what its files are called, and what run.json says.

In: a folder. Out: paths, RunDescription. Never: a look at a journal (tail, steps, events).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import plain
from cxrssl.records.damage import describe_faults
from cxrssl.records.fields import read_fields, write_fields
from cxrssl.records.file import read_json
from cxrssl.records.members import Member

KIND = "run"
DESCRIPTION, EVENTS, LOCK = "run.json", "events.jsonl", "run.lock"
ENCODER, CHECKPOINTS = "encoder", "checkpoints"
DIRTY = " with changes"
MAX_COMMIT = 12
"""Of a hash, for people."""
JOURNAL_PREFIX, JOURNAL_SUFFIX = "metrics-", ".jsonl"


@dataclass(frozen=True)
class RunFiles:
    """Where what a run writes lies."""

    folder: Path

    @property
    def description(self) -> Path:
        return self.folder / DESCRIPTION

    @property
    def events(self) -> Path:
        return self.folder / EVENTS

    @property
    def lock(self) -> Path:
        return self.folder / LOCK

    @property
    def encoder(self) -> Path:
        return self.folder / ENCODER

    @property
    def checkpoints(self) -> Path:
        return self.folder / CHECKPOINTS

    @property
    def is_published(self) -> bool:
        """Whether the run has ended with its last step: its encoder is there, whole or not at all."""
        return self.encoder.is_dir()

    def journals(self) -> list[Path]:
        """Return the metrics journals, one each time the run was started, oldest first."""
        return sorted(self.folder.glob(f"{JOURNAL_PREFIX}*{JOURNAL_SUFFIX}"))

    def next_journal(self) -> Path:
        """Return the journal of the next start; it comes after all that are there, whichever were deleted."""
        numbers = [path.name.removeprefix(JOURNAL_PREFIX).removesuffix(JOURNAL_SUFFIX) for path in self.journals()]
        last = max((int(number) for number in numbers if number.isdecimal()), default=0)
        return self.folder / f"{JOURNAL_PREFIX}{last + 1:04d}{JOURNAL_SUFFIX}"


def is_journal(name: str) -> bool:
    """Return whether a file of this name is a metrics journal."""
    return name.startswith(JOURNAL_PREFIX) and name.endswith(JOURNAL_SUFFIX)


@dataclass(frozen=True)
class _Model:
    backbone: str


@dataclass(frozen=True)
class _Ehr:
    features: tuple[str, ...]


@dataclass(frozen=True)
class _Train:
    seed: int | None


@dataclass(frozen=True)
class RecipeFacts:
    """The few settings of a recipe that every view shows, of whatever version the recipe is."""

    model: _Model
    ehr: _Ehr
    train: _Train


@dataclass(frozen=True)
class RunDescription:
    """run.json: what a run is, written once at its start."""

    run_id: str
    recipe: dict[str, dict[str, Any]]
    """Every setting that changes numbers, by section."""
    cohort: str
    """Of several the names, with commas between them."""
    dataset: str
    split: str
    num_films: int
    """Films it is pretrained on."""
    num_steps: int
    objective: str = ""
    ehr_columns: tuple[str, ...] = ()
    """Names of the columns that the EHR branch sees."""
    num_twins_left_out: int = 0
    num_without_sex: int = 0
    steps_per_epoch: int = 0
    device: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    recipe_sha256: str = ""
    cohort_sha256: str = ""
    images_sha256: str = ""
    commit: str = ""
    """Git commit of the package at the start; "" where it was installed, and of older versions."""
    is_dirty: bool = False
    """Whether files of the package were not as in the commit."""
    code_sha256: str = ""
    """Of the files that may change a number, see `core.code`."""
    extends_setup: tuple[str, ...] | None = None
    """Of a run that extends another one: hashes of that one's setup without its seed; see records.setup."""
    members: tuple[Member, ...] | None = None
    """The cohorts, where they are several."""
    num_shared_patients: int | None = None
    """Patients with films in several of them."""
    num_outside_where: int | None = None
    """Train films that do not meet `data.where`."""

    @property
    def cohorts(self) -> tuple[Member, ...]:
        """The cohorts that it is pretrained on, one or several."""
        own = (self.cohort, self.dataset, self.split, self.cohort_sha256, self.images_sha256)
        return self.members or (Member(*own, num_films=self.num_films),)

    @property
    def cohort_names(self) -> tuple[str, ...]:
        return tuple(each.cohort for each in self.cohorts)

    @property
    def where(self) -> str:
        """The condition on its films, empty for none."""
        return self._data("where", "")

    @property
    def mix(self) -> str:
        """How an epoch is made of several cohorts."""
        return self._data("mix", "proportional")

    def _data(self, key: str, usual: str) -> str:
        data = self.recipe.get("data")
        return str(data.get(key, usual)) if isinstance(data, dict) else usual

    @cached_property
    def facts(self) -> RecipeFacts:
        return read_fields(RecipeFacts, self.recipe, [])

    @property
    def code_facts(self) -> dict[str, str]:
        """Versions, commit and hash of the code by name, as far as they were recorded."""
        commit = f"{plain(self.commit[:MAX_COMMIT])}{DIRTY if self.is_dirty else ''}" if self.commit else ""
        known = {"commit": commit, "code": plain(self.code_sha256[:MAX_COMMIT])}
        versions = {plain(name, 40): plain(version, 60) for name, version in sorted(self.versions.items())}
        return {**versions, **{name: each for name, each in known.items() if each}}

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)

    @classmethod
    def from_dict(cls, values: Any, faults: list[str]) -> RunDescription:
        """Return what can be used of run.json; the rest adds to `faults`."""
        known = read_fields(cls, values, faults)
        if known.recipe:
            read_fields(RecipeFacts, known.recipe, faults, "recipe")
        return known


def read_description(files: RunFiles) -> tuple[RunDescription | None, str]:
    """Return run.json and what is wrong with it, "" when nothing is; None when nothing of it can be used."""
    try:
        values = read_json(files.description)
    except IntegrityError as error:
        return None, error.what
    if not isinstance(values, dict):
        return None, f"{DESCRIPTION} holds no table"
    faults: list[str] = []
    known = RunDescription.from_dict(values, faults)
    if known.run_id and known.run_id != files.folder.name:
        faults.append("is that of another run")
    return known, describe_faults(DESCRIPTION, faults) if faults else ""
