"""MIMIC-CXR films (JPG, DICOM or resized) with MIMIC-IV hospital tables, and MIMIC-IV-ED where it is at hand.

In: one folder that holds all somewhere, or several. Out: SourceTables. Never: a column taken by its position.
Sources: MIT-LCP/mimic-code create.sql (all versions) and create-mimic-cxr-jpg-metadata.ipynb; the MIMIC-IV demo 2.2.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cxrssl.cohort.files import Folder, Layout, SourceFile, find_folder, find_one_folder, has_table, pick_file
from cxrssl.cohort.headers import read_headers, whole_time
from cxrssl.cohort.sources import (
    Hospital,
    SourceOptions,
    SourceTables,
    complete_given,
    count_values,
    reject_absent_films,
)
from cxrssl.cohort.tables.columns import Column, TableSpec
from cxrssl.cohort.tables.peek import peek_columns
from cxrssl.cohort.tables.table import SourceTable, read_tables
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import nearest_hint, plain

OPTIONS: tuple[str, ...] = ("ehr", "films", "labels")
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
RADIOLOGIST = "mimic-cxr-2.1.0-test-set-labeled"
LABELS: dict[str, str] = {
    "chexpert": "CheXpert labeller",
    "negbio": "NegBio labeller",
    "radiologist": "CheXpert labeller, radiologists in the 2.1.0 test set",
}
"""What `--labels` takes, and what it means."""
RECORD_LIST = "cxr-record-list"
SUFFIXES = (".jpg", ".jpeg", ".png", ".dcm")
"""Of films, the one that is taken first when a film is there in several forms."""
# Rows of patients, admissions and icustays. Source: validate.sql of mimic-code, and the demo's own files.
ROWS_OF_RELEASES = {
    (315_460, 454_324, 76_943): "2.0",
    (299_712, 431_231, 73_181): "2.2",
    (364_627, 546_028, 94_458): "3.1",
    (100, 275, 140): "demo 2.2",
}

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
EDSTAYS = TableSpec(
    "edstays",
    (
        SUBJECT_ID,
        Column("hadm_id", form="2[0-9]{7}", may_be_blank=True, when_bad="blank"),
        Column("stay_id", form="3[0-9]{7}"),
        Column("intime", "time"),
        Column("outtime", "time"),
        Column("arrival_transport", may_be_blank=True, when_bad="blank"),
        Column("disposition", may_be_blank=True, when_bad="blank"),
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
FINDING_COLUMNS = tuple(
    # 2.1.0's test set says Airspace Opacity.
    Column(
        name,
        "float",
        form=r"-?[01](\.0*)?",
        may_be_blank=True,
        aliases=("Airspace Opacity",) * (name == "Lung Opacity"),
    )
    for name in FINDINGS
)
# MIMIC-CXR's list of its DICOM files; what METADATA says then comes from their tags.
RECORDS = TableSpec("records", (IMAGE_ID, SUBJECT_ID, STUDY_ID), key=("dicom_id",))
CHEXPERT = TableSpec("chexpert", (SUBJECT_ID, STUDY_ID, *FINDING_COLUMNS), key=("study_id",))
RADIOLOGISTS = TableSpec("radiologists", (STUDY_ID, *FINDING_COLUMNS), key=("study_id",))
SPLIT = TableSpec(
    "split",
    (IMAGE_ID, STUDY_ID, SUBJECT_ID, Column("split", values=("train", "validate", "test"))),
    key=("dicom_id",),
)
SPECS = {
    "patients": PATIENTS,
    "admissions": ADMISSIONS,
    "icustays": ICUSTAYS,
    "edstays": EDSTAYS,
    "metadata": METADATA,
    "records": RECORDS,
    "labels": CHEXPERT,
    "radiologists": RADIOLOGISTS,
    "split": SPLIT,
}


def is_here(folder: Folder) -> bool:
    """Return whether the folder has a table of MIMIC-CXR-JPG or of MIMIC-CXR, or is that of MIMIC-IV."""
    return _is_jpg(folder) or _is_record_list(folder) or _is_ehr(folder)


def find(options: SourceOptions) -> Layout:
    """Return where the films' tables lie under `path`, MIMIC-IV and its ED module under `ehr` or `path`.

    The films lie under `films`, else beside the tables of MIMIC-CXR-JPG, else beside the record list of MIMIC-CXR.
    """
    if options.labels and options.labels not in LABELS:
        raise UsageError(
            f'there are no labels "{plain(options.labels, 60)}"', hint=nearest_hint(options.labels, LABELS)
        )
    jpg = find_folder(options.path, "MIMIC-CXR-JPG", _is_jpg)
    has_films = options.films is not None or (jpg is not None and (jpg / "files").is_dir())
    dicom = None if jpg and has_films else find_folder(options.path, "MIMIC-CXR", _is_record_list)
    picked = _Picked()
    if jpg is not None:
        _pick_jpg_tables(jpg, options.labels, picked)
    elif dicom is not None:
        _pick_record_list(dicom, options.labels, picked)
    else:
        hint = f"looked for {CXR}-metadata.csv.gz, or {RECORD_LIST}.csv.gz of the DICOM release"
        picked.missing.append(DataError("no MIMIC-CXR-JPG and no MIMIC-CXR found", options.path, hint))
    _pick_hospital_tables(options, picked)
    root = options.films or (jpg if jpg and has_films else dicom or jpg or options.path)
    return Layout(
        "mimic",
        root,
        picked.files,
        ("",) if options.films and not (root / "files").is_dir() else ("files",),
        picked.remarks,
        SUFFIXES,
        _find_versions(picked.files, jpg, options.labels),
        ("metadata",) if jpg else ("records",),
        picked.missing,
    )


@dataclass
class _Picked:
    """The files found so far, and those that should be there."""

    files: dict[str, SourceFile] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    missing: list[DataError] = field(default_factory=list)

    def pick(self, name: str, folder: Path, file: str, prefix: str = "", instead: str = "") -> None:
        try:
            self.files[name] = pick_file(folder, file, self.remarks, prefix)
        except DataError as error:
            self.missing.append(DataError(error.what, error.where, f"{error.hint}{instead}"))


def _pick_jpg_tables(folder: Path, labels: str, picked: _Picked) -> None:
    picked.pick("metadata", folder, f"{CXR}-metadata.csv", instead=f"; {RECORD_LIST}.csv.gz with DICOM films, too")
    name, other = ("negbio", "chexpert") if labels == "negbio" else ("chexpert", "negbio")
    instead = f"; or take the other labeller's with --labels {other}" if _has_any(folder, f"{CXR}-{other}") else ""
    picked.pick("labels", folder, f"{CXR}-{name}.csv", instead=instead)
    if labels == "radiologist":
        picked.pick("radiologists", folder, f"{RADIOLOGIST}.csv", instead="; it came with release 2.1.0")
    picked.pick("split", folder, f"{CXR}-split.csv")


def _pick_record_list(folder: Path, labels: str, picked: _Picked) -> None:
    if labels:
        hint = f"put {CXR}-metadata, -chexpert and -split of MIMIC-CXR-JPG under the same path"
        raise DataError("MIMIC-CXR as DICOM has no labels", folder, hint)
    picked.pick("records", folder, f"{RECORD_LIST}.csv")
    picked.remarks += [
        f"no {CXR}-metadata.csv.gz: view, size and time come from the DICOM tags",
        f"no {CXR}-chexpert.csv.gz: no findings, so good for pretraining only",
        f"no {CXR}-split.csv.gz: no official split",
    ]


def _pick_hospital_tables(options: SourceOptions, picked: _Picked) -> None:
    place = options.ehr or options.path
    looked_for = "a folder with hosp/patients.csv.gz, hosp/admissions.csv.gz and icu/icustays.csv.gz"
    try:
        ehr = find_one_folder(place, "MIMIC-IV", _is_ehr, looked_for)
    except DataError as error:
        hint = f"{error.hint}; if they lie apart, name theirs with --ehr"
        picked.missing.append(DataError(error.what, error.where, hint))
        return
    # Version 1.0 keeps patients and admissions in core/.
    hosp = "core" if not (ehr / "hosp").is_dir() or _has_any(ehr / "core", "patients") else "hosp"
    for name, folder in (("patients", hosp), ("admissions", hosp), ("icustays", "icu")):
        picked.pick(name, ehr / folder, f"{name}.csv", prefix=f"{folder}/")
    ed = find_folder(place, "MIMIC-IV-ED", _is_ed) or (
        find_folder(options.path, "MIMIC-IV-ED", _is_ed) if options.ehr else None
    )
    if ed is not None:
        picked.pick("edstays", ed / "ed", "edstays.csv", prefix="ed/")
    else:
        picked.remarks.append("no ed/edstays.csv.gz: emergency stays are known only for admitted patients")


def _find_versions(files: dict[str, SourceFile], jpg: Path | None, labels: str) -> dict[str, str]:
    """Return each part's version as far as folders and columns tell: never a guess between two."""
    columns = peek_columns(files["admissions"].path) if "admissions" in files else ()
    if "ethnicity" in columns:
        iv = "1.0 (column ethnicity)"
    elif "admit_provider_id" in columns:
        iv = "2.2 or later (column admit_provider_id)"
    elif "race" in columns:
        iv = "2.0 or 2.1 (column race, no admit_provider_id)"
    else:
        iv = "unknown"
    versions = {"MIMIC-IV": iv}
    if "edstays" in files:
        versions["MIMIC-IV-ED"] = "all versions have these columns"
    if jpg is None and "records" not in files:
        return versions
    if jpg is None:
        return versions | {"MIMIC-CXR": f"DICOM release ({RECORD_LIST})", "labels": "none"}
    has_test_labels = _has_any(jpg, RADIOLOGIST)
    versions["MIMIC-CXR-JPG"] = (
        f"2.1.0 or later ({RADIOLOGIST})" if has_test_labels else f"2.0.0, or 2.1.0 without {RADIOLOGIST}"
    )
    return versions | {"labels": LABELS[labels or "chexpert"]}


