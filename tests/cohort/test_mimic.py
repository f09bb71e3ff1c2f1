"""The rules of MIMIC's tables, each with a row that breaks it; and the real demo tables."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.cohort.ingest import build_cohort
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.cohort.sources.mimic import study_times
from cxrssl.core.workspace import Workspace


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
    summary = build_cohort(workspace, "mimic", root).values
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
    tables = build_cohort(workspace, "mimic", world.write(tmp_path / "data")).values["tables"]
    assert tables["hosp/admissions.csv.gz"] == {
        "rows": 4,
        "accepted": 2,
        "rejected": {"dischtime before admittime": 1, "subject not in patients": 1},
        "made_unknown": {"edregtime: after edouttime": 1},
    }
    assert tables["icu/icustays.csv.gz"]["rejected"] == {
        "admission not in admissions": 1,
        "hadm_id belongs to another subject": 1,
        "outtime before intime": 1,
        "outtime: blank": 1,
    }
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
    cohort = open_cohort(build_cohort(workspace, "mimic", empty_world.write(tmp_path / "data")).path)
    age = cohort.ehr_values[0, cohort.feature_names.tolist().index("age")]
    assert age == 15 if year == 2160 else age != age


def test_ethnicity_and_core_of_version_1_are_read(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data", gz=False)
    (root / "hosp").rename(root / "core")
    path = root / "core" / "admissions.csv"
    path.write_text(path.read_text().replace(",race,", ",ethnicity,"))
    summary = build_cohort(workspace, "mimic", root)
    assert summary.values["tables"]["core/admissions.csv"]["accepted"] == 1


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
    summary = build_cohort(workspace, "mimic", tmp_path / "cxr", ehr_path=ehr)
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
    assert len({subject for subject, old in zip(cohort.subject_id, cohort.age_is_censored, strict=True) if old}) == 3
