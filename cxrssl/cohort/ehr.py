"""The health record of the person at a film: SQL over the sources and the links.

In: given_feature, image, link, admission, icu_stay, ed_stay, word. Out: ehr, one column a declared feature. A value
that the dataset states itself overrides one derived from the hospital's tables.
Never: a fact not yet known at the film, outcomes excepted: a known type of admission would reveal that the admission is
to come, and so would a known `icu` or `ed_arrival` of a film before it.
Never: a "no" that follows from rows which could not be read.
"""

from __future__ import annotations

from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import RECORDED
from cxrssl.cohort.link import PAIR, VISIT, LinkRule
from cxrssl.db import Database


def fill_ehr(database: Database, rule: LinkRule) -> None:
    """Fill `ehr` from given_feature, image and, for linked films, the hospital's tables."""
    database.execute(EHR, [rule.by == "day"])


def _source_sql(feature: Feature) -> str:
    """Return the feature in the words of its sources."""
    table, _, column = feature.source.partition(".")
    if table == "image":
        return f"image.{column}"
    at_film = {
        "before": f"person.{column}",
        "at": f"CASE WHEN taken_at >= admittime THEN admission.{column} END",
        "after": f"admission.{column}",
    }
    hospital = feature.rule or (at_film[feature.known] if table == "admission" else "NULL")
    return f"coalesce(given_feature.{feature.column}, {hospital})"


def _category_sql(feature: Feature) -> str:
    return f"word_{feature.name}.category" if feature.is_worded else f"said.{feature.column}"


_PERSON = [
    feature.source.partition(".")[2]
    for feature in RECORDED
    if feature.source.startswith("admission.") and feature.known == "before"
]
_CENSORED = [feature.censored for feature in RECORDED if feature.censored]
_SAID = [f"{_source_sql(feature)} AS {feature.column}" for feature in RECORDED]
_JOINS = [
    f"LEFT JOIN word AS word_{name} ON word_{name}.feature = '{name}' AND word_{name}.word = lower(trim(said.{column}))"
    for name, column in ((feature.name, feature.column) for feature in RECORDED if feature.is_worded)
]
EHR = f"""
INSERT INTO ehr (image_id, {", ".join([*_CENSORED, *(feature.column for feature in RECORDED)])})
WITH {VISIT}, {PAIR},
first AS (
    SELECT film, min({{
        'is_later': admittime > taken_at,
        'gap_us': abs(date_diff('microsecond', admittime, taken_at)),
        'hadm_id': hadm_id
    }}).hadm_id AS hadm_id
    FROM pair
    GROUP BY film
),
person AS (SELECT film, {", ".join(_PERSON)} FROM first JOIN admission USING (hadm_id)),
arrival AS (SELECT hadm_id, min(ed_in) AS ed_in, arg_min(way, ed_in) AS way FROM visit GROUP BY hadm_id),
said AS (
    SELECT image.rowid AS film, image.image_id,
        {", ".join(f"given_feature.{column}" for column in _CENSORED)},
        {("," + chr(10) + " " * 8).join(_SAID)}
    FROM image
    JOIN given_feature USING (image_id)
    LEFT JOIN link USING (image_id)
    LEFT JOIN admission ON admission.hadm_id = link.hadm_id
    LEFT JOIN icu_stay ON icu_stay.stay_id = link.stay_id
    LEFT JOIN ed_stay ON ed_stay.ed_stay_id = link.ed_stay_id
    LEFT JOIN arrival ON arrival.hadm_id = link.hadm_id
    LEFT JOIN person ON person.film = image.rowid AND link_status <> 'rejected_row'
)
SELECT said.image_id, {", ".join([*_CENSORED, *map(_category_sql, RECORDED)])}
FROM said
{chr(10).join(_JOINS)}
ORDER BY film
"""
