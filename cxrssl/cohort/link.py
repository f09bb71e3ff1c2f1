"""The hospital stay that a film belongs to: SQL over the sources.

In: image, admission, icu_stay, ed_stay. Out: link. Never, by time: a result that depends on the order of the rows.

By time (the default). First match decides; intervals are closed at both ends, times are compared to the microsecond:
1. no taken_at                          -> bad_time
2. inside [intime, outtime] of ICU stays -> in_icu, with the stay and its hadm_id. Joined by subject and time, whatever
   the admission's times are: in the MIMIC-IV demo 2 stays begin before their admission and 22 end after it.
   Several: the latest intime, then the earliest outtime, then the lowest stay_id.
3. inside [admittime, dischtime]        -> in_stay. Several: the latest admittime, then the earliest dischtime;
   if two share both times -> ambiguous, hadm_id unknown.
4. inside an emergency visit            -> in_ed, with the admission it led to, if any. Visits are those of ed_stay, and
   [edregtime, edouttime] of the admissions that ed_stay does not name. Several: as in 3, by these times.
5. before admittime, but after the emergency visit that led to it (the wait for a bed: in 8 of the demo's 275
   admissions, up to 4.8 h), or at most `tolerance_h` before it -> before_stay, with that admission. Several: the
   earliest admittime, then the earliest dischtime; if two share both -> ambiguous. It precedes 7, even where a
   discharge is nearer.
   The tolerance is for people whose arrival was not recorded (93 of the demo's 275 admissions have no emergency
   times). 6 h: where it was, three of four admissions followed within 6.6 h of the registration (median 4.3 h).
6. no admission of the subject          -> no_admission
7. else by the nearest admission: in the past -> post_discharge, in the future -> pre_admission, both equally near
   -> post_discharge; hadm_id unknown.
gap_h is the time to the nearest dischtime or admittime, and 0 for rules 2 to 4.
Unknown is not no: `icu` is known only for in_icu, in_stay, in_ed; `mortality` only with a hadm_id.
For before_stay `icu` is unknown because, known, it would tell that an admission follows.

By both rules, a film of a person of whom a row of these tables was rejected (table doubtful) -> rejected_row, whatever
the rows that are left say: hadm_id, ed_stay_id and gap_h are unknown. It keeps the stay_id of an ICU stay it lies in.

By day (`--link day`), as published, for comparison: the day of the film is in [day of intime, day of outtime] of an ICU
stay, and independently in [day of admittime, day of dischtime] of an admission; of several, the last row of the file
counts; a film outside every stay is `alive` and `not_icu`. The emergency department plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain
from cxrssl.db import Database

LINKS = ("time", "day")
MAX_TOLERANCE_H = 72.0


@dataclass(frozen=True)
class LinkRule:
    """How films are linked to stays; part of a cohort's key."""

    by: Literal["time", "day"] = "time"
    tolerance_h: float = 6.0
    """How long before an admission a film already belongs to it; only by time."""

    def describe(self) -> str:
        """Return the rule in a few words, for every line that names the cohort."""
        if self.by == "day":
            return "linked by day, as published"
        return f"linked by time, tolerance {self.tolerance_h:g} h"


def make_link_rule(by: str = "", tolerance_h: float | None = None) -> LinkRule:
    """Return the rule of these options, which have defaults.

    Raises: UsageError for an unknown rule, a tolerance out of range, and a tolerance without effect.
    """
    if by and by not in LINKS:
        raise UsageError(f'there is no link rule "{plain(by, 40)}"', hint=nearest_hint(by, LINKS))
    if by == "day":
        if tolerance_h is not None:
            raise UsageError("--tolerance has no effect with --link day", hint="leave --tolerance out")
        return LinkRule("day", 0.0)
    if tolerance_h is None:
        return LinkRule()
    if not 0 <= tolerance_h <= MAX_TOLERANCE_H:
        raise UsageError(f"--tolerance is {tolerance_h:g} h, but must be from 0 to {MAX_TOLERANCE_H:g}")
    return LinkRule("time", float(tolerance_h))


def link_films(database: Database, rule: LinkRule = LinkRule()) -> None:
    """Fill `link` from the stays. Only for a dataset that has hospital tables."""
    if rule.by == "day":
        database.execute(LINK_BY_DAY)
    else:
        database.execute(LINK_BY_TIME, [round(rule.tolerance_h * 3.6e9)])
    database.execute(DOUBT)


