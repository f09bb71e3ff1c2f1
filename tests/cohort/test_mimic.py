"""The rules of MIMIC's tables, each with a row that breaks it; and the real demo tables."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.cohort.sources.mimic.films import study_times
from cxrssl.cohort.sources.mimic.tables import FINDINGS
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from tests.cohort.dicom_files import write_dicom


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("21800506", "80556.875", datetime(2180, 5, 6, 8, 5, 56, 875_000)),
        ("21800506", "235959.999", datetime(2180, 5, 6, 23, 59, 59, 999_000)),
        ("21800506", "0.0", datetime(2180, 5, 6)),
        ("21800506", "7", datetime(2180, 5, 6, 0, 0, 7)),
        ("21800506.0", "130000.0", datetime(2180, 5, 6, 13)),
        ("21840229", "130000.1234567", datetime(2184, 2, 29, 13, 0, 0, 123_456)),
        ("21830229", "130000", None),
        ("21800506", "240000.0", None),
        ("21800506", "126000.0", None),
        ("21800506", "120060.0", None),
        (None, "120000.0", None),
        ("21800506", None, None),
    ],
)
def test_study_date_and_time_become_a_timestamp(date: str | None, time: str | None, expected: datetime | None) -> None:
    frame = pl.DataFrame({"StudyDate": [date], "StudyTime": [time]}, {"StudyDate": pl.String, "StudyTime": pl.String})
    assert study_times(frame).to_list() == [expected]


Break = dict[str, Any]


def test_every_rule_of_the_film_table_rejects_its_row(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    a, b = world.metadata[0]["subject_id"], world.metadata[3]["subject_id"]
    world.metadata.append({**world.metadata[0], "subject_id": b, "study_id": "50000090"})  # one image, two subjects
    twin = {**world.metadata[1], "subject_id": b}  # one study, two subjects
    world.metadata.append({**twin, "dicom_id": "-".join(["000000aa"] * 5)})
    world.metadata.append({**world.metadata[2]})  # the same row again
    world.add_film("19999999", 50, "21510302", "1.0")  # subject missing in patients
    root = world.write(tmp_path / "data")
    world.add_film(a, 60, "21510302", "1.0")
    world.write(root, films=False)  # one film not on the disk
    summary = build_cohort(workspace, IngestOptions("mimic", root)).values
    assert summary["films"]["rejected"] == {
        "dicom_id: the same key with different content": 2,
        "study under two subjects": 2,
        "dicom_id: the same row again": 1,
        "file missing": 1,
        "subject not in patients": 1,
    }
    assert (summary["films"]["seen"], summary["films"]["accepted"]) == (9, 2)


def test_every_rule_of_the_hospital_tables_rejects_its_row(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    first, second = (row["subject_id"] for row in world.patients)
    hadm_id = world.add_admission(second, 2, "2151-03-05 10:00:00", "2151-03-04 10:00:00")
    world.add_admission("19999999", 3, "2151-03-05 10:00:00", "2151-03-06 10:00:00")
    ed = {"edregtime": "2151-05-05 10:00:00", "edouttime": "2151-05-05 09:00:00"}
    world.add_admission(second, 4, "2151-05-05 10:00:00", "2151-05-06 10:00:00", **ed)
    world.add_icu(first, "20000001", 2, "2151-03-02 10:00:00", "2151-03-01 10:00:00")
    world.add_icu(first, hadm_id, 3, "2151-03-02 10:00:00", "2151-03-03 10:00:00")
    world.add_icu(second, "20000001", 4, "2151-03-02 10:00:00", "2151-03-03 10:00:00")
    world.add_icu(first, "20000001", 5, "2151-03-02 10:00:00", "")
    world.patients.append({**world.patients[0], "subject_id": "10000009", "anchor_age": "92"})
    world.chexpert[0]["subject_id"] = second
    tables = build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data"))).values["tables"]
    assert tables["hosp/admissions.csv.gz"] == {
        "rows": 4,
        "accepted": 2,
        "rejected": {"dischtime before admittime": 1, "subject not in patients": 1},
        "made_unknown": {"edregtime: after edouttime": 1},
    }
    assert tables["icu/icustays.csv.gz"]["rejected"] == {
        "hadm_id belongs to another subject": 1,
        "outtime before intime": 1,
        "outtime: blank": 1,
    }
    assert tables["icu/icustays.csv.gz"]["made_unknown"] == {"hadm_id: not in admissions": 1}
    assert tables["hosp/patients.csv.gz"]["rejected"] == {"anchor_age: out of range": 1}
    assert tables["mimic-cxr-2.0.0-chexpert.csv.gz"]["rejected"] == {"study_id belongs to another subject": 1}


@pytest.mark.parametrize("year", [2143, 2160])
def test_age_is_counted_from_the_anchor_and_never_negative(
    year: int, empty_world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    subject_id = empty_world.add_patient(1, anchor_age="5")
    hadm_id = empty_world.add_admission(subject_id, 1, "2151-03-01 10:00:00", "2151-03-05 12:00:00")
    empty_world.add_icu(subject_id, hadm_id, 1, "2151-03-01 10:00:00", "2151-03-05 12:00:00")
    empty_world.add_film(subject_id, 1, f"{year}0101", "1.0")
    cohort = open_cohort(build_cohort(workspace, IngestOptions("mimic", empty_world.write(tmp_path / "data"))).path)
    age = cohort.ehr_values[0, cohort.feature_names.tolist().index("age")]
    assert age == 15 if year == 2160 else age != age


def test_ethnicity_and_core_of_version_1_are_read(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data", gz=False)
    (root / "hosp").rename(root / "core")
    path = root / "core" / "admissions.csv"
    path.write_text(path.read_text().replace(",race,", ",ethnicity,"))
    summary = build_cohort(workspace, IngestOptions("mimic", root))
    assert summary.values["tables"]["core/admissions.csv"]["accepted"] == 1
    assert summary.values["versions"]["MIMIC-IV"] == "1.0 (column ethnicity)"


@pytest.mark.parametrize(
    ("old", "new", "version"),
    [
        (",admit_provider_id,", ",admit_provider_id,", "2.2 or later (column admit_provider_id)"),
        (",admit_provider_id,", ",", "2.0 or 2.1 (column race, no admit_provider_id)"),
    ],
)
def test_version_is_told_as_far_as_the_columns_tell_it(
    old: str, new: str, version: str, world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    root = world.write(tmp_path / "data", gz=False)
    path = root / "hosp" / "admissions.csv"
    header, *rows = path.read_text().splitlines()
    at = header.split(",").index("admit_provider_id")
    if old != new:
        rows = [",".join(cell for i, cell in enumerate(row.split(",")) if i != at) for row in rows]
    path.write_text("\n".join([header.replace(old, new), *rows]) + "\n")
    summary = build_cohort(workspace, IngestOptions("mimic", root)).values
    assert summary["versions"]["MIMIC-IV"] == version
    assert summary["versions"]["MIMIC-CXR-JPG"].startswith("2.0.0, or 2.1.0 without")
    assert summary["films"]["accepted"] == 4


ED_HEADER = "subject_id,hadm_id,stay_id,intime,outtime,gender,race,arrival_transport,disposition\n"


def write_ed(root: Path, *rows: str) -> None:
    (root / "ed").mkdir(parents=True)
    (root / "ed" / "edstays.csv").write_text(ED_HEADER + "".join(f"{row}\n" for row in rows))


@pytest.mark.parametrize("place", ["data/mimic-iv-ed/2.2", "data"])
def test_stays_of_the_ed_module_are_read_and_every_rule_counts(
    place: str, world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    first, second = (row["subject_id"] for row in world.patients)
    hadm_id = world.admissions[0]["hadm_id"]
    day, next_day = "2151-03-01 02:00:00", "2151-03-02 02:00:00"
    root = world.write(tmp_path / "data")
    write_ed(
        tmp_path / place,
        f"{first},{hadm_id},30000011,{day},{next_day},F,WHITE,AMBULANCE,ADMITTED",
        f"{second},,30000012,{day},{next_day},M,WHITE,WALK IN,HOME",
        f"{second},29999999,30000013,{day},{next_day},M,WHITE,WALK IN,ADMITTED",
        f"{second},{hadm_id},30000014,{day},{next_day},M,WHITE,WALK IN,ADMITTED",
        f"{second},,30000015,{next_day},{day},M,WHITE,WALK IN,HOME",
        f"19999999,,30000016,{day},{next_day},M,WHITE,WALK IN,HOME",
    )
    summary = build_cohort(workspace, IngestOptions("mimic", root))
    account = summary.values["tables"]["ed/edstays.csv"]
    assert account == {
        "rows": 6,
        "accepted": 3,
        "rejected": {
            "hadm_id belongs to another subject": 1,
            "outtime before intime": 1,
            "subject not in patients": 1,
        },
        "made_unknown": {"hadm_id: not in admissions": 1},
    }
    assert "MIMIC-IV-ED" in summary.values["versions"]
    with open_database(summary.path / "cohort.duckdb", read_only=True) as database:
        rows = database.rows("SELECT ed_stay_id, hadm_id, arrival_transport FROM ed_stay ORDER BY 1")
    assert rows == [
        ("30000011", hadm_id, "AMBULANCE"),
        ("30000012", None, "WALK IN"),
        ("30000013", None, "WALK IN"),
    ]


def test_ed_module_is_found_under_ehr_too(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    world.write(tmp_path / "cxr", ehr_root=tmp_path / "ehr" / "mimic-iv")
    write_ed(tmp_path / "ehr" / "mimic-iv-ed")
    with pytest.raises(DataError, match=r"edstays\.csv has no rows"):
        build_cohort(workspace, IngestOptions("mimic", tmp_path / "cxr", ehr=tmp_path / "ehr"))


def write_radiologists(root: Path, rows: dict[str, str]) -> None:
    names = [name.replace("Lung Opacity", "Airspace Opacity") for name in FINDINGS]
    lines = [f"{study},{','.join(cell if name == 'Edema' else '' for name in names)}" for study, cell in rows.items()]
    text = "\n".join([f"study_id,{','.join(names)}", *lines]) + "\n"
    (root / "mimic-cxr-2.1.0-test-set-labeled.csv").write_text(text)


def edema(cohort: Cohort) -> list[int]:
    values: list[int] = cohort.label_values[:, cohort.finding_names.tolist().index("Edema")].tolist()
    return values


def test_radiologists_labels_of_2_1_0_replace_the_labellers_when_asked_for(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    root = world.write(tmp_path / "data")
    write_radiologists(root, {"50000002": "0.0", "50000003": "", "59999999": "1.0"})
    automatic = build_cohort(workspace, IngestOptions("mimic", root, name="automatic"))
    assert automatic.values["versions"]["MIMIC-CXR-JPG"].startswith("2.1.0 or later")
    assert edema(open_cohort(automatic.path)) == [1, 1, 1, 1]
    asked = build_cohort(workspace, IngestOptions("mimic", root, labels="radiologist", name="radiologist"))
    assert edema(open_cohort(asked.path)) == [1, 0, -2, 1]
    account = asked.values["tables"]["mimic-cxr-2.1.0-test-set-labeled.csv"]
    assert (account["accepted"], account["rejected"]) == (2, {"study without a film": 1})
    assert "radiologists" in asked.values["versions"]["labels"]


def test_labels_of_negbio_are_offered_where_chexperts_are_missing(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    root = world.write(tmp_path / "data")
    (root / "mimic-cxr-2.0.0-chexpert.csv.gz").rename(root / "mimic-cxr-2.0.0-negbio.csv.gz")
    with pytest.raises(DataError, match=r"chexpert\.csv\.gz is missing") as caught:
        build_cohort(workspace, IngestOptions("mimic", root))
    assert "--labels negbio" in caught.value.hint
    summary = build_cohort(workspace, IngestOptions("mimic", root, labels="negbio"))
    assert summary.values["versions"]["labels"] == "NegBio labeller"
    with pytest.raises(UsageError, match='no labels "negbi"') as wrong:
        build_cohort(workspace, IngestOptions("mimic", root, labels="negbi"))
    assert "negbio" in wrong.value.hint


@pytest.mark.parametrize("place", ["files/p10/p{subject_id}/s{study_id}/{dicom_id}.png", "{dicom_id}.jpg"])
def test_resized_films_under_films_are_found_by_name(
    place: str, world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    root = world.write(tmp_path / "data", films=False)
    for row in world.metadata:
        path = tmp_path / "small" / place.format(**row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"film")
    cohort = open_cohort(build_cohort(workspace, IngestOptions("mimic", root, films=tmp_path / "small")).path)
    assert cohort.root == tmp_path / "small"
    assert cohort.path.tolist() == [place.format(**row) for row in world.metadata]


def test_film_in_two_forms_is_taken_once_and_the_rest_counted(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    film = sorted((root / "files").rglob("*.jpg"))[0]
    film.with_suffix(".dcm").write_bytes(b"dicom")
    summary = build_cohort(workspace, IngestOptions("mimic", root))
    assert all(path.endswith(".jpg") for path in open_cohort(summary.path).path.tolist())
    assert "films found in several files: 1 files were ignored" in summary.values["remarks"]


def write_dicom_release(world: Any, root: Path) -> None:
    """MIMIC-CXR itself: files/p10/p.../s.../<dicom_id>.dcm beside cxr-record-list.csv.gz."""
    lines = ["subject_id,study_id,dicom_id,path"]
    for row in world.metadata:
        path = "files/p10/p{subject_id}/s{study_id}/{dicom_id}.dcm".format(**row)
        lines.append("{subject_id},{study_id},{dicom_id},".format(**row) + path)
        write_dicom(
            root / path,
            PatientID=row["subject_id"],
            StudyDate=row["StudyDate"],
            StudyTime=row["StudyTime"].split(".")[0].zfill(6) + "." + row["StudyTime"].split(".")[1],
            ViewPosition=row["ViewPosition"],
            orientation=row.get("PatientOrientationCodeSequence_CodeMeaning", ""),
            Rows=3056,
            Columns=2544,
        )
    (root / "cxr-record-list.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))


def test_dicom_release_alone_gives_the_cohort_without_labels_and_official_split(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    jpg = open_cohort(build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "jpg"), name="jpg")).path)
    world.write(tmp_path / "unused", ehr_root=tmp_path / "data" / "mimic-iv")
    write_dicom_release(world, tmp_path / "data" / "mimic-cxr" / "2.0.0")
    cohort = open_cohort(build_cohort(workspace, IngestOptions("mimic", tmp_path / "data", name="dicom")).path)
    for name in ("image_id", "study_id", "view", "position", "taken_at", "link_status", "stay_id"):
        assert getattr(cohort, name).tolist() == getattr(jpg, name).tolist(), name
    assert cohort.path.tolist()[0].endswith(".dcm")
    assert cohort.default_split == "hash"
    assert cohort.finding_names.tolist() == []
    assert any("only for pretraining" in remark for remark in cohort.summary["remarks"])
    with pytest.raises(DataError, match="has no labels"):
        build_cohort(workspace, IngestOptions("mimic", tmp_path / "data", labels="radiologist", name="x"))


def test_tables_of_the_jpg_release_serve_the_films_of_the_dicom_release(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    files = tmp_path / "data" / "physionet.org" / "files"
    world.write(files / "mimic-cxr-jpg" / "2.0.0", ehr_root=files / "mimiciv" / "3.1", films=False)
    write_dicom_release(world, files / "mimic-cxr" / "2.0.0")
    cohort = open_cohort(build_cohort(workspace, IngestOptions("mimic", tmp_path / "data")).path)
    assert cohort.root == files / "mimic-cxr" / "2.0.0"
    assert all(path.endswith(".dcm") for path in cohort.path.tolist())
    assert cohort.default_split == "official"
    assert edema(cohort) == [1, 1, 1, 1]


def test_option_of_another_dataset_is_refused(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    for dataset in ("nih", "covid", "chexpert", "dicom"):
        with pytest.raises(UsageError, match=f"--ehr does not apply to {dataset}"):
            build_cohort(workspace, IngestOptions(dataset, root, ehr=root))


def films_at(admissions: list[dict[str, str]], icustays: list[dict[str, str]], world: Any) -> dict[str, str]:
    """Give every ICU stay and every admission one film at its start; return image -> what it was made from."""
    made, film = {}, 0
    for column, rows in (("intime", icustays), ("admittime", admissions)):
        for row in rows:
            film += 1
            when = datetime.fromisoformat(row[column])
            time = str(float(when.strftime("%H%M%S")))  # without leading zeros, as published
            made[world.add_film(row["subject_id"], film, when.strftime("%Y%m%d"), time)] = row.get("stay_id", "")
    return made


def unpack(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def demo(data: Path, empty_world: Any, workspace: Workspace, tmp_path: Path) -> tuple[Cohort, dict[str, str]]:
    """The real tables of the MIMIC-IV demo 2.2 with films that are made up."""
    ehr = data / "mimic-iv-clinical-database-demo-2.2"
    made = films_at(unpack(ehr / "hosp" / "admissions.csv.gz"), unpack(ehr / "icu" / "icustays.csv.gz"), empty_world)
    empty_world.write(tmp_path / "cxr", ehr_root=tmp_path / "unused")
    summary = build_cohort(workspace, IngestOptions("mimic", tmp_path / "cxr", ehr=ehr))
    return open_cohort(summary.path), made


def test_demo_tables_are_accepted_whole_and_link(demo: tuple[Cohort, dict[str, str]]) -> None:
    cohort, made = demo
    accounts = cohort.summary["tables"]
    assert {name: accounts[name]["accepted"] for name in list(accounts) if "/" in name} == {
        "hosp/patients.csv.gz": 100,
        "hosp/admissions.csv.gz": 275,
        "icu/icustays.csv.gz": 140,
    }
    assert all(not account["rejected"] for account in accounts.values())
    stays = dict(zip(cohort.image_id.tolist(), cohort.stay_id.tolist(), strict=True))
    assert all(stays[image_id] == stay_id for image_id, stay_id in made.items() if stay_id)
    assert set(cohort.link_status.tolist()) <= {"in_icu", "in_stay"}
    assert (cohort.link_status == "in_icu").sum() >= 140
    assert cohort.ehr_known[:, cohort.feature_names.tolist().index("mortality")].all()
    assert cohort.summary["versions"]["MIMIC-IV"] == "demo 2.2 (numbers of rows)"
    assert len({subject for subject, old in zip(cohort.subject_id, cohort.age_is_censored, strict=True) if old}) == 3
