"""The table `measure` of a cohort: one row a film, one column a measured feature, and one for the age of its value.

In: linked films in the cohort's database, files of events. Out: a frame, and an account of every row that was used or
rejected. Never: a "no" of a person of whom a row could not be read.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.events.choose import (
    FILM,
    NO_UNIT,
    NOT_PLAUSIBLE,
    PERSON,
    STAY,
    choose_sql,
    event_sql,
    later_sql,
    missing_sql,
)  # fmt: skip
from cxrssl.cohort.events.stage import MEMORY, Stage, find_wanted, remove_spill, stage_events
from cxrssl.cohort.feature import EventTable, Feature
from cxrssl.cohort.files import SourceFile
from cxrssl.cohort.tables.columns import SHOWN_ROWS, count_shown
from cxrssl.core.errors import DataError
from cxrssl.core.progress import track
from cxrssl.core.text import plain
from cxrssl.db import Database, open_scratch

FILMS = """
SELECT image.rowid AS film, image.subject_id, taken_at, admittime, link.hadm_id,
    link_status = 'in_icu' AS in_icu, link_status <> 'rejected_row' AS is_sure
FROM image LEFT JOIN link USING (image_id) LEFT JOIN admission USING (hadm_id)"""
STAYS = """
SELECT 'admission' AS kind, hadm_id AS stay, admittime AS start, dischtime AS until FROM admission
UNION ALL SELECT 'icu_stay', stay_id, intime, outtime FROM icu_stay
UNION ALL SELECT 'ed_stay', ed_stay_id, intime, outtime FROM ed_stay"""


@dataclass(frozen=True)
class Chosen:
    """What a cohort is made with beside the features that every cohort has."""

    features: tuple[Feature, ...] = ()
    tables: Mapping[str, EventTable] = field(default_factory=dict)

    def used_tables(self) -> dict[str, EventTable]:
        """Return the tables that the features are taken from, in declared order."""
        names = {source.table for each in self.features if each.measured for source in each.measured.sources}
        return {name: table for name, table in self.tables.items() if name in names}


@dataclass(frozen=True)
class OwnEvents:
    """Rows of a user's own tables, and the films as these know them."""

    films: pl.DataFrame
    """image_id, owner (whose rows a film's values are chosen from: the film or its subject), taken_at, admittime,
    in_icu."""
    rows: Mapping[str, pl.DataFrame]
    """Table -> rows in the form of stage.Stage, with the owner as `subject`."""


@dataclass(frozen=True)
class Events:
    """Where the rows of measured features are."""

    chosen: Chosen
    files: Mapping[str, SourceFile]
    """By the name of their table; without the absent ones, of which what they would give is unknown."""
    hashes: Mapping[str, str]
    """Shown name of a file -> its SHA-256."""
    stages: Path
    """Folder of the workspace for the rows that are needed."""
    own: OwnEvents | None = None


