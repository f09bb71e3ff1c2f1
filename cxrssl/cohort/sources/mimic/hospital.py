"""Patients, admissions, ICU and emergency stays of MIMIC-IV, after the rules that hold between their tables."""

from __future__ import annotations

import polars as pl

from cxrssl.cohort.sources import Hospital
from cxrssl.cohort.sources.mimic.tables import ADMISSIONS, EDSTAYS, ICUSTAYS
from cxrssl.cohort.tables.table import SourceTable


def check_hospital(tables: dict[str, SourceTable]) -> None:
    """Reject rows that contradict another table, and blank cells that contradict another cell."""
    patients, admissions, icustays = tables["patients"], tables["admissions"], tables["icustays"]
    admissions.reject(pl.col("dischtime") < pl.col("admittime"), "dischtime before admittime")
    admissions.reject(is_absent("subject_id", patients.frame), "subject not in patients")
    admissions.blank(pl.col("edouttime") < pl.col("edregtime"), "after edouttime", ("edregtime", "edouttime"))
    icustays.reject(pl.col("outtime") < pl.col("intime"), "outtime before intime")
    icustays.reject(is_absent("subject_id", patients.frame), "subject not in patients")
    icustays.reject(is_absent("hadm_id", admissions.frame), "admission not in admissions")
    check_owner(icustays, "hadm_id", admissions)
    if "edstays" in tables:
        edstays = tables["edstays"]
        edstays.reject(pl.col("outtime") < pl.col("intime"), "outtime before intime")
        edstays.reject(is_absent("subject_id", patients.frame), "subject not in patients")
        check_owner(edstays, "hadm_id", admissions)
        # Keep the visit: it took place even if its admission is unknown.
        edstays.blank(is_absent("hadm_id", admissions.frame), "not in admissions", ("hadm_id",))


def check_owner(table: SourceTable, key: str, truth: SourceTable) -> None:
    """Reject rows that assign `key` to another subject than `truth` does."""
    owner = truth.frame.select(key, pl.col("subject_id").alias("owner"))
    owner = owner if truth.spec.key == (key,) else owner.unique(key)
    table.frame = table.frame.join(owner, key, "left", maintain_order="left")
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
