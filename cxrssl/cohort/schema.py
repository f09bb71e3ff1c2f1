"""The tables and views of a cohort: schemas/1_source.sql and 2_cohort.sql, completed with the declared features.

In: an empty database. Out: its tables, views and comments. Never: a feature named here or in those files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import Template

from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import GIVEN, RECORDED
from cxrssl.db import Database, quote_text, read_schema

TYPES = {"text": "VARCHAR", "int": "INTEGER", "float": "DOUBLE"}


def create_tables(database: Database, measured: Sequence[Feature] = ()) -> None:
    """Create all tables and views of a cohort in an empty database; `measured` are the features that it has beside
    FEATURES.
    """
    ages = [feature for feature in measured if feature.has_age]
    parts = {
        "given_columns": _list_columns(GIVEN),
        "ehr_columns": _list_columns(RECORDED),
        "unknown_counts": _count_unknown(),
        "source_words": _select_words(),
        "film_comments": _comment_columns([*RECORDED, *measured]) + _comment_ages(ages),
        "measure_columns": "".join(f",\n    {line}" for line in _list_measured(measured)),
        "film_measures": "measure.* EXCLUDE (image_id),\n    " if measured else "",
        "join_measures": "JOIN measure USING (image_id)\n" if measured else "",
    }
    for name in ("1_source.sql", "2_cohort.sql"):
        database.execute(Template(read_schema(name)).substitute(parts))


def _list_columns(features: Iterable[Feature]) -> str:
    columns = []
    for feature in features:
        columns.append(f"{feature.column} {TYPES[feature.kind]}{_check(feature)}")
        if feature.censored:
            columns.append(f"{feature.censored} BOOLEAN NOT NULL")
    return ",\n    ".join(columns)


def _check(feature: Feature) -> str:
    if feature.is_worded:  # `given_feature` holds the words of the source
        return ""
    if feature.categories:
        return f" CHECK ({feature.column} IN ({', '.join(map(quote_text, feature.categories))}))"
    return f" CHECK ({feature.column} >= 0)"


def _count_unknown() -> str:
    return ",\n    ".join(f'count_if({feature.column} IS NULL) AS "{feature.name}"' for feature in RECORDED)


def _select_words() -> str:
    """Return a query for the feature and the word of every row, of the hospital's tables and of `given_feature`."""
    places = [(feature.name, *feature.source.split(".")) for feature in RECORDED if feature.is_worded]
    places += [(feature.name, "given_feature", feature.column) for feature in GIVEN if feature.is_worded]
    selects = [f"SELECT {quote_text(name)} AS feature, {column} AS word FROM {table}" for name, table, column in places]
    return "\n    UNION ALL ".join(selects)


def _list_measured(features: Iterable[Feature]) -> list[str]:
    columns = []
    for feature in features:
        columns.append(f'"{feature.column}" {TYPES[feature.kind]}')
        if feature.has_age:
            columns.append(f'"{feature.age_column}" DOUBLE CHECK ("{feature.age_column}" >= 0)')
    return columns


def _comment_columns(features: Iterable[Feature]) -> str:
    return "\n".join(f'COMMENT ON COLUMN film."{each.column}" IS {quote_text(each.meaning)};' for each in features)


def _comment_ages(features: Iterable[Feature]) -> str:
    meanings = ((each.age_column, f"how long before the film {each.name} was taken") for each in features)
    return "".join(f'\nCOMMENT ON COLUMN film."{column}" IS {quote_text(meaning)};' for column, meaning in meanings)
