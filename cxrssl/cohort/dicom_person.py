"""Age, sex and view of DICOM films, from tags that may say a fact twice, in other letters, or not at all.

In: headers. Out: one column a fact; null is unknown, and what was not understood or contradicts itself is counted.
Never: one of two contradicting sources preferred in silence, a filler taken for a fact.
Source: DICOM PS3.3 C.7.1.1 (sex, birth date), C.7.2.2 (age), C.8.7.1.1.1 (view), PS3.5 6.2 (AS, DA), PS3.16 CID 4010.
"""

from __future__ import annotations

import polars as pl

from cxrssl.cohort.tables.columns import count_shown
from cxrssl.core.text import plain

FILLER_DATES = ("00010101", "11111111", "18000101", "19000101", "19010101", "99991231")
"""Dates that programs write for want of one."""
SEXES = {"M": "male", "MALE": "male", "F": "female", "FEMALE": "female"}
UNKNOWN_SEXES = ("O", "OTHER", "U", "UNKNOWN", "N", "NONE", "?", "-")
# LL and RL are left and right lateral. Decubitus and oblique films fit none of our views.
VIEWS = {"PA": "PA", "AP": "AP", "LL": "LL", "RL": "LATERAL", "LATERAL": "LATERAL", "LAT": "LATERAL"}
# Meanings of ViewCodeSequence, used where ViewPosition is blank.
VIEW_MEANINGS = {
    "POSTERO-ANTERIOR": "PA",
    "ANTERO-POSTERIOR": "AP",
    "LEFT LATERAL": "LL",
    "RIGHT LATERAL": "LATERAL",
    "LATERAL": "LATERAL",
}
POSITIONS = {"ERECT": "Erect", "RECUMBENT": "Recumbent"}
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
DAYS_PER_YEAR = 365.25
FILLER_AGES = r"^(0{1,3}Y?|999Y?)$"
AGE = r"^([0-9]{1,3})([YMWD]?)$"
MAX_GAP_Y = 2.0
"""Age and birth date may differ by so much: ages are whole years, and dates are shifted or cut to the year."""
TOP_AGE_Y = 89.0
"""Above it ages are cut to protect people, so two that are higher agree."""
MAX_SHOWN = 5


def read_person(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return the headers with `age_y`, `sex`, `view` and `position`, and remarks on what could not be used."""
    said, born = _said_age(), _age_by_birth()
    is_contrary = ((said - born).abs() > MAX_GAP_Y) & (pl.min_horizontal(said, born) < TOP_AGE_Y) & (born >= 0)
    views, codes = _words("view_position", VIEWS), _words("view_code_meaning", VIEW_MEANINGS)
    is_other_view = (views != codes) & (views.is_in(["PA", "AP"]) | codes.is_in(["PA", "AP"]))
    # An unknown ViewPosition is still more specific than a code, so the code does not replace it.
    code = pl.when(pl.col("view_position").is_null()).then(codes)
    known = frame.with_columns(
        pl.when(~is_contrary.fill_null(False)).then(pl.coalesce(said, born)).alias("age_y"),
        _words("patient_sex", SEXES).alias("sex"),
        pl.when(~is_other_view.fill_null(False)).then(pl.coalesce(views, code)).alias("view"),
        _words("orientation_code_meaning", POSITIONS).alias("position"),
    )
    is_filler = _text("patient_age").str.contains(FILLER_AGES)
    counts = {
        "films whose age and birth date contradict each other, age unknown": _count(frame, is_contrary),
        "films whose PatientAge is a filler, such as 000Y": _count(frame, is_filler),
        "films whose ViewPosition and ViewCodeSequence contradict each other, view unknown": _count(
            frame, is_other_view
        ),
    }
    remarks = [f"{what}: {num:,}" for what, num in counts.items() if num]
    is_strange_age = ~_text("patient_age").str.contains(AGE) & (_text("patient_age") != "")
    is_strange_sex = _words("patient_sex", SEXES).is_null() & ~_text("patient_sex").is_in([*UNKNOWN_SEXES, ""])
    for tag, column, is_strange in (
        ("PatientAge", "patient_age", is_strange_age),
        ("PatientSex", "patient_sex", is_strange_sex),
    ):
        remarks += _remark_strange(frame.filter(is_strange.fill_null(False))[column], tag)
    return known, remarks


def read_date(column: str) -> pl.Expr:
    """Return a date of a tag; null for a filler and for what is no date."""
    text = pl.col(column).str.strip_chars()
    return pl.when(~text.is_in(FILLER_DATES)).then(text).str.to_date("%Y%m%d", strict=False)


def _text(column: str) -> pl.Expr:
    """Return the text of a tag in capitals, without blanks at its ends or between its words."""
    return pl.col(column).str.to_uppercase().str.replace_all(r"\s", "")


def _words(column: str, words: dict[str, str]) -> pl.Expr:
    joined = {word.replace(" ", ""): meaning for word, meaning in words.items()}
    return _text(column).replace_strict(joined, default=None, return_dtype=pl.String)


def _said_age() -> pl.Expr:
    """Return PatientAge in years; "62" is 62 years."""
    age = _text("patient_age")
    number = age.str.extract(AGE, 1).cast(pl.Float64)
    unit = age.str.extract("([YMWD])$").fill_null("Y").replace_strict(YEARS, default=1.0, return_dtype=pl.Float64)
    return pl.when(~age.str.contains(FILLER_AGES)).then(number * unit)


def _age_by_birth() -> pl.Expr:
    """Return the years from the birth date to the study."""
    return (read_date("study_date") - read_date("patient_birth_date")).dt.total_days() / DAYS_PER_YEAR


def _count(frame: pl.DataFrame, is_so: pl.Expr) -> int:
    return frame.filter(is_so.fill_null(False)).height


def _remark_strange(values: pl.Series, tag: str) -> list[str]:
    """Return a remark on the words of a tag that are not understood, most frequent first."""
    if not len(values):
        return []
    counts = values.value_counts(sort=True).sort(["count", values.name], descending=[True, False])
    words = count_shown(counts.iter_rows())
    shown = ", ".join(f"{plain(word, 20)} {num:,}" for word, num in list(words.items())[:MAX_SHOWN])
    more = ", ..." if len(words) > MAX_SHOWN else ""
    return [f"words of {tag} that are not understood: {shown}{more}"]