def read(layout: Layout, present: dict[str, int]) -> SourceTables:
    """Return the tables of MIMIC. A film is joined with nothing yet but their patient."""
    tables = read_tables(layout.files, SPECS)
    films = tables["metadata"] if "metadata" in tables else tables["records"]
    # Side by side: hospital and films have only the patients in common, which neither changes.
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(_check_hospital, tables)
        remarks, official = _check_film_tables(films, tables, layout, present)
        checking.result()
    image = _make_image(films)
    given = _make_given(films.frame, image, tables["patients"].frame)
    return SourceTables(
        films=films,
        others=[table for table in tables.values() if table is not films],
        image=image,
        given=given,
        labels=_make_labels(tables),
        official=official,
        hospital=_make_hospital(tables),
        views_seen=count_values(films.frame, "ViewPosition"),
        remarks=remarks + _find_remarks(tables, image, given),
        versions=layout.versions | _refine_version(tables),
    )


def _check_film_tables(
    films: SourceTable, tables: dict[str, SourceTable], layout: Layout, present: dict[str, int]
) -> tuple[list[str], pl.DataFrame | None]:
    """Leave only the films that can be used, with path, times and number of prior studies; return remarks and split."""
    _check_films(films, tables["patients"])
    remarks = _add_paths(films, present)
    if "records" in tables:
        remarks += _add_tags(films, layout.root)
    official = None
    if "labels" in tables:
        _check_owner(tables["labels"], "study_id", films)
        _check_owner(tables["split"], "dicom_id", films)
        in_cohort = tables["split"].frame.join(films.frame.select("dicom_id"), "dicom_id", "semi")
        official = in_cohort.select("subject_id", pl.col("split").replace({"validate": "val"}))
    if "radiologists" in tables:
        radiologists = tables["radiologists"]
        radiologists.reject(_is_absent("study_id", films.frame), "study without a film")
    films.frame = films.frame.with_columns(study_times(films.frame), study_days(films.frame))
    # Counted before films are left out: a study that is not on this disk was taken all the same.
    films.frame = films.frame.with_columns(count_prior(films.frame).alias("num_prior"))
    reject_absent_films(films, present)
    return remarks, official


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


