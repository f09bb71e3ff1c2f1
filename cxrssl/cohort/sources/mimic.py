"""MIMIC-CXR-JPG films with MIMIC-IV hospital tables.

In: one folder that holds both somewhere, or two. Out: SourceTables. Never: a column taken by its position.
Sources: MIT-LCP/mimic-code create.sql (all versions) and create-mimic-cxr-jpg-metadata.ipynb; the MIMIC-IV demo 2.2.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cxrssl.cohort.columns import Column, TableSpec
from cxrssl.cohort.files import Folder, Layout, SourceFile, find_one_folder, has_table, iter_folders, pick_file
from cxrssl.cohort.sources import Hospital, SourceTables, complete_given, count_values, reject_absent_films
from cxrssl.cohort.table import Table, read_table
from cxrssl.core.errors import DataError
from cxrssl.core.progress import track

# Alphabetical, as in mimic-cxr-2.0.0-chexpert.csv.
FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
CENSORED_ANCHOR_AGE = 91  # stands for every age above 89
MAX_AGE_Y = 130
CXR = "mimic-cxr-2.0.0"  # release 2.1.0 keeps these names

SUBJECT_ID = Column("subject_id", form="1[0-9]{7}")
STUDY_ID = Column("study_id", form="5[0-9]{7}")
IMAGE_ID = Column("dicom_id", form="[0-9a-f]{8}(-[0-9a-f]{8}){4}")
HADM_ID = Column("hadm_id", form="2[0-9]{7}")

PATIENTS = TableSpec(
    "patients",
    (
        SUBJECT_ID,
        Column("gender", values=("F", "M")),
        Column("anchor_age", "int", low=0, high=CENSORED_ANCHOR_AGE),
        Column("anchor_year", "int", low=1800, high=2400),
        Column("anchor_year_group", may_be_blank=True),
        Column("dod", "date", may_be_blank=True, when_bad="blank"),
    ),
    key=("subject_id",),
)
ADMISSIONS = TableSpec(
    "admissions",
    (
        SUBJECT_ID,
        HADM_ID,
        Column("admittime", "time"),
        Column("dischtime", "time"),
        Column("deathtime", "time", may_be_blank=True, when_bad="blank"),
        Column("edregtime", "time", may_be_blank=True, when_bad="blank"),
        Column("edouttime", "time", may_be_blank=True, when_bad="blank"),
        Column("admission_type", may_be_blank=True, when_bad="blank"),
        Column("admission_location", may_be_blank=True, when_bad="blank"),
        Column("discharge_location", may_be_blank=True, when_bad="blank"),
        Column("insurance", may_be_blank=True, when_bad="blank"),
        Column("language", may_be_blank=True, when_bad="blank"),
        Column("marital_status", may_be_blank=True, when_bad="blank"),
        Column("race", may_be_blank=True, when_bad="blank", aliases=("ethnicity",)),
        Column("hospital_expire_flag", values=("0", "1")),
    ),
    key=("hadm_id",),
)
ICUSTAYS = TableSpec(
    "icustays",
    (
        SUBJECT_ID,
        HADM_ID,
        Column("stay_id", form="3[0-9]{7}"),
        Column("first_careunit", may_be_blank=True, when_bad="blank"),
        Column("last_careunit", may_be_blank=True, when_bad="blank"),
        Column("intime", "time"),
        Column("outtime", "time"),
    ),
    key=("stay_id",),
)
METADATA = TableSpec(
    "metadata",
    (
        IMAGE_ID,
        SUBJECT_ID,
        STUDY_ID,
        Column("ViewPosition", may_be_blank=True, when_bad="blank"),
        Column("Rows", "int", low=1, high=65535, may_be_blank=True, when_bad="blank"),
        Column("Columns", "int", low=1, high=65535, may_be_blank=True, when_bad="blank"),
        Column("StudyDate", form=r"[0-9]{8}(\.0+)?", may_be_blank=True, when_bad="blank"),
        # hhmmss.fff as a number, so without leading zeros: 80556.875 is 08:05:56.875.
        Column("StudyTime", form=r"[0-9]{1,6}(\.[0-9]*)?", may_be_blank=True, when_bad="blank"),
        Column("PatientOrientationCodeSequence_CodeMeaning", may_be_blank=True, when_bad="blank"),
    ),
    key=("dicom_id",),
)
CHEXPERT = TableSpec(
    "chexpert",
    (SUBJECT_ID, STUDY_ID, *(Column(name, "float", form=r"-?[01](\.0*)?", may_be_blank=True) for name in FINDINGS)),
    key=("study_id",),
)
SPLIT = TableSpec(
    "split",
    (IMAGE_ID, STUDY_ID, SUBJECT_ID, Column("split", values=("train", "validate", "test"))),
    key=("dicom_id",),
)
CXR_SPECS = {spec.name: spec for spec in (METADATA, CHEXPERT, SPLIT)}
EHR_SPECS = {spec.name: spec for spec in (PATIENTS, ADMISSIONS, ICUSTAYS)}


def is_here(path: Path) -> bool:
    """Return whether the folder has a MIMIC-CXR-JPG table somewhere."""
    return any(_is_cxr(folder) for folder in iter_folders(path))


def find(path: Path, ehr_path: Path | None) -> Layout:
    """Return where MIMIC-CXR-JPG lies under `path`, and MIMIC-IV under `ehr_path` or `path`."""
    cxr = find_one_folder(path, "MIMIC-CXR-JPG", _is_cxr, f"{CXR}-metadata.csv.gz")
    looked_for = "a folder with hosp/patients.csv.gz, hosp/admissions.csv.gz and icu/icustays.csv.gz"
    try:
        ehr = find_one_folder(ehr_path or path, "MIMIC-IV", _is_ehr, looked_for)
    except DataError as error:
        raise DataError(error.what, error.where, f"{error.hint}; if they lie apart, name theirs with --ehr") from None
    remarks: list[str] = []
    files: dict[str, SourceFile] = {}
    # Version 1.0 keeps patients and admissions in core/.
    hosp = "core" if not (ehr / "hosp").is_dir() or _has_any(ehr / "core", "patients") else "hosp"
    for name, folder in (("patients", hosp), ("admissions", hosp), ("icustays", "icu")):
        files[name] = pick_file(ehr / folder, f"{name}.csv", remarks, prefix=f"{folder}/")
    for name in CXR_SPECS:
        files[name] = pick_file(cxr, f"{CXR}-{name}.csv", remarks)
    return Layout("mimic", cxr, files, ("files",), remarks)


def read(layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return the tables of MIMIC, films joined with nothing yet but their patient."""
    tables: dict[str, Table] = {}
    with track("read tables", len(layout.files), "table") as progress:
        for name, spec in {**EHR_SPECS, **CXR_SPECS}.items():
            file = layout.files[name]
            tables[name] = read_table(file.path, file.shown, spec)
            progress.advance(note=file.shown)
    _check_hospital(tables["patients"], tables["admissions"], tables["icustays"])
    films = tables["metadata"]
    _check_films(films, tables["patients"])
    _check_owner(tables["chexpert"], "study_id", films)
    _check_owner(tables["split"], "dicom_id", films)
    official = tables["split"].frame.join(films.frame.select("dicom_id"), "dicom_id", "semi")
    reject_absent_films(films, present)
    image = _make_image(films)
    given = _make_given(films.frame, image, tables["patients"].frame)
    return SourceTables(
        films=films,
        others=[table for name, table in tables.items() if name != "metadata"],
        image=image,
        given=given,
        labels=_make_labels(tables["chexpert"]),
        official=official.select("subject_id", pl.col("split").replace({"validate": "val"})),
        hospital=_make_hospital(tables),
        views_seen=count_values(films.frame, "ViewPosition"),
        remarks=_find_remarks(tables, image, given),
    )


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


