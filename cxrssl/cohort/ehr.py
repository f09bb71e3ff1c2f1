"""What the hospital and the dataset say about the person at a film: SQL over the sources and the links.

In: given_feature, image, link, admission, icu_stay, ed_stay, word. Out: ehr. Never: a fact that is not known yet at the
film, outcomes excepted.
"""

from __future__ import annotations

from cxrssl.cohort.link import PAIR, VISIT, LinkRule
from cxrssl.cohort.words import WORDS
from cxrssl.db import Database


def fill_ehr(database: Database, rule: LinkRule) -> None:
    """Fill `ehr` from given_feature, image and, where there are links, what the hospital wrote about the person."""
    database.execute(EHR, [rule.by == "day"])


_PERSON = ("race", "insurance", "language", "marital_status")
_WORDS = tuple(WORDS)
_CATEGORIES = ", ".join(f"word_{name}.category AS {name}" for name in _WORDS)
_JOINS = "\n".join(
    f"LEFT JOIN word AS word_{name} ON word_{name}.feature = '{name}' AND word_{name}.word = lower(trim(said.{name}))"
    for name in _WORDS
)

EHR = f"""
INSERT INTO ehr (image_id, sex, age_y, age_is_censored, view, position, icu, mortality, los_d, since_admission_h,
    num_prior, {", ".join(_WORDS)})
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
        {", ".join(f"coalesce(given_feature.{name}, person.{name}) AS {name}" for name in _PERSON)},
        coalesce(given_feature.admission_type, CASE WHEN taken_at >= admittime THEN admission.admission_type END)
            AS admission_type,
        coalesce(
            given_feature.admission_location, CASE WHEN taken_at >= admittime THEN admission.admission_location END
        ) AS admission_location,
        CASE
            WHEN given_feature.ed_arrival IS NOT NULL THEN given_feature.ed_arrival
            WHEN link.ed_stay_id IS NOT NULL THEN coalesce(ed_stay.arrival_transport, 'ed')
            WHEN arrival.ed_in <= taken_at THEN arrival.way
            WHEN arrival.hadm_id IS NULL AND taken_at >= admittime THEN 'not_ed'
        END AS ed_arrival,
        CASE
            WHEN given_feature.care_unit IS NOT NULL THEN given_feature.care_unit
            WHEN link_status = 'in_icu' THEN first_careunit
            WHEN link_status = 'in_stay' THEN 'ward'
            WHEN link_status = 'in_ed' THEN 'ed'
        END AS care_unit,
        coalesce(given_feature.los_d, date_diff('microsecond', admittime, dischtime) / 86.4e9) AS los_d,
        coalesce(
            given_feature.since_admission_h,
            CASE WHEN taken_at >= admittime THEN date_diff('microsecond', admittime, taken_at) / 3.6e9 END
        ) AS since_admission_h,
        given_feature.sex, given_feature.age_y, given_feature.age_is_censored, given_feature.num_prior,
        image.view, image.position,
        CASE
            WHEN link_status IS NULL THEN given_feature.icu
            WHEN link_status = 'in_icu' THEN 'icu'
            WHEN $1 OR link_status IN ('in_stay', 'in_ed', 'before_stay') THEN 'not_icu'
        END AS icu,
        CASE
            WHEN link_status IS NULL THEN given_feature.mortality
            WHEN hospital_expire_flag THEN 'died'
            WHEN $1 OR NOT hospital_expire_flag THEN 'alive'
        END AS mortality
    FROM image
    JOIN given_feature USING (image_id)
    LEFT JOIN link USING (image_id)
    LEFT JOIN admission ON admission.hadm_id = link.hadm_id
    LEFT JOIN icu_stay ON icu_stay.stay_id = link.stay_id
    LEFT JOIN ed_stay ON ed_stay.ed_stay_id = link.ed_stay_id
    LEFT JOIN arrival ON arrival.hadm_id = link.hadm_id
    LEFT JOIN person ON person.film = image.rowid
)
SELECT said.image_id, sex, age_y, age_is_censored, view, position, icu, mortality, los_d, since_admission_h, num_prior,
    {_CATEGORIES}
FROM said
{_JOINS}
ORDER BY film
"""