@dataclass(frozen=True)
class Account:
    """What became of the rows of one feature, and of its films."""

    rows: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Rule -> rows."""
    at_limit: int = 0
    """Rows used whose value is a limit of detection."""
    films: int = 0
    """With a value."""
    stale: int = 0
    """Of these, films whose value is stale."""
    stored_later: int = 0
    """Films of which a nearer value was drawn before them and stored after them; it is not used."""


@dataclass(frozen=True)
class Measures:
    """The table `measure` and how it came about."""

    frame: pl.DataFrame = field(default_factory=pl.DataFrame)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict)
    """File -> lines of it that are no rows."""


def measure_films(database: Database, events: Events) -> Measures:
    """Return the measured features of the linked films in a cohort's database.

    Raises: DataError when no row of a feature has a unit that it declares.
    """
    chosen, files, hashes, stages = events.chosen, events.files, events.hashes, events.stages
    films = database.query(FILMS)
    if events.own is not None:
        films = _own_films(database, events.own)
    subjects = films["subject_id"].unique().sort()
    staged: dict[str, Stage] = {}
    for name, table in chosen.used_tables().items():
        if name in files:
            wanted = find_wanted(chosen.features, table)
            staged[name] = stage_events(stages, files[name], hashes[files[name].shown], wanted, subjects)
    unread = {files[name].shown: stage.num_unread for name, stage in staged.items() if stage.num_unread}
    frame = films.select("film").sort("film")
    accounts: dict[str, Account] = {}
    stages.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as kept:
        if events.own is not None:
            folder = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="own-", dir=stages)))
            staged |= _write_rows(folder, events.own)
        scratch = kept.enter_context(open_scratch(stages, memory=MEMORY))
        _insert_films(scratch, films, subjects, database.query(STAYS))
        with track("choose values", len(chosen.features), "features") as progress:
            for feature in sorted(chosen.features, key=_counts_others):
                columns, accounts[feature.name] = _measure(scratch, feature, chosen, staged, frame)
                frame = frame.with_columns(columns)
                progress.advance()
    remove_spill(stages)
    accounts = {feature.name: accounts[feature.name] for feature in chosen.features}
    ids = database.query("SELECT rowid AS film, image_id FROM image")
    return Measures(ids.join(frame, "film").sort("film").drop("film"), accounts, unread)


def _own_films(database: Database, own: OwnEvents) -> pl.DataFrame:
    """Return the films in the form of FILMS, each under the owner of its rows."""
    ids = database.query("SELECT rowid AS film, image_id FROM image")
    films = ids.join(own.films, "image_id").rename({"owner": "subject_id"})
    return films.select(
        "film", "subject_id", "taken_at", "admittime", pl.lit(None, pl.String).alias("hadm_id"), "in_icu",
        pl.lit(True).alias("is_sure"),
    )  # fmt: skip


def _write_rows(folder: Path, own: OwnEvents) -> dict[str, Stage]:
    staged = {}
    for name, rows in own.rows.items():
        staged[name] = Stage(folder / f"{name}.parquet", 0)
        rows.write_parquet(staged[name].path)
    return staged


def _insert_films(scratch: Database, films: pl.DataFrame, subjects: pl.Series, stays: pl.DataFrame) -> None:
    scratch.execute(f"{FILM}; {PERSON}; {STAY}")
    person = pl.DataFrame({"subject": subjects}).with_row_index("who").with_columns(pl.col("who").cast(pl.Int32))
    scratch.insert("person", person)
    scratch.insert("film", films.join(person, left_on="subject_id", right_on="subject").drop("subject_id"))
    scratch.insert("stay", stays)


def _measure(
    scratch: Database,
    feature: Feature,
    chosen: Chosen,
    staged: Mapping[str, Stage],
    frame: pl.DataFrame,
) -> tuple[list[pl.Series], Account]:
    """Return the columns of a feature, row for row with `frame`, and its account."""
    measured, tables = feature.measured, chosen.tables
    assert measured is not None
    if measured.count_of:
        columns = {each.name: each.column for each in chosen.features}
        counted = _count_yes(feature, [columns[name] for name in measured.count_of], frame)
        return [counted], Account(films=counted.drop_nulls().len())
    sources = {source.table: staged.get(source.table) for source in measured.sources}
    paths = {name: stage.path for name, stage in sources.items() if stage}
    if not paths or (measured.choose == "count_before" and len(paths) < len(sources)):  # a part would be too low
        return _columns(feature, frame, pl.DataFrame(schema=CHOSEN)), Account()
    scratch.execute(event_sql(feature, tables, paths))
    account = _count_rows(scratch, feature)
    scratch.execute(choose_sql(feature))
    found = scratch.query("SELECT film, value, age_us / 3.6e9 AS age_h FROM chosen").cast(CHOSEN)
    account |= {"films": found.height}
    is_whole = all(stage and not stage.num_unread for stage in sources.values())
    if measured.missing != "unknown" and is_whole:  # else a row that is not here may say "yes", of anybody
        said_no = scratch.query(missing_sql(feature)).with_columns(value=pl.lit(0.0), age_h=pl.lit(None, pl.Float64))
        found = pl.concat([found, said_no.cast(CHOSEN)])
        account["films"] = found.height
    if measured.stale_h:
        account["stale"] = found.filter(pl.col("age_h") > measured.stale_h).height
    if measured.choose == "nearest_before" and any(tables[each.table].stored for each in measured.sources):
        ((account["stored_later"],),) = scratch.rows(later_sql(measured))
    return _columns(feature, frame, found), Account(**account)


CHOSEN = pl.Schema({"film": pl.Int64(), "value": pl.Float64(), "age_h": pl.Float64()})


def _columns(feature: Feature, frame: pl.DataFrame, found: pl.DataFrame) -> list[pl.Series]:
    joined = frame.select("film").join(found, "film", "left", maintain_order="left")
    value = joined["value"]
    if feature.categories:
        names = pl.Series(feature.categories)
        value = names.gather(value.cast(pl.UInt32))
    elif feature.is_whole:
        value = value.cast(pl.Int64)
    columns = [value.alias(feature.column)]
    if feature.has_age:
        columns.append(joined["age_h"].alias(feature.age_column))
    return columns


def _counts_others(feature: Feature) -> bool:
    return feature.measured is not None and bool(feature.measured.count_of)


def _count_yes(feature: Feature, counted: Sequence[str], frame: pl.DataFrame) -> pl.Series:
    """Return how many of these columns are "yes", null where one is unknown."""
    parts = [pl.col(name) == "yes" for name in counted]
    is_known = pl.all_horizontal(pl.col(name).is_not_null() for name in counted)
    total = pl.sum_horizontal(part.cast(pl.Int64) for part in parts)
    return frame.select(pl.when(is_known).then(total).alias(feature.column))[feature.column]


def _count_rows(scratch: Database, feature: Feature) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    at_limit = 0
    for rule, is_limit, rows in scratch.rows("SELECT rule, is_limit, count(*) FROM event GROUP BY ALL"):
        counts[rule or ""] += rows
        at_limit += rows if is_limit and not rule else 0
    total = sum(counts.values())
    used = counts.pop("", 0)
    if not used and counts[NO_UNIT] >= SHOWN_ROWS and not counts[NOT_PLAUSIBLE]:
        _refuse_units(scratch, feature, counts[NO_UNIT])
    return {"rows": total, "rejected": dict(sorted(counts.items())), "at_limit": at_limit}


def _refuse_units(scratch: Database, feature: Feature, num_rows: int) -> None:
    assert feature.measured is not None
    sql = (
        f"SELECT coalesce(unit, ''), count(*) FROM event WHERE rule = '{NO_UNIT}' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3"
    )
    said = ", ".join(f'"{unit}"' for unit in count_shown(scratch.rows(sql)))
    declared = ", ".join(f'"{plain(unit, 20)}"' for unit in feature.measured.units)
    what = f"{feature.name}: none of {num_rows:,} rows has a declared unit ({declared}); they say {said}"
    raise DataError(what, hint='declare it, with its factor: units = { "..." = FACTOR }')
