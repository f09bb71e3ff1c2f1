"""Tables and views that derive from the declared features."""

from __future__ import annotations

import pytest

from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import FEATURES, GIVEN, RECORDED
from cxrssl.cohort.schema import create_tables
from cxrssl.cohort.sources import GIVEN_SCHEMA
from cxrssl.db import Database, open_database

RECORD = [
    "sex", "age_y", "age_is_censored", "view", "position", "icu", "mortality", "race", "insurance", "language",
    "marital_status", "admission_type", "admission_location", "ed_arrival", "care_unit", "since_admission_h",
    "num_prior", "los_d",
]  # fmt: skip


@pytest.fixture(scope="module")
def database() -> Database:
    database = open_database(None)
    create_tables(database)
    return database


def test_columns_of_a_film_keep_their_published_order_whatever_is_added(database: Database) -> None:
    before = ["image_id", "study_id", "subject_id", "path", "taken_at"]
    link = ["link_status", "hadm_id", "stay_id", "ed_stay_id", "gap_h"]
    splits = ["split_official", "split_hash", "split_icu", "split_file"]
    columns, record = database.columns("film"), database.columns("ehr")[1:]
    assert columns == [*before, *record, *link, *splits]
    assert [name for name in record if name in RECORD] == RECORD


def test_a_dataset_may_state_all_but_what_the_film_itself_says(database: Database) -> None:
    record = set(database.columns("ehr"))
    assert set(database.columns("given_feature")) == record - {"view", "position"} == set(GIVEN_SCHEMA)


def test_unknown_values_are_counted_under_the_names_of_the_features(database: Database) -> None:
    names = [feature.name for feature in RECORDED]
    assert database.columns("missing_count") == ["films", *names]
    assert set(names) == {feature.name for feature in FEATURES if not feature.form_of}


@pytest.mark.parametrize("feature", RECORDED, ids=lambda feature: str(feature.name))
def test_every_column_has_its_meaning_in_the_database(database: Database, feature: Feature) -> None:
    sql = "SELECT comment FROM duckdb_columns() WHERE table_name = 'film' AND column_name = ?"
    assert database.rows(sql, [feature.column]) == [(feature.meaning,)]


@pytest.mark.parametrize("feature", [feature for feature in RECORDED if feature.source], ids=lambda each: each.name)
def test_a_declared_source_is_a_column_of_the_sources(database: Database, feature: Feature) -> None:
    table, column = feature.source.split(".")
    assert column in database.columns(table)


@pytest.mark.parametrize("feature", [feature for feature in GIVEN if feature.is_worded], ids=lambda each: each.name)
def test_a_word_without_a_category_is_counted_where_it_was_said(database: Database, feature: Feature) -> None:
    database.execute("BEGIN")
    try:
        columns = f"image_id, age_is_censored, {feature.column}"
        database.execute(f"INSERT INTO given_feature ({columns}) VALUES ('1', false, 'MARTIAN'), ('2', false, NULL)")
        assert database.rows("SELECT * FROM strange_word") == [(feature.name, "MARTIAN", 1)]
    finally:
        database.execute("ROLLBACK")