def _is_cxr(folder: Folder) -> bool:
    return any(has_table(folder, f"{CXR}-{name}") for name in CXR_SPECS)


def _is_ehr(folder: Folder) -> bool:
    places = {"hosp": ("patients", "admissions"), "core": ("patients", "admissions"), "icu": ("icustays",)}
    return any(_has_any(folder.path / name, stem) for name in folder.folders & set(places) for stem in places[name])


def _has_any(folder: Path, stem: str) -> bool:
    return (folder / f"{stem}.csv").is_file() or (folder / f"{stem}.csv.gz").is_file()


def _is_absent(column: str, known: pl.DataFrame) -> pl.Expr:
    return ~pl.col(column).is_in(known[column].implode())


def _check_hospital(patients: Table, admissions: Table, icustays: Table) -> None:
    admissions.reject(pl.col("dischtime") < pl.col("admittime"), "dischtime before admittime")
    admissions.reject(_is_absent("subject_id", patients.frame), "subject not in patients")
    admissions.blank(pl.col("edouttime") < pl.col("edregtime"), "after edouttime", ("edregtime", "edouttime"))
    icustays.reject(pl.col("outtime") < pl.col("intime"), "outtime before intime")
    icustays.reject(_is_absent("subject_id", patients.frame), "subject not in patients")
    icustays.reject(_is_absent("hadm_id", admissions.frame), "admission not in admissions")
    _check_owner(icustays, "hadm_id", admissions)


