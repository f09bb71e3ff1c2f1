"""Patients, admissions, ICU and emergency stays of MIMIC-IV, after the rules that hold between their tables.

A row is judged by itself and by whose it is. A stay took place even if the row of its admission, or of its person,
could not be read: it is kept.
"""

from __future__ import annotations

import polars as pl

from cxrssl.cohort.sources import Hospital
from cxrssl.cohort.sources.mimic.tables import ADMISSIONS, EDSTAYS, ICUSTAYS
from cxrssl.cohort.tables.table import STRANGER, SourceTable


def check_hospital(tables: dict[str, SourceTable]) -> None:
    """Reject rows that contradict another table, and blank cells that contradict another cell."""
    patients, admissions = tables["patients"], tables["admissions"]
    admissions.reject(pl.col("dischtime") < pl.col("admittime"), "dischtime before admittime")
    people = known_subjects(patients)
    for name in ("admissions", "icustays", "edstays"):
        if name in tables:
            tables[name].check_fit("subject_id", people, patients.file)
    if admissions.lost().is_empty():  # otherwise `losses` has more to say
        tables["icustays"].check_fit("hadm_id", admissions.frame["hadm_id"], admissions.file)
    admissions.reject(is_stranger(people), STRANGER)
    is_swapped = pl.col("edouttime") < pl.col("edregtime")
    admissions.doubt(is_swapped)
    admissions.blank(is_swapped, "after edouttime", ("edregtime", "edouttime"))
    for stays in (tables[name] for name in ("icustays", "edstays") if name in tables):
        stays.reject(pl.col("outtime") < pl.col("intime"), "outtime before intime")
        stays.reject(is_stranger(people), STRANGER)
        check_owner(stays, "hadm_id", admissions)
        stays.blank(is_absent("hadm_id", admissions.frame), "not in admissions", ("hadm_id",))


def known_subjects(patients: SourceTable) -> pl.Series:
    """Return the subjects that `patients` has a row of, be it rejected."""
    return pl.concat([patients.frame["subject_id"], patients.rejects["subject"].drop_nulls()])


def is_stranger(people: pl.Series) -> pl.Expr:
    """Return whether the subject is not among the people."""
    return ~pl.col("subject_id").is_in(people.implode())


def check_owner(table: SourceTable, key: str, truth: SourceTable) -> None:
    """Reject rows that assign `key` to another subject than `truth` does; the row may be either's."""
    owner = truth.frame.select(key, pl.col("subject_id").alias("owner"))
    owner = owner if truth.spec.key == (key,) else owner.unique(key)
    table.frame = table.frame.join(owner, key, "left", maintain_order="left")
    table.doubt(pl.col("owner") != pl.col("subject_id"), "owner")
    table.reject(pl.col("owner") != pl.col("subject_id"), f"{key} belongs to another subject")
    table.frame = table.frame.drop("owner")


def is_absent(column: str, known: pl.DataFrame) -> pl.Expr:
    """Return whether the value of `column` is absent from `known`."""
    return ~pl.col(column).is_in(known[column].implode())


def make_hospital(tables: dict[str, SourceTable]) -> Hospital:
    """Return the checked tables in the words of schemas/1_source.sql."""
    sex = pl.col("gender").replace_strict({"M": "male", "F": "female"}, return_dtype=pl.String)
    patient = tables["patients"].frame.select(
        "subject_id", sex.alias("sex"), "anchor_age", "anchor_year", "anchor_year_group", "dod"
    )
    names = [column.name for column in ADMISSIONS.columns] + ["line"]
    admission = tables["admissions"].frame.select(names).with_columns(pl.col("hospital_expire_flag") == "1")
    icu_stay = tables["icustays"].frame.select([*(column.name for column in ICUSTAYS.columns), "line"])
    if "edstays" not in tables:
        return Hospital(patient, admission, icu_stay)
    names = [column.name for column in EDSTAYS.columns]
    return Hospital(
        patient, admission, icu_stay, tables["edstays"].frame.select(names).rename({"stay_id": "ed_stay_id"})
    )
