"""What a dataset module must offer, and the list of datasets. A new dataset takes one module and one line here.

In: a folder. Out: SourceTables in the words of schemas/1_source.sql. Never: a link, a split or a feature encoding.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self, cast

import polars as pl

from cxrssl.cohort.events.fill import OwnEvents
from cxrssl.cohort.features import GIVEN
from cxrssl.cohort.files import Folder, Layout, check_folder, iter_folders
from cxrssl.cohort.tables.columns import POLARS_TYPES, Column, TableSpec
from cxrssl.cohort.tables.table import REJECT_SCHEMA, SourceTable
from cxrssl.cohort.walk import spell
from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

ABSENT = "file missing"
WITHOUT_FILM = "study without a film"
DATASETS: tuple[str, ...] = ("mimic", "chexpert", "nih", "covid", "dicom", "folder")
GIVEN_SCHEMA: dict[str, pl.DataType] = {
    "image_id": pl.String(),
    **{feature.column: POLARS_TYPES[feature.kind] for feature in GIVEN},
    **{feature.censored: pl.Boolean() for feature in GIVEN if feature.censored},
}
"""What a dataset may state about the person at the film; null is unknown. Only `image_id` is required."""


@dataclass(frozen=True)
class SourceOptions:
    """What the user names: a dataset, the places of its parts, and the labels to use."""

    dataset: str
    path: Path
    ehr: Path | None = None
    """MIMIC-IV, if it is not under `path`."""
    films: Path | None = None
    """The films, if they are not beside the tables: a resized tree, or MIMIC-CXR as DICOM."""
    map: Path | None = None
    """The TOML that explains the user's own tables, and for `folder` its films."""
    labels: str = ""
    """For `mimic`: a word of `mimic.versions.LABELS`."""
    links: Path | None = None
    """A folder elsewhere that links among the films may lead into, as a hub's cache or a link farm has them."""
    features: str = ""
    """Groups of measured features, and files that declare more, with commas between them: see `events.asked`."""

    def locate(self, what: str) -> Self:
        """Return the options with absolute folders; `what` names `path` in an error.

        Raises: UsageError when one of them is not a folder.
        """
        ehr = check_folder(self.ehr, "--ehr") if self.ehr else None
        films = check_folder(self.films, "--films") if self.films else None
        links = check_folder(self.links, "--follow-links") if self.links else None
        return replace(self, path=check_folder(self.path, what), ehr=ehr, films=films, links=links)

    def foreign(self) -> list[str]:
        """Return the given options that do not apply to the dataset."""
        known = find_source(self.dataset).OPTIONS
        return [name for name in ("ehr", "films", "labels", "features") if getattr(self, name) and name not in known]

    def check(self) -> None:
        """Raise UsageError for an option that does not apply to the dataset."""
        for name in self.foreign():
            raise UsageError(f"--{name} does not apply to {self.dataset}", hint=f"leave --{name} out")


@dataclass
class Hospital:
    """The tables that films are linked with."""

    patient: pl.DataFrame
    admission: pl.DataFrame
    icu_stay: pl.DataFrame
    ed_stay: pl.DataFrame | None = None
    """From the ED module, if it is available."""


@dataclass
class SourceTables:
    """The accepted rows of one dataset, and the account of the rest."""

    films: SourceTable
    """The file whose rows are films."""
    others: list[SourceTable]
    """All other files."""
    image: pl.DataFrame
    given: pl.DataFrame
    """One row a film: GIVEN_SCHEMA, made by `complete_given`."""
    labels: pl.DataFrame
    """One row a study: `study_id`, then one Int8 column a finding (1, 0, -1, null)."""
    official: pl.DataFrame | None = None
    """`subject_id`, `split` in train, val, test or train_val, over all films of the publisher."""
    hospital: Hospital | None = None
    views_seen: dict[str, int] = field(default_factory=dict)
    """View as written in the file -> films, before the mapping to our four."""
    remarks: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """Part of the dataset -> its version and the evidence, such as "2.2 (numbers of rows)"."""
    film_parts: list[SourceTable] = field(default_factory=list)
    """The files that `films` joins, where there are several."""
    own_events: OwnEvents | None = None
    """Rows of a user's own tables that measured features are chosen from."""
    positions: dict[str, dict[str, int]] = field(default_factory=dict)
    """Kind of intervals that a user's own table has -> how films lie to them -> films."""

    @property
    def files(self) -> list[SourceTable]:
        """Each file once, films first."""
        return [*(self.film_parts or [self.films]), *self.others]

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(name for name in self.labels.columns if name != "study_id")


