"""Any folder of CR and DX radiographs as DICOM, with features from the tags and, given a map, from the user's tables.

In: a folder, and the TOML of `cohort/maps`. Out: SourceTables whose films are files. Ids are the standard's:
SOPInstanceUID, StudyInstanceUID, PatientID. Never: a feature that is in no tag and no table.
Source: DICOM PS3.3 C.7.1.1 (patient), C.7.2.1 (study), C.8.7.1, C.8.11 (CR, DX), PS3.5 6.2 (AS, DA, TM).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrssl.cohort.dicom_headers import read_headers, whole_time
from cxrssl.cohort.dicom_person import read_date, read_person
from cxrssl.cohort.files import Folder, Layout
from cxrssl.cohort.maps.declared import RecordMap
from cxrssl.cohort.maps.parse import read_map
from cxrssl.cohort.maps.tables import MAP, file_name
from cxrssl.cohort.sources import (
    SourceOptions,
    SourceTables,
    complete_given,
    count_values,
    list_table,
    reject_absent_films,
)
from cxrssl.cohort.tables.table import SourceTable
from cxrssl.core.errors import DataError, DecodeError
from cxrssl.core.filmfile import hash_film
from cxrssl.dicom import NUM_FIRST_BYTES, is_dicom

OPTIONS: tuple[str, ...] = ()
MODALITIES = ("CR", "DX")
CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.1{last}" for last in ("", ".1", ".1.1"))
"""SOP classes of CR and DX, for presentation and for processing."""
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
FILES = "DICOM files"
MAX_AGE_Y = 130
UID = r"^[0-9]+(\.[0-9]+)*$"
NUM_TRIED = 3
"""Files of a folder that are opened to see whether it holds DICOM."""


def is_here(folder: Folder) -> bool:
    """Return whether one of the first files of the folder is DICOM, by its first bytes."""
    names = sorted(name for name in folder.files if not name.startswith("."))
    return any(_is_dicom(folder.path / name) for name in names[:NUM_TRIED])


def find(options: SourceOptions) -> Layout:
    """Return the folder, in which every file is examined."""
    return Layout("dicom", options.path, {}, ("",), film_suffixes=("",), has_headers=True)


def read(layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return one film for each file that is a radiograph, with the facts of its tags."""
    record_map = read_map(layout.files[MAP].path) if MAP in layout.files else RecordMap()
    films, remarks = _read_films(layout, present, record_map)
    image = _make_image(films.frame)
    if not record_map.labels:
        remarks.append("no findings, so only for pretraining; name a table of labels with cxrssl ingest dicom --map")
    return SourceTables(
        films=films,
        others=[],
        image=image,
        given=_make_given(films.frame),
        labels=image.select("study_id").unique(),
        views_seen=count_values(films.frame, "view_position"),
        remarks=remarks,
        versions={"labels": "none"},
    )


def _read_films(layout: Layout, present: dict[str, int], record_map: RecordMap) -> tuple[SourceTable, list[str]]:
    """Return the files that are radiographs, with their tags, ages and times, and remarks on doubtful ones."""
    films = list_table(FILES, "file", {path: size for path, size in present.items() if not _is_hidden(path)})
    if not films.rows:
        raise DataError("the folder holds no files", layout.root, "name the folder of the DICOM files")
    reject_absent_films(films, present)
    headers = read_headers(layout.film_folder, films.frame["path"].to_list(), layout.unread)
    films.frame = films.frame.join(headers, "path", "left", maintain_order="left")
    remarks = _name_by_file(films) if record_map.ids == "file" else []
    remarks += _check_headers(films, record_map.body_part, record_map.ids == "tags")
    _reject_twins(films, layout)
    films.frame, doubts = read_person(films.frame.with_columns(taken_at().alias("taken_at")))
    remarks += doubts
    films.blank(~pl.col("age_y").is_between(0, MAX_AGE_Y), "out of range", ("age_y",))
    return films, remarks


def _name_by_file(films: SourceTable) -> list[str]:
    """Put the name of the file for each id that the tags lack, and CR for an absent modality; return a remark.

    Where two files have one name, their paths serve.
    """
    name = file_name(pl.col("path")).str.split("/").list.last()
    is_unique = films.frame.select(name.n_unique()).item() == films.frame.height
    name = name if is_unique else file_name(pl.col("path"))
    is_nameless = pl.col("modality").is_null() & pl.col("rule").is_null()
    is_nameless &= pl.col("sop_class_uid").fill_null(CLASSES[0]).is_in(CLASSES)
    num = films.frame.filter(is_nameless).height
    films.frame = films.frame.with_columns(
        pl.when(is_nameless).then(pl.lit("CR")).otherwise(pl.col("modality")).alias("modality"),
        name.alias("sop_instance_uid"),
        pl.coalesce("study_instance_uid", name).alias("study_instance_uid"),
        pl.coalesce("patient_id", name).alias("patient_id"),
    )
    return [f'films without Modality, taken for radiographs because of ids = "file": {num:,}'] if num else []


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(NUM_FIRST_BYTES))
    except OSError:
        return False


