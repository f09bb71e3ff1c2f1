"""The health record of the person at a film: SQL over the sources and the links.

In: given_feature, image, link, admission, icu_stay, ed_stay, word. Out: ehr, one column a declared feature. A value
that the dataset states itself overrides one derived from the hospital's tables.
Never: a fact not yet known at the film, outcomes excepted: a known type of admission would reveal that the admission is
to come, and so would a known `icu` or `ed_arrival` of a film before it.
Never: a "no" that follows from rows which could not be read.
"""

from __future__ import annotations

from cxrssl.cohort.features import RECORDED, Feature
from cxrssl.cohort.link import PAIR, VISIT, LinkRule
from cxrssl.db import Database

RULES = {
    "mortality": """CASE
            WHEN hospital_expire_flag THEN 'died'
            WHEN NOT hospital_expire_flag OR ($1 AND link_status <> 'rejected_row') THEN 'alive'
        END""",
    "icu": """CASE
            WHEN link.stay_id IS NOT NULL THEN 'icu'
            WHEN link_status IN ('in_stay', 'in_ed') OR ($1 AND link_status <> 'rejected_row') THEN 'not_icu'
        END""",
    "ed_arrival": """CASE
            WHEN link_status = 'before_stay' THEN NULL
            WHEN link.ed_stay_id IS NOT NULL THEN coalesce(ed_stay.arrival_transport, 'ed')
            WHEN arrival.ed_in <= taken_at THEN arrival.way
            WHEN arrival.hadm_id IS NULL AND taken_at >= admittime THEN 'not_ed'
        END""",
    "care_unit": """CASE link_status
            WHEN 'in_icu' THEN first_careunit WHEN 'in_stay' THEN 'ward' WHEN 'in_ed' THEN 'ed'
        END""",
    "since_admission": "CASE WHEN taken_at >= admittime THEN date_diff('microsecond', admittime, taken_at) / 3.6e9 END",
    "los": "date_diff('microsecond', admittime, dischtime) / 86.4e9",
}
"""Feature -> its value in the hospital's tables, where that is more than a column of the admission. $1: by day."""


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
    hospital = RULES.get(feature.name) or (at_film[feature.known] if table == "admission" else "NULL")
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