class Source(Protocol):
    """A dataset module."""

    OPTIONS: tuple[str, ...]
    """The optional fields of SourceOptions that it accepts."""

    def find(self, options: SourceOptions) -> Layout:
        """Return where its files are, or raise DataError or UsageError that names what was looked for."""

    def is_here(self, folder: Folder) -> bool:
        """Return whether this one folder looks like the dataset."""

    def read(self, layout: Layout, present: dict[str, int]) -> SourceTables:
        """Return the tables; `present` are the films on the disk."""


def find_source(dataset: str) -> Source:
    """Return the module of a dataset.

    Raises: UsageError that names the nearest one.
    """
    if dataset not in DATASETS:
        raise UsageError(f'there is no dataset "{plain(dataset, 60)}"', hint=nearest_hint(dataset, DATASETS))
    return cast(Source, importlib.import_module(f"cxrssl.cohort.sources.{dataset}"))


def recognise(path: Path) -> dict[str, list[Path]]:
    """Return dataset -> folders under `path` that look like it. DICOM files count only if there is no other dataset."""
    sources = {name: find_source(name) for name in DATASETS}
    found: dict[str, list[Path]] = {}
    for folder in iter_folders(path):
        for name, source in sources.items():
            if source.is_here(folder):
                found.setdefault(name, []).append(folder.path)
    if len(found) > 1:
        found.pop("dicom", None)
    return found


def list_table(name: str, column: str, paths: Mapping[str, int]) -> SourceTable:
    """Return a table whose rows are files: `line` k has the k-th path in sorted order, in `path` and in `column`."""
    files = pl.Series(column, sorted(paths), pl.String())
    frame = pl.DataFrame({"line": range(1, len(files) + 1), column: files}, {"line": pl.Int64(), column: pl.String()})
    frame = frame.with_columns(files.alias("path"))
    spec = TableSpec(name, (Column(column),), key=(column,))
    return SourceTable(name, spec, len(files), frame, pl.DataFrame(schema=REJECT_SCHEMA), row_files=files)


def join_films(parts: list[SourceTable]) -> SourceTable:
    """Return one table with the rows of several, for counting: its flow and its rejects are their sums."""
    names = " + ".join(part.file for part in parts)
    frame = pl.concat([part.frame for part in parts], how="diagonal")
    rejects = pl.concat([part.rejects for part in parts])
    return SourceTable(names, parts[0].spec, sum(part.rows for part in parts), frame, rejects)


def complete_given(given: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with all columns of GIVEN_SCHEMA: absent values are unknown, ages by default not censored."""
    absent = [pl.lit(None, kind).alias(name) for name, kind in GIVEN_SCHEMA.items() if name not in given.columns]
    whole = (
        given.with_columns(absent).select(list(GIVEN_SCHEMA)).with_columns(pl.col("age_is_censored").fill_null(False))
    )
    return whole.cast(GIVEN_SCHEMA)  # type: ignore[arg-type]


def reject_absent_films(films: SourceTable, present: dict[str, int]) -> None:
    """Reject the rows whose `path` is not on the disk or is an empty file; give the others the disk's spelling."""
    spelling = spell(films.frame["path"].drop_nulls().to_list(), present)
    if spelling:
        films.frame = films.frame.with_columns(pl.col("path").replace(spelling))
        films.remarks.append(f"films whose names the disk spells with accents apart: {len(spelling):,}")
    columns = {"path": list(present), "size": list(present.values())}
    sizes = pl.DataFrame(columns, {"path": pl.String(), "size": pl.Int64()})
    films.frame = films.frame.join(sizes, "path", "left", maintain_order="left")
    films.reject(pl.col("size").is_null(), ABSENT)
    films.reject(pl.col("size") == 0, "file empty")


def count_values(frame: pl.DataFrame, column: str) -> dict[str, int]:
    """Return value -> rows, most frequent first; null is ""."""
    counts = frame.group_by(pl.col(column).fill_null("").alias("value")).len()
    counts = counts.sort(["len", "value"], descending=[True, False])
    return {plain(value, 60): num for value, num in counts.iter_rows()}
