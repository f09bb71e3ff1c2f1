"""A cohort as MEDS events (Medical Event Data Standard 0.4): what happened to whom and when, films included.

In: a cohort database. Out: a frame of events of the subjects with a film, and its metadata.
Never: a time that the dataset does not give, or a finding at a time when its film can be used to predict it.
Times: a birth is 1 January of anchor_year - anchor_age (month and day are unknown), absent where the age is censored; a
death is the admission's deathtime, else the last second of the day of death; a finding is one microsecond after the
last film of its study, because its report is written after the films and has no published time.
A film without a time (NIH, CheXpert) is a static event; its findings are not events but rows of findings.parquet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import FEATURES
from cxrssl.core.errors import DataError
from cxrssl.core.version import __version__
from cxrssl.db import Database

MEDS_VERSION = "0.4.1"
SPLITS = {"train": "train", "val": "tuning", "test": "held_out"}
UNASSIGNED = "unassigned"
"""Shards of subjects that the split scheme does not name."""
MAX_SHARD_SUBJECTS = 10_000
ID_COLUMNS = ("image_id", "study_id", "hadm_id", "stay_id", "ed_stay_id")
IMAGE_COLUMN = "image_path"
SCHEMA = {
    "subject_id": pl.Int64(),
    "time": pl.Datetime("us"),
    "code": pl.String(),
    "numeric_value": pl.Float32(),
    IMAGE_COLUMN: pl.String(),
    **{name: pl.String() for name in ID_COLUMNS},
}


@dataclass(frozen=True)
class _Kind:
    """Events of one kind: their code, their meaning, and the query that makes them."""

    code: str
    """Its first part, in the words that converters of MIMIC-IV to MEDS use."""
    meaning: str
    sql: str


_FACTS = [
    feature.source.partition(".")[2]
    for feature in FEATURES
    if feature.source.startswith("admission.") and feature.known == "before"
]
"""Columns of the admission that hold facts about the person."""
# In the order of events at the same time. A part of a code that the dataset leaves blank is UNK.
KINDS: tuple[_Kind, ...] = (
    _Kind(
        "MEDS_BIRTH",
        "birth, to the year",
        "SELECT subject_id, make_timestamp(anchor_year - anchor_age, 1, 1, 0, 0, 0) AS time, 'MEDS_BIRTH' AS code "
        "FROM patient WHERE anchor_age <= 89",
    ),
    _Kind(
        "GENDER",
        "sex, M or F",
        "SELECT DISTINCT subject_id, NULL::TIMESTAMP AS time, 'GENDER//' || upper(left(sex, 1)) AS code "
        "FROM film WHERE sex IS NOT NULL",
    ),
    _Kind(
        "ED_REGISTRATION",
        "arrival in the emergency department",
        "SELECT subject_id, intime AS time, 'ED_REGISTRATION' AS code, hadm_id, ed_stay_id FROM ed_stay UNION ALL "
        "SELECT subject_id, edregtime, 'ED_REGISTRATION', hadm_id, NULL FROM admission "
        "WHERE edregtime IS NOT NULL AND hadm_id NOT IN (SELECT hadm_id FROM ed_stay WHERE hadm_id IS NOT NULL)",
    ),
    _Kind(
        "HOSPITAL_ADMISSION",
        "admission to hospital: type, location before it",
        "SELECT subject_id, admittime AS time, concat_ws('//', 'HOSPITAL_ADMISSION', "
        "coalesce(admission_type, 'UNK'), coalesce(admission_location, 'UNK')) AS code, hadm_id FROM admission",
    ),
    _Kind(
        "ED_OUT",
        "departure from the emergency department",
        "SELECT subject_id, outtime AS time, 'ED_OUT' AS code, hadm_id, ed_stay_id FROM ed_stay UNION ALL "
        "SELECT subject_id, edouttime, 'ED_OUT', hadm_id, NULL FROM admission "
        "WHERE edouttime IS NOT NULL AND hadm_id NOT IN (SELECT hadm_id FROM ed_stay WHERE hadm_id IS NOT NULL)",
    ),
    *(
        _Kind(
            name.upper(),
            f"{name.replace('_', ' ')} as recorded at the admission",
            f"SELECT subject_id, admittime AS time, '{name.upper()}//' || {name} AS code, hadm_id FROM admission "
            f"WHERE {name} IS NOT NULL",
        )
        for name in sorted(_FACTS)
    ),
    _Kind(
        "ICU_ADMISSION",
        "admission to an intensive care unit",
        "SELECT subject_id, intime AS time, 'ICU_ADMISSION//' || coalesce(first_careunit, 'UNK') AS code, "
        "hadm_id, stay_id FROM icu_stay",
    ),
    _Kind(
        "IMAGE",
        "a film: modality, view; its file is in image_path",
        "SELECT subject_id, taken_at AS time, 'IMAGE//CXR//' || coalesce(view, 'UNK') AS code, path AS image_path, "
        "image_id, study_id, hadm_id, stay_id, ed_stay_id FROM film",
    ),
    _Kind(
        "AGE",
        "age at the film in years",
        "SELECT subject_id, taken_at AS time, 'AGE' AS code, age_y::FLOAT AS numeric_value, image_id, study_id "
        "FROM film WHERE age_y IS NOT NULL AND NOT age_is_censored",
    ),
    _Kind(
        "POSITION",
        "position of the person at the film",
        "SELECT subject_id, taken_at AS time, 'POSITION//' || position AS code, image_id, study_id "
        "FROM film WHERE position IS NOT NULL",
    ),
    _Kind(
        "CXR",
        "finding of a study: name, then present, absent or uncertain",
        "SELECT subject_id, time + INTERVAL 1 MICROSECOND AS time, 'CXR//' || finding || '//' || "
        "CASE value WHEN 1 THEN 'present' WHEN 0 THEN 'absent' ELSE 'uncertain' END AS code, study_id "
        "FROM label JOIN (SELECT study_id, any_value(subject_id) AS subject_id, max(taken_at) AS time, "
        "count(taken_at) = count(*) AS is_timed FROM image GROUP BY study_id) USING (study_id) WHERE is_timed",
    ),
    _Kind(
        "ICU_DISCHARGE",
        "discharge from an intensive care unit",
        "SELECT subject_id, outtime AS time, 'ICU_DISCHARGE//' || coalesce(last_careunit, 'UNK') AS code, "
        "hadm_id, stay_id FROM icu_stay",
    ),
    _Kind(
        "HOSPITAL_DISCHARGE",
        "discharge from hospital: where to",
        "SELECT subject_id, dischtime AS time, 'HOSPITAL_DISCHARGE//' || coalesce(discharge_location, 'UNK') AS code, "
        "hadm_id FROM admission",
    ),
    _Kind(
        "MEDS_DEATH",
        "death, in hospital or up to a year after discharge",
        "SELECT subject_id, coalesce(min(deathtime), any_value(dod) + INTERVAL 1 DAY - INTERVAL 1 SECOND) AS time, "
        "'MEDS_DEATH' AS code FROM patient LEFT JOIN admission USING (subject_id) GROUP BY subject_id "
        "HAVING time IS NOT NULL",
    ),
)
UNTIMED = """
SELECT subject_id, study_id, finding, value FROM label
JOIN (SELECT study_id, any_value(subject_id) AS subject_id FROM image GROUP BY study_id
    HAVING count(taken_at) < count(*)) USING (study_id)