def _is_hidden(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".")


def _check_headers(films: SourceTable, body_part: tuple[str, ...], by_tags: bool) -> list[str]:
    """Reject files that are not radiographs, rule by rule, and return remarks on accepted but doubtful ones."""
    for rule in films.frame["rule"].drop_nulls().unique().sort():
        films.reject(pl.col("rule") == rule, rule)
    is_radiograph = pl.col("modality").is_in(MODALITIES)
    is_capture = pl.col("sop_class_uid").fill_null("").str.starts_with(SECONDARY_CAPTURE)
    films.reject(is_capture & ~is_radiograph.fill_null(False), "secondary capture", "SOPClassUID")
    films.reject(~is_radiograph.fill_null(False), "not CR or DX", "Modality")
    uids = (("sop_instance_uid", "SOPInstanceUID"), ("study_instance_uid", "StudyInstanceUID"))
    for column, tag in uids if by_tags else ():
        films.reject(~pl.col(column).fill_null("").str.contains(UID), "not a UID", tag)
    films.reject(pl.min_horizontal(pl.col("rows", "columns").fill_null(0)) < 1, "no pixel size", "Rows")
    films.reject(pl.col("number_of_frames") > 1, "several frames", "NumberOfFrames")
    is_grey = pl.col("photometric_interpretation").is_in(["MONOCHROME1", "MONOCHROME2"])
    films.reject(~is_grey.fill_null(False) | (pl.col("samples_per_pixel") > 1), "not grey", "PhotometricInterpretation")
    if body_part:
        films.reject(~pl.col("body_part_examined").fill_null("").is_in(body_part), "not asked for", "BodyPartExamined")
    films.frame = films.frame.with_columns(
        pl.coalesce("patient_id", "study_instance_uid").alias("subject_id"), is_capture.alias("is_capture")
    )
    counts = {
        "films stored as secondary capture, modality CR or DX": films.frame.filter("is_capture").height,
        "films without PatientID, whose study serves as the subject": films.frame["patient_id"].null_count(),
    }
    return [f"{what}: {num:,}" for what, num in counts.items() if num]


def _reject_twins(films: SourceTable, layout: Layout) -> None:
    """Keep one of several equal files; reject all files of a SOPInstanceUID that differ: none can be preferred."""
    uid = pl.col("sop_instance_uid")
    twins = films.frame.filter(uid.is_duplicated())["path"].to_list()
    digests = {path: _hash_film(layout, path) for path in twins}
    digest = pl.col("path").replace_strict(digests, default=None, return_dtype=pl.String)
    films.frame = films.frame.with_columns(digest.alias("digest"))
    films.reject(pl.col("digest").n_unique().over(uid) > 1, "in two files that differ", "SOPInstanceUID")
    films.reject(uid.is_duplicated() & (pl.col("line") != pl.col("line").min().over(uid)), "the same file again")
    num_owners = pl.col("subject_id").n_unique().over("study_instance_uid")
    films.reject(num_owners > 1, "study under two subjects", "PatientID")


def _hash_film(layout: Layout, path: str) -> str:
    """Return the SHA-256 of a file; of one that cannot be read for the moment the path, which no other file shares."""
    try:
        return hash_film(Path(path), layout.film_folder, path)
    except DecodeError:
        layout.unread.append(path)
        return path


def taken_at() -> pl.Expr:
    """Return the time of acquisition, else of the study; null where neither has both date and time."""
    pairs = (("acquisition_date", "acquisition_time"), ("study_date", "study_time"))
    return pl.coalesce(
        (read_date(date).dt.to_string("%Y%m%d") + whole_time(time)).str.to_datetime(
            "%Y%m%d%H%M%S%.6f", time_unit="us", strict=False
        )
        for date, time in pairs
    )


def _make_image(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.col("sop_instance_uid").alias("image_id"),
        pl.col("study_instance_uid").alias("study_id"),
        "subject_id",
        pl.lit(None, pl.String).alias("patient_id"),
        "path",
        "view",
        "position",
        "taken_at",
        "rows",
        "columns",
    )


def _make_given(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the features of the tags; sex O (other) is unknown."""
    return complete_given(frame.select(pl.col("sop_instance_uid").alias("image_id"), "sex", "age_y", _num_prior(frame)))


def _num_prior(frame: pl.DataFrame) -> pl.Series:
    """Return the number of the subject's earlier studies in the folder; null where one of its times is unknown."""
    start = pl.col("taken_at").min().over("study_instance_uid")
    is_timed = pl.col("taken_at").is_not_null().all().over("subject_id")
    rank = start.rank("dense").over("subject_id").cast(pl.Int64) - 1
    return frame.select(pl.when(is_timed).then(rank).alias("num_prior"))["num_prior"]