def _check_owner(table: Table, key: str, truth: Table) -> None:
    """Reject rows that give what `key` names to another subject than `truth` does."""
    owner = truth.frame.select(key, pl.col("subject_id").alias("owner")).unique()
    table.frame = table.frame.join(owner, key, "left", maintain_order="left")
    table.reject(pl.col("owner") != pl.col("subject_id"), f"{key} belongs to another subject")
    table.frame = table.frame.drop("owner")


def _check_films(films: Table, patients: Table) -> None:
    films.reject(pl.col("subject_id").n_unique().over("study_id") > 1, "study under two subjects")
    films.reject(_is_absent("subject_id", patients.frame), "subject not in patients")
    # Layout of MIMIC-CXR: files/p10/p10000032/s50414267/<dicom_id>.jpg
    path = pl.format(
        "files/p{}/p{}/s{}/{}.jpg", pl.col("subject_id").str.slice(0, 2), "subject_id", "study_id", "dicom_id"
    )
    films.frame = films.frame.with_columns(path.alias("path"))


def _make_image(films: Table) -> pl.DataFrame:
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
        study_times(films.frame).alias("taken_at"),
        pl.col("Rows").alias("rows"),
        pl.col("Columns").alias("columns"),
    )


def _make_given(frame: pl.DataFrame, image: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    """Return sex and age at the film: anchor_age + (year of the film - anchor_year)."""
    date = pl.col("StudyDate").str.slice(0, 8).str.to_date("%Y%m%d", strict=False)
    age_y = (pl.col("anchor_age") + date.dt.year() - pl.col("anchor_year")).cast(pl.Float64)
    joined = frame.join(patients, "subject_id", "left", maintain_order="left")
    given = joined.select(
        pl.col("dicom_id").alias("image_id"),
        pl.col("gender").replace_strict({"M": "male", "F": "female"}, return_dtype=pl.String).alias("sex"),
        pl.when(age_y.is_between(0, MAX_AGE_Y)).then(age_y).alias("age_y"),
        (pl.col("anchor_age") == CENSORED_ANCHOR_AGE).alias("age_is_censored"),
    )
    assert given.height == image.height, "a film has exactly one patient"
    return complete_given(given)


def _make_labels(chexpert: Table) -> pl.DataFrame:
    return chexpert.frame.select("study_id", *(pl.col(name).cast(pl.Int8) for name in FINDINGS))


def _make_hospital(tables: dict[str, Table]) -> Hospital:
    sex = pl.col("gender").replace_strict({"M": "male", "F": "female"}, return_dtype=pl.String)
    patient = tables["patients"].frame.select(
        "subject_id", sex.alias("sex"), "anchor_age", "anchor_year", "anchor_year_group", "dod"
    )
    names = [column.name for column in ADMISSIONS.columns]
    admission = tables["admissions"].frame.select(names).with_columns(pl.col("hospital_expire_flag") == "1")
    icu_stay = tables["icustays"].frame.select(column.name for column in ICUSTAYS.columns)
    return Hospital(patient, admission, icu_stay)


def _find_remarks(tables: dict[str, Table], image: pl.DataFrame, given: pl.DataFrame) -> list[str]:
    split = tables["split"].frame.select(pl.col("dicom_id").alias("image_id"))
    counts = {
        "films without a labelled study": image.join(tables["chexpert"].frame, "study_id", "anti").height,
        "films without a row in the split file": image.join(split, "image_id", "anti").height,
        "films without a usable time": image["taken_at"].null_count(),
        "films without a usable age": given["age_y"].null_count(),
    }
    return [f"{what}: {num:,}" for what, num in counts.items() if num]
