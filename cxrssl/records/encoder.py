"""What a finished run publishes: its weights, the recipe that says how films enter them, and who shaped them.

In: `encoder/{encoder.safetensors, anchor.safetensors, head.safetensors, films.csv, ancestor-1.csv, manifest.json}`.
Out: EncoderRecord, SeenFilms. The weights themselves are read in model. Never: a manifest or a list of films that is
taken half.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.artefact import MANIFEST, Artefact, open_artefact
from cxrssl.core.errors import IntegrityError, UsageError
from cxrssl.core.text import escape_formula, from_csv_text, nearest_hint, plain
from cxrssl.records.damage import refuse_faults
from cxrssl.records.external import ExternalSource
from cxrssl.records.fields import read_fields, write_fields
from cxrssl.records.members import Member

KIND = "encoder"
WEIGHTS, ANCHOR, FILMS = "encoder.safetensors", "anchor.safetensors", "films.csv"
HEAD = "head.safetensors"
"""Of a run that learnt labels: its layer for findings."""
EncoderName = Literal["target", "anchor"]
"""`target` is what every run publishes; `anchor` the trained encoder of a run whose target is its moving average."""
ANCHOR_NAME: EncoderName = "anchor"
WEIGHTS_OF: dict[EncoderName, str] = {"target": WEIGHTS, "anchor": ANCHOR}
COLUMNS = ("image_id", "subject_id", "pixel_hash")
COHORT = "cohort"
"""The last column of the list of a run on several cohorts."""


@dataclass(frozen=True)
class EncoderOrigin:
    """Where an encoder comes from; all blank for one that was never published."""

    run_id: str
    step: int
    cohort: str
    dataset: str
    split: str
    """The split whose train films it was shown."""
    recipe_sha256: str
    cohort_sha256: str
    images_sha256: str
    link: str = ""
    members: tuple[Member, ...] | None = None
    """The cohorts, where they are several; `cohort` and `dataset` then name all."""

    @property
    def cohorts(self) -> tuple[Member, ...]:
        """The cohorts whose films it was shown, one or several."""
        own = Member(self.cohort, self.dataset, self.split, self.cohort_sha256, self.images_sha256, self.link)
        return self.members or (own,)

    def one_cohort(self) -> str:
        """Return the cohort that a run is probed on when none is named. Raises: UsageError for one of several."""
        if self.members:
            names = [plain(each.cohort, 80) for each in self.members]
            what = f"run {plain(self.run_id, 120)} was trained on {len(names)} cohorts: {', '.join(names)}"
            raise UsageError(what, hint=f"name the one that is meant: --cohort {names[0]}")
        return self.cohort

    def split_on(self, cohort: str, dataset: str) -> str:
        """Return the split that the run had of a cohort, or of another one of its dataset; "" for other datasets."""
        own = [each.split for each in self.cohorts if each.cohort == cohort and each.dataset == dataset]
        return next(iter([*own, *(each.split for each in self.cohorts if each.dataset == dataset)]), "")

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


NOWHERE = EncoderOrigin("", 0, "", "", "", "", "", "")


@dataclass(frozen=True)
class EhrInput:
    """The part of a recipe that says what of the health record went in."""

    features: tuple[str, ...]
    missing: str = "mask"
    may_use_outcomes: bool = True
    """A recipe from before the question was asked allowed it."""
    predict: tuple[str, ...] = ()

    @property
    def taught(self) -> tuple[str, ...]:
        """All features that shaped the weights, given or predicted."""
        return tuple(dict.fromkeys((*self.features, *self.predict)))


@dataclass(frozen=True)
class Ancestor:
    """A run, or an encoder of others, that an encoder descends from."""

    name: str
    """A run id, with ":anchor" where it was that encoder; of others the name of their file or folder."""
    weights_sha256: str
    origin: EncoderOrigin
    """NOWHERE for an encoder of others."""
    ehr: EhrInput
    learnt_labels: bool
    films: str = ""
    """File of the descendant's artefact that lists the films that shaped it; empty where they are unknown."""
    external: ExternalSource | None = None
    """Of an encoder of others."""

    @property
    def dataset(self) -> str:
        """Whose films it has seen, in words where that is not known."""
        return self.origin.dataset if self.films else f"unknown films of {self.name}"


Lineage = tuple[tuple[Ancestor, ...], Mapping[str, bytes]]
"""Ancestors, nearest first, and the lists of the films that shaped them, by the file that each names."""


