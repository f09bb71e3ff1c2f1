"""Conditions on films without values that may name a person."""

from __future__ import annotations

import re

import pytest

from cxrssl.cohort.condition import VALUE, WHOLE, hide_values
from tests.hostile import hostile_texts

SHOWN = (
    "view IN ('PA', 'AP') AND age_y >= 18",
    "insurance = 'Medicare' OR crp > 12.5",
    "care_unit = 'cardiac' AND los_d BETWEEN 1 AND 30",
    "split_file = 'train' and icu IS NOT NULL",
    "NOT (link_status = 'in_icu' AND gap_h <= 24) OR age_is_censored",
    "VIEW LIKE 'pa'",
    "age_y < 89.5",
)
CUT = {
    "subject_id <> '10000032'": f"subject_id <> {VALUE}",
    "subject_id <> 's' AND view = 'PA'": f"subject_id <> {VALUE} AND view = {VALUE}",
    "patient_id NOT IN (61, 150)": f"patient_id NOT IN ({VALUE}, {VALUE})",
    "patid = 17": f"patid = {VALUE}",
    "study = 17": f"study = {VALUE}",
    "person IN (17, 18)": f"person IN ({VALUE}, {VALUE})",
    "filename = 'smith'": f"filename = {VALUE}",
    "position = 'Anna Smith'": f"position = {VALUE}",
    "position = 'black'": f"position = {VALUE}",
    "view = 'p10000032'": f"view = {VALUE}",
    "view = 'O''Brien'": f"view = {VALUE}",
    "view LIKE 'P%'": f"view LIKE {VALUE}",
    "view = 17": f"view = {VALUE}",
    "age_y = 91": f"age_y = {VALUE}",
    "age_y BETWEEN 89 AND 90": f"age_y BETWEEN {VALUE} AND {VALUE}",
    "los_d > 1000": f"los_d > {VALUE}",
    "crp = 12.345": f"crp = {VALUE}",
    "'smith' = 'smith'": f"{VALUE} = {VALUE}",
    "view = 'PA' AND own_score > 5": f"view = {VALUE} AND own_score > {VALUE}",
}
UNREAD = (
    "view = 'PA' -- smith",
    "view = 'PA' /* smith */",
    "view = 'PA",
    "view = $$smith$$",
    "view = E'smith'",
    '"p17" = 1',
    "\"view\" = 'PA'",
    "a123 = 1",
    "NOT (month(COLUMNS('taken.*')) = 3 AND day(COLUMNS('taken.*')) = 12)",
    "COLUMNS('subj.*') = 17",
    "COLUMNS(*) = 17",
    "* = 17",
    "contains(film::VARCHAR, 'smith')",
    "film::VARCHAR LIKE '%smith%'",
    "CAST(film AS VARCHAR) LIKE 'smith'",
    "to_json(film) = 'smith'",
    "to_json (film) = 'smith'",
    "film.view = 'PA'",
    "age_y = 100*100*100+32",
    "age_y = 17 - 1",
    "age_y = 1e9",
    "age_y = 1_000",
    "age_y = 0x11",
    "age_y = 17.",
    "age_y = -1",
    "view = 's' || 'mith'",
    "taken_at < DATE '2180-01-01'",
    "view IN (SELECT smith FROM (SELECT 'PA' AS smith))",
    "view = ['smith'][1]",
    "CASE WHEN age_y = 17 THEN true END",
    "view ILIKE 'smith'",
    "view ~ 'smith'",
    "vi\u0435w = 'PA'",  # Cyrillic
    "age_y = \u0661\u0667",  # Arabic digits
    "age_y \uff1d 17",
    "age_y = 17\u2028-\u2028-smith",
)


@pytest.mark.parametrize("condition", SHOWN)
def test_what_is_known_to_be_harmless_is_shown(condition: str) -> None:
    assert hide_values(condition) == condition


@pytest.mark.parametrize(("condition", "shown"), CUT.items())
def test_of_what_may_tell_a_person_no_value_is_shown(condition: str, shown: str) -> None:
    assert hide_values(condition) == shown


@pytest.mark.parametrize("condition", UNREAD)
def test_nothing_is_shown_of_what_is_not_of_plain_terms(condition: str) -> None:
    assert hide_values(condition) == WHOLE


@pytest.mark.parametrize("name", ["s1", "17", "smith", "Anna Smith", "12 March", "10000032"])
def test_no_name_passes_in_whatever_stands_around_it(name: str) -> None:
    around = [text.replace("'", "''") for text in hostile_texts(90, 5)]
    values = [f"'{name}'", *(f"'{text}{name}'" for text in around), *(f"'{name}{text}'" for text in around)]
    values += [name] if name.isdecimal() else []
    columns = ("view", "position", "filename", "patid", "subject_id", "COLUMNS('s.*')", "film::VARCHAR", "upper(path)")
    for value in values:
        for column in columns:
            for condition in (f"{column} = {value}", f"age_y > 3 AND NOT {column} IN ({value})"):
                if not (column in ("view", "position") and value == name):
                    assert name not in hide_values(condition), condition


@pytest.mark.parametrize("text", hostile_texts(90, 6))
def test_beside_a_hostile_text_stands_no_name(text: str) -> None:
    for condition in (f"age_y = 17 {text}", f"{text} age_y = 17", f"view = '{text}smith'"):
        shown = hide_values(condition)
        words = set(re.findall(r"\w+", shown)) if shown != WHOLE else set()
        assert words <= {"age_y", "17", "view"} | set(re.findall(r"\w+", text))
        assert "smith" not in shown
        assert "17" not in words or words <= {"age_y", "17", "NULL"}