def count_prior(frame: pl.DataFrame) -> pl.Series:
    """Return how many studies of the film's subject have an earlier first film; null for a study without a time."""
    studies = frame.group_by("study_id").agg(pl.col("subject_id").first(), pl.col("taken_at").min())
    earlier = pl.col("taken_at").rank("min").over("subject_id").cast(pl.Int64) - 1
    studies = studies.select("study_id", earlier.alias("num_prior"))
    return frame.select("study_id").join(studies, "study_id", "left", maintain_order="left")["num_prior"]


def _is_jpg(folder: Folder) -> bool:
    return any(has_table(folder, f"{CXR}-{name}") for name in ("metadata", "chexpert", "split"))


def _is_record_list(folder: Folder) -> bool:
    return has_table(folder, RECORD_LIST)


def _is_ed(folder: Folder) -> bool:
    return "ed" in folder.folders and _has_any(folder.path / "ed", "edstays")


def _is_ehr(folder: Folder) -> bool:
    places = {"hosp": ("patients", "admissions"), "core": ("patients", "admissions"), "icu": ("icustays",)}
    return any(_has_any(folder.path / name, stem) for name in folder.folders & set(places) for stem in places[name])


def _has_any(folder: Path, stem: str) -> bool:
    return (folder / f"{stem}.csv").is_file() or (folder / f"{stem}.csv.gz").is_file()


