"""Films of MIMIC-CXR: the path and the time of each, the number of earlier studies, and sex and age of the person."""

from __future__ import annotations

import polars as pl

from cxrssl.cohort.dicom_headers import read_headers, whole_time
from cxrssl.cohort.sources import complete_given
from cxrssl.cohort.sources.mimic.layout import SUFFIXES
from cxrssl.cohort.sources.mimic.tables import CENSORED_ANCHOR_AGE
from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.filmfile import FilmFolder

MAX_AGE_Y = 130


def add_paths(films: SourceTable, present: dict[str, int]) -> list[str]:
    """Add the path of each film by its dicom_id, its file name in every tree; return a remark on films found twice."""
    paths = pl.DataFrame({"path": list(present)}, {"path": pl.String()})
    name = pl.col("path").str.split("/").list.last()
    paths = paths.with_columns(name.str.replace(r"\.[^.]*$", "").alias("dicom_id"))
    num_found = paths.height
    if paths["dicom_id"].n_unique() < num_found:
        suffix = pl.col("path").str.extract(r"(\.[^.]*)$").str.to_lowercase()
        rank = suffix.replace_strict(list(SUFFIXES), range(len(SUFFIXES)))
        paths = paths.sort(rank, "path").unique("dicom_id", keep="first")
    films.frame = films.frame.join(paths.select("dicom_id", "path"), "dicom_id", "left", maintain_order="left")
    # An absent film gets its published path: files/p10/p10000032/s50414267/<dicom_id>.jpg
    folder = pl.format("files/p{}/p{}/s{}", pl.col("subject_id").str.slice(0, 2), "subject_id", "study_id")
    films.frame = films.frame.with_columns(
        pl.coalesce("path", pl.format("{}/{}.jpg", folder, "dicom_id")).alias("path")
    )
    num_twice = num_found - paths.height
    return [f"films found in several files: {num_twice:,} files were ignored"] if num_twice else []


def add_tags(films: SourceTable, root: FilmFolder, unread: list[str]) -> list[str]:
    """Add the columns of the metadata table from the tags of the DICOM files; they are null for an unreadable file.

    `unread` is that of `read_headers`.
    """
    paths = [path for path in films.frame["path"].to_list() if (root / path).is_file()]
    tags = read_headers(root, paths, unread).select(
        "path",
        pl.col("view_position").alias("ViewPosition"),
        pl.col("rows").alias("Rows"),
        pl.col("columns").alias("Columns"),
        pl.col("study_date").alias("StudyDate"),
        whole_time("study_time").alias("StudyTime"),
        pl.col("orientation_code_meaning").alias("PatientOrientationCodeSequence_CodeMeaning"),
        pl.col("rule"),
    )
    films.frame = films.frame.join(tags, "path", "left", maintain_order="left")
    num_bad = films.frame["rule"].drop_nulls().len()
    films.frame = films.frame.drop("rule")
    return [f"films whose DICOM header cannot be read: {num_bad:,}"] if num_bad else []


def study_times(frame: pl.DataFrame) -> pl.Series:
    """Return StudyDate + StudyTime as timestamps to the microsecond; null where either is missing or impossible."""
    whole = pl.col("StudyTime").str.extract(r"^([0-9]+)").str.zfill(6)
    part = pl.col("StudyTime").str.extract(r"\.([0-9]{1,6})").fill_null("").str.pad_end(6, "0")
    stamp = pl.col("StudyDate").str.slice(0, 8) + whole
    seconds = stamp.str.to_datetime("%Y%m%d%H%M%S", time_unit="us", strict=False)
    # "60" as a second is a leap second to some parsers: it would move the film to the next minute.
    is_possible = whole.str.slice(4, 2).cast(pl.Int32, strict=False) < 60
    taken_at = pl.when(is_possible).then(seconds + pl.duration(microseconds=part.cast(pl.Int64, strict=False)))
    return frame.select(taken_at.alias("taken_at"))["taken_at"]


def study_days(frame: pl.DataFrame) -> pl.Series:
    """Return StudyDate as days; null where it is missing or impossible."""
    day = pl.col("StudyDate").str.slice(0, 8).str.to_date("%Y%m%d", strict=False)
    return frame.select(day.alias("taken_on"))["taken_on"]


def count_prior(frame: pl.DataFrame, doubtful: pl.Series) -> pl.Series:
    """Return how many studies of the film's subject have an earlier first film.

    Null where one of the subject's studies has no time, and for the doubtful: subjects with a film that is not counted.
    """
    studies = frame.group_by("study_id").agg(pl.col("subject_id").first(), pl.col("taken_at").min())
    earlier = pl.col("taken_at").rank("min").over("subject_id").cast(pl.Int64) - 1
    is_timed = pl.col("taken_at").is_not_null().all().over("subject_id")
    is_sure = is_timed & ~pl.col("subject_id").is_in(doubtful.implode())
    studies = studies.select("study_id", pl.when(is_sure).then(earlier).alias("num_prior"))
    return frame.select("study_id").join(studies, "study_id", "left", maintain_order="left")["num_prior"]


def make_image(films: SourceTable) -> pl.DataFrame:
    """Return the films in the words of schemas/1_source.sql."""
    # Views: PA, AP, LATERAL, LL, blank and rarer ones (15,757 films have none: mimic-code#1284).
    view = pl.col("ViewPosition")
    position = pl.col("PatientOrientationCodeSequence_CodeMeaning")
    return films.frame.select(
        pl.col("dicom_id").alias("image_id"),
        "study_id",
        "subject_id",
        pl.lit(None, pl.String).alias("patient_id"),
        "path",
        pl.when(view.is_in(["PA", "AP", "LATERAL", "LL"])).then(view).alias("view"),
        pl.when(position.is_in(["Erect", "Recumbent"])).then(position).alias("position"),
        "taken_at",
        "taken_on",
        pl.col("Rows").alias("rows"),
        pl.col("Columns").alias("columns"),
    )


def make_given(frame: pl.DataFrame, image: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    """Return sex and age at the film: anchor_age + (year of the film - anchor_year)."""
    age_y = (pl.col("anchor_age") + pl.col("taken_on").dt.year() - pl.col("anchor_year")).cast(pl.Float64)
    joined = frame.join(patients, "subject_id", "left", maintain_order="left")
    given = joined.select(
        pl.col("dicom_id").alias("image_id"),
        pl.col("gender").replace_strict({"M": "male", "F": "female"}, return_dtype=pl.String).alias("sex"),
        pl.when(age_y.is_between(0, MAX_AGE_Y)).then(age_y).alias("age_y"),
        (pl.col("anchor_age") == CENSORED_ANCHOR_AGE).alias("age_is_censored"),
        "num_prior",
    )
    assert given.height == image.height, "a film has exactly one patient"
    return complete_given(given)
