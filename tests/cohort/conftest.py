"""Small worlds in the true layouts, and where the real data lie."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from cxrssl.cohort.ehr import fill_ehr
from cxrssl.cohort.features import RECORDED
from cxrssl.cohort.link import LinkRule, link_films
from cxrssl.cohort.schema import create_tables
from cxrssl.cohort.sources.mimic.tables import FINDINGS
from cxrssl.cohort.words import word_rows
from cxrssl.core.workspace import Workspace
from cxrssl.db import Database, open_database

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
PATIENT = {"anchor_age": "60", "anchor_year": "2150", "anchor_year_group": "2011 - 2013", "dod": ""}
ADMISSION_NAMES = [
    "subject_id",
    "hadm_id",
    "admittime",
    "dischtime",
    "deathtime",
    "admission_type",
    "admit_provider_id",
    "admission_location",
    "discharge_location",
    "insurance",
    "language",
    "marital_status",
    "race",
    "edregtime",
    "edouttime",
    "hospital_expire_flag",
]
ICU_NAMES = ["subject_id", "hadm_id", "stay_id", "first_careunit", "last_careunit", "intime", "outtime", "los"]
METADATA_NAMES = [
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
]


def one_pixel_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = one_pixel_jpeg()


@dataclass
class World:
    """Tables of a little MIMIC: lists of rows that a test may change before it writes them."""

    patients: list[dict[str, str]] = field(default_factory=list)
    admissions: list[dict[str, str]] = field(default_factory=list)
    icustays: list[dict[str, str]] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    chexpert: list[dict[str, str]] = field(default_factory=list)
    split: list[dict[str, str]] = field(default_factory=list)

    def add_patient(self, subject: int, gender: str = "F", **cells: str) -> str:
        subject_id = f"1{subject:07d}"
        self.patients.append({"subject_id": subject_id, "gender": gender, **PATIENT, **cells})
        return subject_id

    def add_admission(self, subject_id: str, hadm: int, start: str, end: str, died: int = 0, **cells: str) -> str:
        row = {"subject_id": subject_id, "hadm_id": f"2{hadm:07d}", "admittime": start, "dischtime": end}
        self.admissions.append({**row, "hospital_expire_flag": str(died), **cells})
        return row["hadm_id"]

    def add_icu(self, subject_id: str, hadm_id: str, stay: int, start: str, end: str) -> str:
        row = {"subject_id": subject_id, "hadm_id": hadm_id, "stay_id": f"3{stay:07d}", "intime": start, "outtime": end}
        self.icustays.append(row)
        return row["stay_id"]

    def add_film(self, subject_id: str, film: int, date: str, time: str, split: str = "train", **cells: str) -> str:
        """Add one film that is its own study, with a label row and a split row."""
        ids = {"dicom_id": "-".join([f"{film:08x}"] * 5), "subject_id": subject_id, "study_id": f"5{film:07d}"}
        row = {"ViewPosition": "PA", "Rows": "3056", "Columns": "2544", "StudyDate": date, "StudyTime": time}
        self.metadata.append({**ids, **row, **cells})
        self.chexpert.append({**ids, "Edema": "1.0", "Pneumonia": "-1.0", "No Finding": "0.0"})
        self.split.append({**ids, "split": split})
        return ids["dicom_id"]

    def write(self, root: Path, gz: bool = True, ehr_root: Path | None = None, films: bool = True) -> Path:
        ehr_root = ehr_root or root
        write_csv(ehr_root / "hosp" / "patients.csv", ["subject_id", "gender", *PATIENT], self.patients, gz)
        write_csv(ehr_root / "hosp" / "admissions.csv", ADMISSION_NAMES, self.admissions, gz)
        write_csv(ehr_root / "icu" / "icustays.csv", ICU_NAMES, self.icustays, gz)
        cxr = "mimic-cxr-2.0.0"
        write_csv(root / f"{cxr}-metadata.csv", METADATA_NAMES, self.metadata, gz)
        write_csv(root / f"{cxr}-chexpert.csv", ["subject_id", "study_id", *FINDINGS], self.chexpert, gz)
        write_csv(root / f"{cxr}-split.csv", ["dicom_id", "study_id", "subject_id", "split"], self.split, gz)
        for row in self.metadata if films else []:
            folder = root / "files" / f"p{row['subject_id'][:2]}" / f"p{row['subject_id']}" / f"s{row['study_id']}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row['dicom_id']}.jpg").write_bytes(JPEG)
        return root


def write_csv(path: Path, names: list[str], rows: list[dict[str, str]], gz: bool) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = buffer.getvalue().encode()
    if gz:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data, mtime=0))
    else:
        path.write_bytes(data)


def make_world() -> World:
    """Two patients: one with a hospital and an ICU stay and three films, one without any admission and one film."""
    world = World()
    first, second = world.add_patient(1), world.add_patient(2, "M", anchor_age="91")
    hadm_id = world.add_admission(first, 1, "2151-03-01 10:00:00", "2151-03-05 12:00:00", died=1)
    world.add_icu(first, hadm_id, 1, "2151-03-02 00:00:00", "2151-03-03 00:00:00")
    world.add_film(first, 1, "21510302", "80556.875")
    world.add_film(first, 2, "21510304", "235959.0", ViewPosition="LATERAL")
    world.add_film(first, 3, "21510306", "120000.0", PatientOrientationCodeSequence_CodeMeaning="Erect")
    world.add_film(second, 4, "21520101", "0.0", split="validate", ViewPosition="XTABLE LATERAL")
    return world


@pytest.fixture
def world() -> World:
    """The little world of `make_world`, to be changed."""
    return make_world()


@pytest.fixture
def empty_world() -> World:
    return World()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


WORDS_OF_ADMISSION = {
    feature.source.removeprefix("admission."): pl.String
    for feature in RECORDED
    if feature.source.startswith("admission.")
}
Linked = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def empty_cohort() -> Iterator[Database]:
    """A cohort database in memory that knows the words and no film; whoever fills it rolls back."""
    with open_database(None) as database:
        create_tables(database)
        database.insert("word", pl.DataFrame(word_rows(), ("feature", "word", "category"), orient="row"))
        yield database


@pytest.fixture(scope="session")
def link(empty_cohort: Database) -> Callable[..., Linked]:
    """A function: films and stays as short tuples in file order in, joined rows of link and ehr by image out.

    An admission may go on with edregtime, edouttime, whether the person died, and a dict of words.
    """

    def run(
        films: list[tuple[str, str, Any]],
        admissions: Sequence[tuple[Any, ...]] = (),
        icu_stays: Sequence[tuple[Any, ...]] = (),
        ed_stays: Sequence[tuple[Any, ...]] = (),
        rule: LinkRule = LinkRule(tolerance_h=0),  # noqa: B008
    ) -> Linked:
        database = empty_cohort
        database.execute("BEGIN")
        try:
            time = pl.Datetime("us")
            image: dict[str, Any] = {"image_id": pl.String, "subject_id": pl.String, "taken_at": time}
            image_frame = pl.DataFrame(films, image, orient="row", strict=False)
            image_frame = image_frame.with_columns(pl.col("image_id").alias("study_id"), pl.lit("p").alias("path"))
            database.insert("image", image_frame)
            given = pl.DataFrame({"image_id": image_frame["image_id"]}).with_columns(
                pl.lit(False).alias("age_is_censored")
            )
            database.insert("given_feature", given)
            admission: dict[str, Any] = dict.fromkeys(("subject_id", "hadm_id"), pl.String) | dict.fromkeys(
                ("admittime", "dischtime", "edregtime", "edouttime"), time
            )
            full = [(*row, *(None, None, False)[len(row) - 4 :])[:7] for row in admissions]
            schema = {**admission, "hospital_expire_flag": pl.Boolean}
            said = [dict.fromkeys(WORDS_OF_ADMISSION) | dict(*row[7:]) for row in admissions]
            words = pl.DataFrame(said, WORDS_OF_ADMISSION)
            lines = pl.Series("line", range(2, len(full) + 2), pl.Int64)
            database.insert("admission", pl.DataFrame(full, schema, orient="row").hstack(words).with_columns(lines))
            icu: dict[str, Any] = dict.fromkeys(("subject_id", "hadm_id", "stay_id"), pl.String) | dict.fromkeys(
                ("intime", "outtime"), time
            )
            stays = pl.DataFrame([row[:5] for row in icu_stays], icu, orient="row")
            units = [row[5] if len(row) > 5 else None for row in icu_stays]
            extra = {"first_careunit": units, "line": range(2, len(units) + 2)}
            stays = stays.hstack(pl.DataFrame(extra, {"first_careunit": pl.String, "line": pl.Int64}))
            database.insert("icu_stay", stays)
            ed: dict[str, Any] = dict.fromkeys(("subject_id", "hadm_id", "ed_stay_id"), pl.String)
            ed |= {"intime": time, "outtime": time, "arrival_transport": pl.String}
            database.insert("ed_stay", pl.DataFrame([(*row, None)[:6] for row in ed_stays], ed, orient="row"))
            link_films(database, rule)
            fill_ehr(database, rule)
            rows = database.query("SELECT link.*, ehr.* EXCLUDE (image_id) FROM link JOIN ehr USING (image_id)")
        finally:
            database.execute("ROLLBACK")
        return {row["image_id"]: row for row in rows.iter_rows(named=True)}

    return run


def hash_folder(folder: Path) -> str:
    """Return a hash of names, sizes, modes and times of change: nothing may touch a dataset."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        digest.update(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns} {status.st_mode}\n".encode())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def folder_hash() -> Callable[[Path], str]:
    return hash_folder


@pytest.fixture(scope="session")
def data() -> Path:
    """The real public data of shared/datasets.md."""
    if not DATA.is_dir():
        pytest.skip("the real data are not here")
    return DATA