def _is_absent(column: str, known: pl.DataFrame) -> pl.Expr:
    return ~pl.col(column).is_in(known[column].implode())


def _check_hospital(tables: dict[str, SourceTable]) -> None:
    patients, admissions, icustays = tables["patients"], tables["admissions"], tables["icustays"]
    admissions.reject(pl.col("dischtime") < pl.col("admittime"), "dischtime before admittime")
    admissions.reject(_is_absent("subject_id", patients.frame), "subject not in patients")
    admissions.blank(pl.col("edouttime") < pl.col("edregtime"), "after edouttime", ("edregtime", "edouttime"))
    icustays.reject(pl.col("outtime") < pl.col("intime"), "outtime before intime")
    icustays.reject(_is_absent("subject_id", patients.frame), "subject not in patients")
    icustays.reject(_is_absent("hadm_id", admissions.frame), "admission not in admissions")
    _check_owner(icustays, "hadm_id", admissions)
    if "edstays" in tables:
        edstays = tables["edstays"]
        edstays.reject(pl.col("outtime") < pl.col("intime"), "outtime before intime")
        edstays.reject(_is_absent("subject_id", patients.frame), "subject not in patients")
        _check_owner(edstays, "hadm_id", admissions)
        # The visit took place, whatever it led to.
        edstays.blank(_is_absent("hadm_id", admissions.frame), "not in admissions", ("hadm_id",))


def _check_owner(table: SourceTable, key: str, truth: SourceTable) -> None:
    """Reject rows that give what `key` names to another subject than `truth` does."""
    owner = truth.frame.select(key, pl.col("subject_id").alias("owner"))
    owner = owner if truth.spec.key == (key,) else owner.unique(key)
    table.frame = table.frame.join(owner, key, "left", maintain_order="left")
    table.reject(pl.col("owner") != pl.col("subject_id"), f"{key} belongs to another subject")
    table.frame = table.frame.drop("owner")