@dataclass(frozen=True)
class EncoderRecord:
    """A published encoder without its weights."""

    folder: Path
    recipe: dict[str, Any]
    origin: EncoderOrigin
    ehr: EhrInput
    weights_sha256: str
    anchor_sha256: str = ""
    """Empty where no anchor was published."""
    head_sha256: str = ""
    """Of its layer for findings; empty where none was published."""
    ancestors: tuple[Ancestor, ...] = ()
    """What its training started from, then what that started from; none for weights that were drawn."""

    @property
    def learnt_labels(self) -> bool:
        """Whether the labels of its films shaped it too."""
        return learns_labels(self.recipe)

    @property
    def taught(self) -> tuple[str, ...]:
        """All features of the record that shaped the weights, in this run or before it."""
        inputs = [self.ehr, *(each.ehr for each in self.ancestors)]
        return tuple(dict.fromkeys(name for each in inputs for name in each.taught))

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Names of what it started from whose films are unknown."""
        return tuple(each.name for each in self.ancestors if not each.films)

    def films(self) -> SeenFilms:
        """Return the films that shaped it in its own run. Raises: IntegrityError."""
        return read_films(self.folder / FILMS)

    def lineage(self, name: str) -> Lineage:
        """Return the ancestors of a run that starts from it under this name, nearest first, and their lists by file.

        Raises: IntegrityError when a list cannot be read.
        """
        which = self.anchor_sha256 if name.endswith(f":{ANCHOR_NAME}") else self.weights_sha256
        itself = Ancestor(name, which, self.origin, self.ehr, self.learnt_labels, FILMS)
        listed, lists = [], dict[str, bytes]()
        for number, each in enumerate((itself, *self.ancestors), 1):
            file = f"ancestor-{number}.csv" if each.films else ""
            listed.append(replace(each, films=file))
            if file:
                lists[file] = read_films(self.folder / each.films).to_csv()
        return tuple(listed), lists


@dataclass(frozen=True)
class _Lineage:
    """The part of a manifest that names the ancestors; that of an older version does not."""

    ancestors: tuple[Ancestor, ...] = ()


@dataclass(frozen=True, eq=False)
class SeenFilms:
    """The films that shaped an encoder, by id, by person and by their pixels."""

    image_id: NDArray[np.str_]
    subject_id: NDArray[np.str_]
    pixel_hash: NDArray[np.bytes_]
    """Of the packed pixels; empty where it is not known."""
    cohort: NDArray[np.str_] | None = None
    """Whose film it is, where the run had several cohorts; ids are those of its dataset."""

    def to_csv(self) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        columns = [self.image_id, self.subject_id, self.pixel_hash.astype(np.str_)]
        columns += [] if self.cohort is None else [self.cohort]
        writer.writerow((*COLUMNS, COHORT)[: len(columns)])
        writer.writerows(zip(*(map(escape_formula, column.tolist()) for column in columns), strict=True))
        return text.getvalue().encode()

    def of_cohort(self, name: str) -> SeenFilms:
        """Return the films of one of the cohorts."""
        if self.cohort is None:
            return self
        here = self.cohort == name
        return SeenFilms(self.image_id[here], self.subject_id[here], self.pixel_hash[here])


def learns_labels(recipe: Mapping[str, Any]) -> bool:
    """Return whether a run of a recipe is taught the labels of its films: its objective says what a label counts as."""
    objective = recipe.get("objective")
    return isinstance(objective, Mapping) and "uncertain" in objective


def parse_encoder_name(text: str) -> EncoderName:
    """Return which encoder of a run a user means. Raises: UsageError."""
    for name in WEIGHTS_OF:
        if text == name:
            return name
    raise UsageError(f'--encoder is "{plain(text, 40)}"', hint=nearest_hint(text, WEIGHTS_OF))


def make_settings(
    recipe: dict[str, Any], origin: EncoderOrigin, ancestors: tuple[Ancestor, ...] = ()
) -> dict[str, Any]:
    """Return what the manifest of an encoder says of it."""
    settings = {"recipe": recipe, **origin.to_dict()}
    return {**settings, "ancestors": [write_fields(each) for each in ancestors]} if ancestors else settings


def open_record(folder: Path, verify: bool = True) -> EncoderRecord:
    """Return a published encoder without its weights; with `verify` every byte of it was looked at.

    Raises: IntegrityError.
    """
    artefact = open_artefact(folder, KIND, verify)
    faults = [f"does not list {name}" for name in (WEIGHTS, FILMS) if name not in artefact.manifest["files"]]
    record = _read_settings(artefact, faults)
    refuse_faults(MANIFEST, faults, str(folder))
    return record


def find_encoder_fault(folder: Path) -> str:
    """Return what is wrong with a published encoder as far as its manifest and the sizes of its files tell, or ""."""
    try:
        open_record(folder, verify=False)
    except IntegrityError as error:
        return name_fault(error)
    return ""


def name_fault(error: IntegrityError) -> str:
    """Return what is wrong with an encoder, as part of what is wrong with its run."""
    return f"{KIND}: {error.what}"


def read_films(path: Path) -> SeenFilms:
    """Return a list of films. Raises: IntegrityError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path.name} cannot be read: {plain(error, 120)}", path, "pretrain again") from None
    return parse_films(data, path)


def parse_films(data: bytes, path: Path) -> SeenFilms:
    """Return a list of films from the bytes of its file, `path`. Raises: IntegrityError."""
    try:
        header, *lines = csv.reader(io.StringIO(data.decode("utf-8"), newline=""))
        if tuple(header) not in (COLUMNS, (*COLUMNS, COHORT)) or any(len(line) != len(header) for line in lines):
            raise ValueError("its columns are not " + ", ".join(COLUMNS))
        columns = ([from_csv_text(line[k]) for line in lines] for k in range(len(header)))
        image_id, subject_id, pixel_hash, *cohort = (np.array(column, np.str_) for column in columns)
        return SeenFilms(image_id, subject_id, np.char.encode(pixel_hash, "ascii"), *cohort)
    except (ValueError, csv.Error) as error:
        raise IntegrityError(f"{path.name} cannot be read: {plain(error, 120)}", path, "pretrain again") from None


def _read_settings(artefact: Artefact, faults: list[str]) -> EncoderRecord:
    settings = artefact.settings
    origin = read_fields(EncoderOrigin, settings, faults)
    recipe = settings.get("recipe")
    if not isinstance(recipe, dict):
        faults.append('has no table in "recipe"')
        recipe = {}
    ehr = read_fields(EhrInput, recipe.get("ehr", {}), faults, "recipe.ehr")
    files = artefact.manifest["files"]
    ancestors = read_fields(_Lineage, settings, faults).ancestors
    faults += [f"does not list {plain(each.films, 60)}" for each in ancestors if each.films and each.films not in files]
    target, anchor, head = (files.get(name, {}).get("sha256", "") for name in (WEIGHTS, ANCHOR, HEAD))
    return EncoderRecord(artefact.path, recipe, origin, ehr, target, anchor, head, ancestors)