# Within a statement the rowid identifies a film: it is a number, while an image_id is a text of 44 characters.
VISIT = """
visit AS (
    SELECT subject_id, hadm_id, ed_stay_id, intime AS ed_in, outtime AS ed_out, coalesce(arrival_transport, 'ed') AS way
    FROM ed_stay
    UNION ALL
    SELECT subject_id, hadm_id, NULL, edregtime, edouttime, 'ed' FROM admission
    WHERE edregtime IS NOT NULL AND subject_id IN (SELECT subject_id FROM image)
        AND hadm_id NOT IN (SELECT hadm_id FROM ed_stay WHERE hadm_id IS NOT NULL)
)"""

PAIR = """
film AS (SELECT rowid AS film, subject_id, taken_at FROM image WHERE taken_at IS NOT NULL),
pair AS MATERIALIZED (
    SELECT film, taken_at, hadm_id, admittime, dischtime FROM film JOIN admission USING (subject_id)
)"""

LINK_BY_TIME = f"""
INSERT INTO link (image_id, hadm_id, stay_id, ed_stay_id, link_status, gap_h, num_covering)
WITH {VISIT}, {PAIR},
icu AS (
    SELECT film, stay_id, icu_stay.hadm_id, count(*) OVER (PARTITION BY film) AS num_covering
    FROM film JOIN icu_stay USING (subject_id)
    WHERE taken_at BETWEEN intime AND outtime
    QUALIFY row_number() OVER (PARTITION BY film ORDER BY intime DESC, outtime, stay_id) = 1
),
stay AS (
    SELECT film, hadm_id, count(*) OVER (PARTITION BY film) AS num_covering,
        count(*) OVER (PARTITION BY film, admittime, dischtime) AS num_equal
    FROM pair
    WHERE taken_at BETWEEN admittime AND dischtime
    QUALIFY row_number() OVER (PARTITION BY film ORDER BY admittime DESC, dischtime, hadm_id) = 1
),
ed AS (
    SELECT film, hadm_id, ed_stay_id, count(*) OVER (PARTITION BY film) AS num_covering,
        count(*) OVER (PARTITION BY film, ed_in, ed_out) AS num_equal
    FROM film JOIN visit USING (subject_id)
    WHERE taken_at BETWEEN ed_in AND ed_out
    QUALIFY row_number() OVER (PARTITION BY film ORDER BY ed_in DESC, ed_out, hadm_id, ed_stay_id) = 1
),
left_ed AS (SELECT hadm_id, max(ed_out) AS left_at FROM visit WHERE hadm_id IS NOT NULL GROUP BY hadm_id),
coming AS (
    SELECT film, hadm_id, date_diff('microsecond', taken_at, admittime) AS until_us,
        count(*) OVER (PARTITION BY film) AS num_covering,
        count(*) OVER (PARTITION BY film, admittime, dischtime) AS num_equal
    FROM pair LEFT JOIN left_ed USING (hadm_id)
    WHERE taken_at < admittime AND (date_diff('microsecond', taken_at, admittime) <= $1 OR taken_at > left_at)
    QUALIFY row_number() OVER (PARTITION BY film ORDER BY admittime, dischtime, hadm_id) = 1
),
near AS (
    SELECT film,
        min(CASE WHEN taken_at > dischtime THEN date_diff('microsecond', dischtime, taken_at) END) AS past_us,
        min(CASE WHEN taken_at < admittime THEN date_diff('microsecond', taken_at, admittime) END) AS future_us
    FROM pair
    GROUP BY film
),
decided AS (
    SELECT image_id, image.rowid AS film,
        CASE
            WHEN taken_at IS NULL THEN 'bad_time'
            WHEN icu.film IS NOT NULL THEN 'in_icu'
            WHEN stay.num_equal > 1 THEN 'ambiguous'
            WHEN stay.film IS NOT NULL THEN 'in_stay'
            WHEN ed.num_equal > 1 THEN 'ambiguous'
            WHEN ed.film IS NOT NULL THEN 'in_ed'
            WHEN coming.num_equal > 1 THEN 'ambiguous'
            WHEN coming.film IS NOT NULL THEN 'before_stay'
            WHEN near.film IS NULL THEN 'no_admission'
            WHEN future_us IS NULL OR past_us <= future_us THEN 'post_discharge'
            ELSE 'pre_admission'
        END AS link_status,
        icu.hadm_id AS icu_hadm_id, icu.stay_id, stay.hadm_id AS stay_hadm_id, ed.hadm_id AS ed_hadm_id, ed.ed_stay_id,
        coming.hadm_id AS coming_hadm_id, until_us, least(past_us, future_us) AS outside_us,
        icu.film IS NOT NULL OR stay.film IS NOT NULL OR ed.film IS NOT NULL AS is_inside,
        coalesce(icu.num_covering, stay.num_covering, ed.num_covering, coming.num_covering, 0) AS num_covering
    FROM image
    LEFT JOIN icu ON icu.film = image.rowid
    LEFT JOIN stay ON stay.film = image.rowid
    LEFT JOIN ed ON ed.film = image.rowid
    LEFT JOIN coming ON coming.film = image.rowid
    LEFT JOIN near ON near.film = image.rowid
)
SELECT image_id,
    CASE link_status
        WHEN 'in_icu' THEN icu_hadm_id
        WHEN 'in_stay' THEN stay_hadm_id
        WHEN 'in_ed' THEN ed_hadm_id
        WHEN 'before_stay' THEN coming_hadm_id
    END,
    CASE link_status WHEN 'in_icu' THEN stay_id END,
    CASE link_status WHEN 'in_ed' THEN ed_stay_id END,
    link_status,
    CASE WHEN is_inside THEN 0 ELSE coalesce(until_us, outside_us) / 3.6e9 END,
    num_covering
FROM decided
ORDER BY film
"""