def _check_films(films: SourceTable, patients: SourceTable) -> None:
    films.reject(pl.col("subject_id").n_unique().over("study_id") > 1, "study under two subjects")
    films.reject(_is_absent("subject_id", patients.frame), "subject not in patients")


def _add_paths(films: SourceTable, present: dict[str, int]) -> list[str]:
    """Add the path of each film, found by its dicom_id, which names it in every tree; remark on films found twice."""
    paths = pl.DataFrame({"path": list(present)}, {"path": pl.String()})
    name = pl.col("path").str.split("/").list.last()
    paths = paths.with_columns(name.str.replace(r"\.[^.]*$", "").alias("dicom_id"))
    num_found = paths.height
    if paths["dicom_id"].n_unique() < num_found:
        suffix = pl.col("path").str.extract(r"(\.[^.]*)$").str.to_lowercase()
        rank = suffix.replace_strict(list(SUFFIXES), range(len(SUFFIXES)))
        paths = paths.sort(rank, "path").unique("dicom_id", keep="first")
    films.frame = films.frame.join(paths.select("dicom_id", "path"), "dicom_id", "left", maintain_order="left")
    # A film that is not there keeps the place where it belongs: files/p10/p10000032/s50414267/<dicom_id>.jpg
    folder = pl.format("files/p{}/p{}/s{}", pl.col("subject_id").str.slice(0, 2), "subject_id", "study_id")
    films.frame = films.frame.with_columns(
        pl.coalesce("path", pl.format("{}/{}.jpg", folder, "dicom_id")).alias("path")
    )
    num_twice = num_found - paths.height
    return [f"films found in several files: {num_twice:,} files were left aside"] if num_twice else []


def _add_tags(films: SourceTable, root: Path) -> list[str]:
    """Add what the metadata table would say, from the tags of the DICOM files; a file without them says nothing."""
    paths = [path for path in films.frame["path"].to_list() if (root / path).is_file()]
    tags = read_headers(root, paths).select(
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


def _make_image(films: SourceTable) -> pl.DataFrame:
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


def _make_given(frame: pl.DataFrame, image: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
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


def _make_labels(tables: dict[str, SourceTable]) -> pl.DataFrame:
    """Return the labeller's findings, and the radiologists' instead for the studies that they labelled."""
    if "labels" not in tables:
        return pl.DataFrame(schema={"study_id": pl.String()})
    columns = ["study_id", *(pl.col(name).cast(pl.Int8) for name in FINDINGS)]
    labels = tables["labels"].frame.select(columns)
    if "radiologists" not in tables:
        return labels
    theirs = tables["radiologists"].frame.select(columns)
    return pl.concat([labels.join(theirs, "study_id", "anti"), theirs])


def _make_hospital(tables: dict[str, SourceTable]) -> Hospital:
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


def _refine_version(tables: dict[str, SourceTable]) -> dict[str, str]:
    """Return MIMIC-IV's version by the rows of its tables, where they are those of one release."""
    patients, admissions, icustays = (tables[name].rows for name in ("patients", "admissions", "icustays"))
    release = ROWS_OF_RELEASES.get((patients, admissions, icustays))
    return {"MIMIC-IV": f"{release} (numbers of rows)"} if release else {}


def _find_remarks(tables: dict[str, SourceTable], image: pl.DataFrame, given: pl.DataFrame) -> list[str]:
    counts = {
        "films without a usable time": image["taken_at"].null_count(),
        "films without a usable age": given["age_y"].null_count(),
    }
    if "labels" in tables:
        split = tables["split"].frame.select(pl.col("dicom_id").alias("image_id"))
        counts |= {
            "films without a labelled study": image.join(tables["labels"].frame, "study_id", "anti").height,
            "films without a row in the split file": image.join(split, "image_id", "anti").height,
        }
    return [f"{what}: {num:,}" for what, num in counts.items() if num]
