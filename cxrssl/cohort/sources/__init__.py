"""What a dataset module must offer, and the list of them. A new dataset is one more module and one more line here.

In: a folder. Out: SourceTables in the words of schemas/1_source.sql. Never: a link, a split or a feature encoding.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import polars as pl

from cxrssl.cohort.files import Layout
from cxrssl.cohort.table import Table
from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain

DATASETS: tuple[str, ...] = ("mimic", "nih", "covid")
GIVEN_SCHEMA = {
    "image_id": pl.String(),
    "sex": pl.String(),
    "age_y": pl.Float64(),
    "age_is_censored": pl.Boolean(),
    "icu": pl.String(),
    "mortality": pl.String(),
    "race": pl.String(),
    "insurance": pl.String(),
    "language": pl.String(),
    "marital_status": pl.String(),
    "admission_type": pl.String(),
    "admission_location": pl.String(),
    "ed_arrival": pl.String(),
    "care_unit": pl.String(),
    "los_d": pl.Float64(),
    "since_admission_h": pl.Float64(),
    "num_prior": pl.Int64(),
}
"""What a dataset may say about the person at the film; null is unknown. `image_id` is the only column it must fill."""


@dataclass
class Hospital:
    """The tables that a film is linked with."""

    patient: pl.DataFrame
    admission: pl.DataFrame
    icu_stay: pl.DataFrame
    ed_stay: pl.DataFrame | None = None
    """Of the ED module, where it is at hand."""


@dataclass
class SourceTables:
    """What one dataset says, accepted rows only, with the account of the rest."""

    films: Table
    """The file whose rows are films."""
    others: list[Table]
    """All other files read."""
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


class Source(Protocol):
    """A dataset module."""

    FINDINGS: tuple[str, ...]

    def find(self, path: Path, ehr_path: Path | None) -> Layout:
        """Return where its files lie, or raise DataError or UsageError that names what was looked for."""

    def is_here(self, path: Path) -> bool:
        """Return whether the folder looks like this dataset."""

    def read(self, layout: Layout, present: dict[str, int]) -> SourceTables:
        """Return the tables; `present` are the films on the disk."""


def find_source(dataset: str) -> Source:
    """Return the module of a dataset.

    Raises: UsageError naming the nearest one.
    """
    if dataset not in DATASETS:
        raise UsageError(f'there is no dataset "{plain(dataset, 60)}"', hint=nearest_hint(dataset, DATASETS))
    return cast(Source, importlib.import_module(f"cxrssl.cohort.sources.{dataset}"))


def complete_given(given: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with all columns of GIVEN_SCHEMA: what it does not say is unknown, its age not censored."""
    absent = [pl.lit(None, kind).alias(name) for name, kind in GIVEN_SCHEMA.items() if name not in given.columns]
    whole = (
        given.with_columns(absent).select(list(GIVEN_SCHEMA)).with_columns(pl.col("age_is_censored").fill_null(False))
    )
    return whole.cast(GIVEN_SCHEMA)  # type: ignore[arg-type]


def reject_absent_films(films: Table, present: dict[str, int]) -> None:
    """Reject the rows whose `path` is not on the disk or is an empty file."""
    size = pl.col("path").replace_strict(list(present), list(present.values()), default=None, return_dtype=pl.Int64)
    films.frame = films.frame.with_columns(size.alias("size"))
    films.reject(pl.col("size").is_null(), "file missing")
    films.reject(pl.col("size") == 0, "file empty")


def count_values(frame: pl.DataFrame, column: str) -> dict[str, int]:
    """Return value -> rows, most frequent first; null is ""."""
    counts = frame.group_by(pl.col(column).fill_null("").alias("value")).len()
    counts = counts.sort(["len", "value"], descending=[True, False])
    return {plain(value, 60): num for value, num in counts.iter_rows()}
