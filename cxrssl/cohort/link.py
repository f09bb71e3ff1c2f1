"""Which hospital stay a film belongs to, and what that stay says about the person: SQL over the source tables.

In: image, admission, icu_stay, given_feature. Out: link, ehr. Never: a result that depends on the order of the rows.

The rules, first match decides; intervals are closed at both ends, times are compared to the microsecond:
1. no taken_at                          -> bad_time
2. inside [intime, outtime] of ICU stays -> in_icu, with the stay and its hadm_id. Joined by subject and time, whatever
   the admission's times are: in the MIMIC-IV demo 2 stays begin before their admission and 22 end after it.
   Several: the latest intime, then the earliest outtime, then the lowest stay_id.
3. inside [admittime, dischtime]        -> in_stay. Several: the latest admittime, then the earliest dischtime;
   if two share both times -> ambiguous, hadm_id unknown.
4. inside [edregtime, edouttime]        -> in_ed, with the admission it led to. Several: as in 3, by these times.
5. no admission of the subject          -> no_admission
6. else the nearest admission decides: in the past -> post_discharge, in the future -> pre_admission, both equally
   near -> post_discharge; hadm_id unknown. gap_h is the time to its dischtime or admittime, and 0 for rules 2 to 4.
Unknown is not no: `icu` is known only for in_icu, in_stay, in_ed; `mortality` only with a hadm_id.
Differs: the reference joins by calendar day, the last match in the file wins, a film outside every stay counts as 0.
"""

from __future__ import annotations

from cxrssl.db import Database

LINK_SQL = """
INSERT INTO link (image_id, hadm_id, stay_id, link_status, gap_h, num_covering)
WITH
icu AS (
    SELECT image_id, stay_id, icu_stay.hadm_id, count(*) OVER (PARTITION BY image_id) AS num_covering
    FROM image JOIN icu_stay USING (subject_id)
    WHERE taken_at BETWEEN intime AND outtime
    QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY intime DESC, outtime, stay_id) = 1
),
stay AS (
    SELECT image_id, hadm_id, count(*) OVER (PARTITION BY image_id) AS num_covering,
        count(*) OVER (PARTITION BY image_id, admittime, dischtime) AS num_equal
    FROM image JOIN admission USING (subject_id)
    WHERE taken_at BETWEEN admittime AND dischtime
    QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY admittime DESC, dischtime, hadm_id) = 1
),
ed AS (
    SELECT image_id, hadm_id, count(*) OVER (PARTITION BY image_id) AS num_covering,
        count(*) OVER (PARTITION BY image_id, edregtime, edouttime) AS num_equal
    FROM image JOIN admission USING (subject_id)
    WHERE taken_at BETWEEN edregtime AND edouttime
    QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY edregtime DESC, edouttime, hadm_id) = 1
),
near AS (
    SELECT image_id,
        min(CASE WHEN taken_at > dischtime THEN date_diff('microsecond', dischtime, taken_at) END) AS past_us,
        min(CASE WHEN taken_at < admittime THEN date_diff('microsecond', taken_at, admittime) END) AS future_us
    FROM image JOIN admission USING (subject_id)
    WHERE taken_at IS NOT NULL
    GROUP BY image_id
),
decided AS (
    SELECT image.image_id,
        CASE
            WHEN taken_at IS NULL THEN 'bad_time'
            WHEN icu.image_id IS NOT NULL THEN 'in_icu'
            WHEN stay.num_equal > 1 THEN 'ambiguous'
            WHEN stay.image_id IS NOT NULL THEN 'in_stay'
            WHEN ed.num_equal > 1 THEN 'ambiguous'
            WHEN ed.image_id IS NOT NULL THEN 'in_ed'
            WHEN near.image_id IS NULL THEN 'no_admission'
            WHEN future_us IS NULL OR past_us <= future_us THEN 'post_discharge'
            ELSE 'pre_admission'
        END AS link_status,
        icu.hadm_id AS icu_hadm_id, icu.stay_id, stay.hadm_id AS stay_hadm_id, ed.hadm_id AS ed_hadm_id,
        least(past_us, future_us) / 3.6e9 AS outside_h,
        coalesce(icu.num_covering, stay.num_covering, ed.num_covering, 0) AS num_covering
    FROM image
    LEFT JOIN icu USING (image_id)
    LEFT JOIN stay USING (image_id)
    LEFT JOIN ed USING (image_id)
    LEFT JOIN near USING (image_id)
)
SELECT image_id,
    CASE link_status WHEN 'in_icu' THEN icu_hadm_id WHEN 'in_stay' THEN stay_hadm_id WHEN 'in_ed' THEN ed_hadm_id END,
    CASE link_status WHEN 'in_icu' THEN stay_id END,
    link_status,
    CASE
        WHEN link_status IN ('in_icu', 'in_stay', 'in_ed', 'ambiguous') THEN 0
        WHEN link_status IN ('pre_admission', 'post_discharge') THEN outside_h
    END,
    num_covering
FROM decided
ORDER BY image_id
"""

EHR_SQL = """
INSERT INTO ehr (image_id, sex, age_y, age_is_censored, view, position, icu, mortality)
SELECT image.image_id, given_feature.sex, given_feature.age_y, given_feature.age_is_censored,
    image.view, image.position,
    CASE
        WHEN link.link_status IS NULL THEN given_feature.icu
        WHEN link.link_status = 'in_icu' THEN 'icu'
        WHEN link.link_status IN ('in_stay', 'in_ed') THEN 'not_icu'
    END,
    CASE
        WHEN link.link_status IS NULL THEN given_feature.mortality
        WHEN admission.hospital_expire_flag THEN 'died'
        WHEN NOT admission.hospital_expire_flag THEN 'alive'
    END
FROM image
JOIN given_feature USING (image_id)
LEFT JOIN link USING (image_id)
LEFT JOIN admission ON admission.hadm_id = link.hadm_id
ORDER BY image.image_id
"""


def link_films(database: Database) -> None:
    """Fill `link` from image, admission and icu_stay. Only for a dataset that has hospital tables."""
    database.execute(LINK_SQL)


def fill_ehr(database: Database) -> None:
    """Fill `ehr` from given_feature, image and, where there are links, the linked admission."""
    database.execute(EHR_SQL)
