"""Conditions on films without values that may name a person."""

from __future__ import annotations

import pytest

from cxrssl.records.condition import VALUE, WHOLE, hide_values
from tests.hostile import hostile_texts

SHOWN = (
    "view IN ('PA', 'AP') AND age_y >= 18",
    "insurance = 'Medicare' OR crp > 12.5",
    "care_unit = 'Cardiac Vascular Unit' AND los::INT BETWEEN 1 AND 30",
    "split_file = 'train'",
)
CUT = {
    "subject_id <> '10000032'": f"subject_id <> {VALUE}",
    "patient_id NOT IN (61, 150)": f"patient_id NOT IN ({VALUE}, {VALUE})",
    "view = 'p10000032'": f"view = {VALUE}",
    "study = 50414267": f"study = {VALUE}",
    "taken_at < DATE '2180-01-01'": f"taken_at < DATE {VALUE}",
    "upper(view) = 'PA' AND image_id LIKE 'abc'": f"upper(view) = {VALUE} AND image_id LIKE {VALUE}",
    "view = 'O''Brien'": f"view = {VALUE}",
    "age_y > 1e9": f"age_y > {VALUE}",
}
UNREAD = (
    "view = 'PA' -- Smith",
    "view = 'PA' /* Smith */",
    "view = 'PA",
    "view = $$Smith$$",
    '"p1000" = 1',
    "a123 = 1",
)


@pytest.mark.parametrize("condition", SHOWN)
def test_short_words_and_numbers_are_shown(condition: str) -> None:
    assert hide_values(condition) == condition


@pytest.mark.parametrize(("condition", "shown"), CUT.items())
def test_what_may_be_an_id_is_not_shown(condition: str, shown: str) -> None:
    assert hide_values(condition) == shown


@pytest.mark.parametrize("condition", UNREAD)
def test_nothing_is_shown_of_what_is_not_plain_sql(condition: str) -> None:
    assert hide_values(condition) == WHOLE


def test_no_id_passes_beside_a_hostile_text() -> None:
    for text in hostile_texts(200, 5):
        quoted = text.replace("'", "''")
        assert "10000032" not in hide_values(f"view = '{quoted}10000032' AND x = 10000032")
