"""The database of a cohort: the source tables and what follows from them, filled and checked.

In: accepted rows and splits. Out: the tables of schemas/1_source.sql and 2_cohort.sql. Never: two rows with one key.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import polars as pl

from cxrssl.cohort.ehr import fill_ehr
from cxrssl.cohort.events.fill import Events, Measures, measure_films
from cxrssl.cohort.link import LinkRule, link_films
from cxrssl.cohort.losses import find_doubtful
from cxrssl.cohort.schema import create_tables
from cxrssl.cohort.sources import SourceTables
from cxrssl.cohort.words import word_rows
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun
from cxrssl.db import Database

KEYS = {
    "patient": "subject_id",
    "admission": "hadm_id",
    "icu_stay": "stay_id",
    "ed_stay": "ed_stay_id",
    "image": "image_id",
    "given_feature": "image_id",
    "link": "image_id",
    "ehr": "image_id",
    "measure": "image_id",
}
"""Table -> the column that identifies its rows; small tables declare it as their PRIMARY KEY."""


def fill_database(
    database: Database,
    tables: SourceTables,
    splits: pl.DataFrame,
    rule: LinkRule,
    events: Events | None = None,
) -> Measures:
    """Fill an empty database with the source tables and all that follows; return the account of `events`."""
    create_tables(database, events.chosen.features if events else ())
    with ThreadPoolExecutor(1) as pool, contextlib.closing(database.beside()) as beside:
        others = pool.submit(_insert_unlinked, beside, tables, splits)
        _insert_linked(database, tables, rule)
        others.result()
    measures = Measures()
    if events is not None:
        measures = measure_films(database, events)
        database.insert("measure", measures.frame)
    check_keys(database)
    return measures


def _insert_linked(database: Database, tables: SourceTables, rule: LinkRule) -> None:
    """Insert the tables that linking needs, and link the films."""
    order = tables.image["image_id"].arg_sort()
    is_alike = tables.given["image_id"].equals(tables.image["image_id"])
    database.insert("image", tables.image[order])
    database.insert("given_feature", tables.given[order] if is_alike else tables.given.sort("image_id"))
    words = {"feature": pl.String, "word": pl.String, "category": pl.String}
    database.insert("word", pl.DataFrame(word_rows(), words, orient="row"))
    if tables.hospital is not None:
        database.insert("doubtful", find_doubtful(tables.files).to_frame())
        database.insert("admission", tables.hospital.admission.sort("hadm_id"))
        database.insert("icu_stay", tables.hospital.icu_stay.sort("stay_id"))
        if tables.hospital.ed_stay is not None:
            database.insert("ed_stay", tables.hospital.ed_stay.sort("ed_stay_id"))
        link_films(database, rule)
    fill_ehr(database, rule)


def _insert_unlinked(database: Database, tables: SourceTables, splits: pl.DataFrame) -> None:
    """Insert the tables that linking does not need."""
    studies = tables.image.select("study_id").unique()
    labels = tables.labels.join(studies, "study_id", "semi").sort("study_id")
    # A finding may be named "value", but never with a blank before it.
    labels = labels.unpivot(index="study_id", variable_name=" finding", value_name=" value").drop_nulls(" value")
    database.insert("label", labels.rename({" finding": "finding", " value": "value"}))
    if tables.hospital is not None:
        database.insert("patient", tables.hospital.patient.sort("subject_id"))
    database.insert("split", splits)
    steps = [(step, what, films) for step, (what, films) in enumerate(tables.films.flow())]
    database.insert("flow", pl.DataFrame(steps, ("step", "what", "films"), orient="row"))


def check_keys(database: Database) -> None:
    """Raise DataError if two rows of a table have one key."""
    for table, key in KEYS.items():
        ((num_more,),) = database.rows(f"SELECT count(*) - count(DISTINCT {key}) FROM {table}")
        if num_more:
            raise DataError(f"{table}: {count_noun(num_more, 'row')} with a {key} that another row has")