DOUBT = """
UPDATE link
SET link_status = 'rejected_row', hadm_id = NULL, ed_stay_id = NULL, gap_h = NULL, num_covering = 0
WHERE image_id IN (SELECT image_id FROM image SEMI JOIN doubtful USING (subject_id))
"""

LINK_BY_DAY = """
INSERT INTO link (image_id, hadm_id, stay_id, link_status, gap_h, num_covering)
WITH
film AS (SELECT image_id, subject_id, coalesce(taken_on, taken_at::DATE) AS day FROM image),
icu AS (
    SELECT image_id, stay_id, count(*) OVER (PARTITION BY image_id) AS num_covering
    FROM film JOIN icu_stay USING (subject_id)
    WHERE day BETWEEN intime::DATE AND outtime::DATE
    QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY line DESC, stay_id DESC) = 1
),
stay AS (
    SELECT image_id, hadm_id, count(*) OVER (PARTITION BY image_id) AS num_covering
    FROM film JOIN admission USING (subject_id)
    WHERE day BETWEEN admittime::DATE AND dischtime::DATE
    QUALIFY row_number() OVER (PARTITION BY image_id ORDER BY line DESC, hadm_id DESC) = 1
),
near AS (
    SELECT image_id,
        min(CASE WHEN day > dischtime::DATE THEN date_diff('day', dischtime::DATE, day) END) AS past_d,
        min(CASE WHEN day < admittime::DATE THEN date_diff('day', day, admittime::DATE) END) AS future_d
    FROM film JOIN admission USING (subject_id)
    WHERE day IS NOT NULL
    GROUP BY image_id
)
SELECT film.image_id, stay.hadm_id, icu.stay_id,
    CASE
        WHEN day IS NULL THEN 'bad_time'
        WHEN icu.image_id IS NOT NULL THEN 'in_icu'
        WHEN stay.image_id IS NOT NULL THEN 'in_stay'
        WHEN near.image_id IS NULL THEN 'no_admission'
        WHEN future_d IS NULL OR past_d <= future_d THEN 'post_discharge'
        ELSE 'pre_admission'
    END,
    CASE WHEN icu.image_id IS NOT NULL OR stay.image_id IS NOT NULL THEN 0 ELSE least(past_d, future_d) * 24 END,
    coalesce(icu.num_covering, stay.num_covering, 0)
FROM film
LEFT JOIN icu USING (image_id)
LEFT JOIN stay USING (image_id)
LEFT JOIN near USING (image_id)
ORDER BY film.image_id
"""
