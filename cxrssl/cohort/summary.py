"""The account of a cohort: films seen, accepted and rejected by rule, links, unknowns, splits, labels, rows of files.

In: a filled cohort database and the source tables. Out: a JSON-able summary. Never: a path or a time of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from cxrssl.cohort.events.fill import Measures
from cxrssl.cohort.features import FEATURES
from cxrssl.cohort.pseudonym import make_key, name_id
from cxrssl.cohort.sources import SourceTables
from cxrssl.cohort.tables.columns import count_shown
from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.filestate import Seen
from cxrssl.db import Database


@dataclass(frozen=True)
class CohortSummary:
    """What `build_cohort` returns."""

    path: Path
    """Folder of the published cohort."""
    was_current: bool
    """Nothing had to be done: a cohort from these files was already published."""
    values: dict[str, Any]
    """The content of summary.json."""
    verified: dict[str, Seen] = field(default_factory=dict)
    """Path of a film, accents composed -> its file, for files that are what their publisher lists."""

    @property
    def name(self) -> str:
        return str(self.values["name"])

    @property
    def dataset(self) -> str:
        return str(self.values["dataset"])

    @property
    def num_films(self) -> int:
        """Films accepted."""
        return int(self.values["films"]["accepted"])


def collect_rejects(tables: SourceTables) -> pl.DataFrame:
    """Return file, line, column, rule and the subject's pseudonym of every rejected row of every file, sorted.

    All rows of a subject in a cohort share its pseudonym.
    """
    columns = ("line", "column", "rule", "subject")
    rejects = pl.concat([table.rejects.select(_reject_file(table), *columns) for table in tables.files])
    key = make_key(tables.image["image_id"].to_list())
    subjects = rejects["subject"].drop_nulls().unique().to_list()
    pseudonyms = [name_id(subject, key) for subject in subjects]
    pseudonym = pl.col("subject").replace_strict(subjects, pseudonyms, default=None, return_dtype=pl.String)
    return rejects.with_columns(pseudonym.alias("pseudonym")).drop("subject").sort("file", "line", "column", "rule")


def _reject_file(table: SourceTable) -> pl.Expr:
    """Return the file of each reject; where rows are files, its own path."""
    if table.row_files is None:
        return pl.lit(table.file).alias("file")
    return pl.lit(table.row_files).gather(pl.col("line") - 1).alias("file")


def summarise(
    database: Database,
    settings: Mapping[str, Any],
    tables: SourceTables,
    remarks: list[str],
) -> dict[str, Any]:
    """Return the summary of a filled database."""
    for table in (tables.films, *tables.files):
        table.check_account()
    ((num_films, num_studies, num_subjects),) = database.rows(
        "SELECT count(*), count(DISTINCT study_id), count(DISTINCT subject_id) FROM image"
    )
    assert num_films == tables.films.frame.height, "every accepted row of the film table is a film"
    all_remarks = [*remarks, *tables.remarks]
    all_remarks += [f"{table.file}: {text}" for table in tables.files for text in table.remarks]
    all_remarks += [f"{what}: {num:,}" for what, num in database.rows("SELECT what, stays FROM odd_stay") if num]
    return {
        **{key: settings[key] for key in ("dataset", "name", "default_split", "shares")},
        "link_rule": settings["link"],
        "versions": tables.versions,
        "films": {
            "seen": tables.films.rows,
            "accepted": num_films,
            "rejected": tables.films.reject_counts(),
            "studies": num_studies,
            "subjects": num_subjects,
        },
        "flow": [[what, films] for what, films in tables.films.flow()],
        "link": dict(database.rows("SELECT link_status, films FROM link_count")),
        **({"positions": tables.positions} if tables.positions else {}),
        "unknown": _count_unknown(database),
        "known": _count_known(database),
        "strange_words": _count_strange_words(database),
        "views_as_written": tables.views_seen,
        "splits": _count_splits(database),
        "findings": _count_findings(database, num_studies),
        "tables": {table.file: _account(table) for table in tables.files},
        "remarks": all_remarks,
    }


def account_measures(measures: Measures) -> dict[str, Any]:
    """Return the account of measured features for the summary; nothing where a cohort has none."""
    return {"measured": {name: asdict(each) for name, each in measures.accounts.items()}} if measures.accounts else {}


def describe_unread(measures: Measures) -> list[str]:
    """Return a remark for each table of events with lines that are no rows."""
    so = 'so no feature of it is "no" by default'
    return [f"{file}: lines that are no rows: {num:,}, {so}" for file, num in measures.unread.items()]


def _account(table: SourceTable) -> dict[str, Any]:
    return {
        "rows": table.rows,
        "accepted": table.frame.height,
        "rejected": table.reject_counts(),
        "made_unknown": dict(sorted(table.blanked.items())),
    }


def _count_unknown(database: Database) -> dict[str, int]:
    names = database.columns("missing_count")
    (row,) = database.rows("SELECT * FROM missing_count")
    return {name: int(num) for name, num in zip(names, row, strict=True) if name != "films"}


def _count_known(database: Database) -> dict[str, dict[str, int]]:
    """Return feature -> category -> films."""
    known: dict[str, dict[str, int]] = {}
    for feature in FEATURES:
        if feature.categories and not feature.form_of:
            column = feature.column
            sql = f"SELECT {column}, count(*) FROM ehr WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
            known[feature.name] = dict(database.rows(sql))
    return known


def _count_strange_words(database: Database) -> dict[str, dict[str, int]]:
    """Return feature -> word that no category is declared for -> rows of the sources with it."""
    counts: dict[str, list[tuple[str, int]]] = {}
    for feature, word, rows in database.rows("SELECT feature, word, rows FROM strange_word"):
        counts.setdefault(feature, []).append((word, rows))
    return {feature: count_shown(words) for feature, words in counts.items()}


def _count_splits(database: Database) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for scheme, split, subjects, films in database.rows("SELECT scheme, split, subjects, films FROM split_count"):
        counts.setdefault(scheme, {})[split] = {"films": films, "subjects": subjects}
    return counts


def _count_findings(database: Database, num_studies: int) -> dict[str, dict[str, int]]:
    """Return finding -> studies with each value."""
    rows = database.rows("SELECT finding, present, absent, uncertain FROM label_count")
    return {
        finding: {
            "present": present,
            "absent": absent,
            "uncertain": uncertain,
            "blank": num_studies - present - absent - uncertain,
        }
        for finding, present, absent, uncertain in rows
    }