ORDER BY subject_id, study_id, finding"""


def list_measured(features: Sequence[Feature]) -> list[_Kind]:
    """Return the kinds of events of measured features: MEASURED, group, name, then the unit or the word.

    A value with an age is an event of its own time, another one of the time of the film; an outcome, of the discharge.
    """
    kinds = []
    for each in features:
        assert each.measured is not None
        code = f"MEASURED//{each.group}//{each.name}"
        name = f'film."{each.column}"'
        time = (
            f'taken_at - to_microseconds(round(film."{each.age_column}" * 3.6e9)::BIGINT)'
            if each.has_age
            else "taken_at"
        )
        value = f"'{code}//' || {name} AS code"
        if not each.categories:
            value = f"'{code}//{each.measured.unit or 'UNK'}' AS code, {name}::FLOAT AS numeric_value"
        source = "film"
        if each.role == "outcome":
            time, source = "dischtime", "film JOIN admission USING (hadm_id)"
        sql = f"SELECT DISTINCT film.subject_id, {time} AS time, {value} FROM {source} WHERE {name} IS NOT NULL"
        kinds.append(_Kind(code, each.meaning, sql))
    return kinds


def collect_events(database: Database, subjects: pl.Series, measured: Sequence[Feature] = ()) -> pl.DataFrame:
    """Return all events of these subjects, `subject_id` still as text, sorted; static events first.

    Those of all subjects of MIMIC-CXR at once would take 2 GiB.
    """
    parts = [
        f"SELECT {rank} AS rank, * FROM ({kind.sql})" for rank, kind in enumerate((*KINDS, *list_measured(measured)))
    ]
    every = " UNION ALL BY NAME ".join(parts)
    sql = f"SELECT * FROM ({every}) WHERE subject_id IN (SELECT unnest($1::VARCHAR[]))"
    events = database.query(sql, [subjects.to_list()]).sort(
        "subject_id", "time", "rank", "code", *ID_COLUMNS, nulls_last=False
    )
    return events.select(
        "subject_id", *(pl.col(name).cast(kind) for name, kind in SCHEMA.items() if name != "subject_id")
    )


def collect_untimed(database: Database) -> pl.DataFrame:
    """Return the findings of studies without a time, `subject_id` still as text."""
    return database.query(UNTIMED)


def number_subjects(dataset: str, subjects: pl.Series) -> pl.DataFrame:
    """Return `subject_id` (text) -> `number`: the id itself where all are whole numbers, else a hash.

    The hash covers the dataset's name and the id, so that a subject has one number in all cohorts of a dataset.

    Raises: DataError when two subjects share a number.
    """
    texts = subjects.unique().sort()
    numbers = texts.cast(pl.Int64, strict=False)
    if numbers.null_count() or not (numbers.cast(pl.String) == texts).all():
        numbers = pl.Series([_hash_subject(dataset, text) for text in texts], dtype=pl.Int64)
    if numbers.n_unique() < len(texts):
        raise DataError("two subjects have the same number", hint="please report this with the ids")
    return pl.DataFrame({"subject_id": texts, "number": numbers})


def describe_codes(in_use: Iterable[str], measured: Sequence[Feature] = ()) -> pl.DataFrame:
    """Return `code`, `description`, `parent_codes` of every code in use, sorted."""
    meaning = {kind.code: kind.meaning for kind in (*KINDS, *list_measured(measured))}
    codes = pl.DataFrame({"code": sorted(in_use)}, {"code": pl.String()})
    return codes.with_columns(
        pl.col("code")
        .str.extract(r"^(MEASURED//[^/]*//[^/]*|[^/]*)")
        .replace_strict(meaning, return_dtype=pl.String)
        .alias("description"),
        pl.lit(None, pl.List(pl.String)).alias("parent_codes"),
    )


def describe_dataset(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of metadata/dataset.json."""
    versions = ", ".join(f"{part} {version}" for part, version in summary.get("versions", {}).items())
    return {
        "dataset_name": summary["dataset"],
        **({"dataset_version": versions} if versions else {}),
        "etl_name": "cxrssl",
        "etl_version": __version__,
        "meds_version": MEDS_VERSION,
        "raw_source_id_columns": list(ID_COLUMNS),
        "additional_value_modality_columns": [IMAGE_COLUMN],
    }


def _hash_subject(dataset: str, subject_id: str) -> int:
    """Return 63 bits of the SHA-256 of dataset and id."""
    digest = hashlib.sha256(f"{dataset}/{subject_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
