"""The synthetic hospital: the same bytes each time, the published layout, and a truth that holds by brute force."""

import csv
import datetime as dt
import gzip
import hashlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from cxrssl.core.errors import DataError
from cxrssl.synthetic import LABELS, HospitalSpec, HospitalSummary, write_hospital

SPEC = HospitalSpec(num_patients=24, seed=7, film_px=64)
HEADERS = {
    "mimic-iv-2.2/hosp/patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "mimic-iv-2.2/hosp/admissions": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,"
    "admission_location,discharge_location,insurance,language,marital_status,race,edregtime,edouttime,"
    "hospital_expire_flag",
    "mimic-iv-2.2/hosp/transfers": "subject_id,hadm_id,transfer_id,eventtype,careunit,intime,outtime",
    "mimic-iv-2.2/icu/icustays": "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
    "mimic-cxr-jpg-2.0.0/mimic-cxr-2.0.0-metadata": "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,"
    "ViewPosition,Rows,Columns,StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,"
    "PatientOrientationCodeSequence_CodeMeaning",
    "mimic-cxr-jpg-2.0.0/mimic-cxr-2.0.0-chexpert": "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,"
    "Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,"
    "Pneumothorax,Support Devices",
    "mimic-cxr-jpg-2.0.0/mimic-cxr-2.0.0-split": "dicom_id,study_id,subject_id,split",
}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> HospitalSummary:
    return write_hospital(tmp_path_factory.mktemp("world") / "hospital", SPEC)


def read_rows(summary: HospitalSummary, name: str) -> list[dict[str, str]]:
    with gzip.open(summary.root / f"{name}.csv.gz", "rt", newline="") as lines:
        return list(csv.DictReader(lines))


def read_answers(summary: HospitalSummary) -> list[dict[str, str]]:
    with (summary.root / "answers.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def hash_tree(root: Path) -> dict[str, str]:
    files = (p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def iter_times(row: dict[str, str], *names: str) -> Iterator[dt.datetime]:
    return (dt.datetime.fromisoformat(row[name]) for name in names)


def test_same_seed_gives_the_same_bytes_with_two_workers(hospital: HospitalSummary, tmp_path: Path) -> None:
    again = write_hospital(tmp_path / "again", SPEC, num_workers=2)
    assert hash_tree(again.root) == hash_tree(hospital.root)


def test_another_seed_shares_no_film_and_no_table(tmp_path: Path) -> None:
    one, two = (write_hospital(tmp_path / str(s), HospitalSpec(num_patients=3, seed=s, film_px=48)) for s in (1, 2))
    assert not set(hash_tree(one.root).values()) & set(hash_tree(two.root).values())


def test_more_patients_leave_the_first_ones_as_they_were(hospital: HospitalSummary, tmp_path: Path) -> None:
    small = write_hospital(tmp_path / "small", HospitalSpec(num_patients=4, seed=SPEC.seed, film_px=SPEC.film_px))
    films, more_films = ({k: v for k, v in hash_tree(h.root).items() if k.endswith(".jpg")} for h in (small, hospital))
    assert films.items() <= more_films.items()


@pytest.mark.parametrize("name", HEADERS)
def test_columns_are_the_published_ones_in_order(hospital: HospitalSummary, name: str) -> None:
    with gzip.open(hospital.root / f"{name}.csv.gz", "rt") as lines:
        assert next(lines).rstrip("\n") == HEADERS[name]
    assert tuple(HEADERS["mimic-cxr-jpg-2.0.0/mimic-cxr-2.0.0-chexpert"].split(",")[2:]) == LABELS


def test_ids_paths_and_sizes_follow_the_published_pattern(hospital: HospitalSummary) -> None:
    rows = read_rows(hospital, "mimic-cxr-jpg-2.0.0/mimic-cxr-2.0.0-metadata")
    assert len(rows) == hospital.num_films == len({row["dicom_id"] for row in rows})
    for row in rows:
        subject, study = row["subject_id"], row["study_id"]
        assert re.fullmatch(r"1\d{7} 5\d{7}", f"{subject} {study}")
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}", row["dicom_id"])
        path = hospital.cxr_root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{row['dicom_id']}.jpg"
        with Image.open(path) as film:
            assert (film.format, film.mode, film.size) == ("JPEG", "L", (int(row["Columns"]), int(row["Rows"])))


def test_study_time_is_a_float_without_leading_zeros_that_gives_the_moment_back(hospital: HospitalSummary) -> None:
    taken_at = {a["dicom_id"]: dt.datetime.fromisoformat(a["taken_at"]) for a in read_answers(hospital)}
    for row in read_rows(hospital, "mimic-cxr-jpg-2.0.0/mimic-cxr-2.0.0-metadata"):
        assert re.fullmatch(r"[1-9]\d{0,5}\.\d+|0\.\d+", row["StudyTime"])
        clock = f"{float(row['StudyTime']):010.3f}"
        assert dt.datetime.strptime(row["StudyDate"] + clock, "%Y%m%d%H%M%S.%f") == taken_at[row["dicom_id"]]


def find_place(summary: HospitalSummary, subject_id: str, when: dt.datetime) -> tuple[str, str, str]:
    """Return (placement, hadm_id, stay_id) by reading every row of the tables."""
    admissions = [r for r in read_rows(summary, "mimic-iv-2.2/hosp/admissions") if r["subject_id"] == subject_id]
    stays = [r for r in read_rows(summary, "mimic-iv-2.2/icu/icustays") if r["subject_id"] == subject_id]
    if not admissions:
        return "no_admission", "", ""
    inside, waiting, starts, ends = [], [], [], []
    for row in admissions:
        admit, leave = iter_times(row, "admittime", "dischtime")
        register = dt.datetime.fromisoformat(row["edregtime"]) if row["edregtime"] else admit
        inside += [row["hadm_id"]] if admit <= when <= leave else []
        waiting += [row["hadm_id"]] if register <= when < admit else []
        starts.append(register)
        ends.append(leave)
    icu = []
    for row in stays:
        first, last = iter_times(row, "intime", "outtime")
        icu += [(row["hadm_id"], row["stay_id"])] if first <= when <= last else []
        starts.append(first)
        ends.append(last)
    if len({*inside, *waiting, *(hadm_id for hadm_id, _ in icu)}) > 1:
        return "ambiguous", "", ""
    if icu:
        return ("in_icu", *icu[0])
    if inside or waiting:
        return "in_stay" if inside else "in_ed", (inside + waiting)[0], ""
    if when < min(starts):
        return "pre_admission", "", ""
    return "post_discharge" if when > max(ends) else "between_stays", "", ""


def test_every_film_lies_where_its_answer_says(hospital: HospitalSummary) -> None:
    answers = read_answers(hospital)
    for answer in answers:
        found = find_place(hospital, answer["subject_id"], dt.datetime.fromisoformat(answer["taken_at"]))
        assert found == (answer["link_status"], answer["hadm_id"], answer["stay_id"]), answer
    assert len({answer["link_status"] for answer in answers}) >= 6


def test_age_and_sex_of_an_answer_are_those_of_the_patients_table(hospital: HospitalSummary) -> None:
    patients = {row["subject_id"]: row for row in read_rows(hospital, "mimic-iv-2.2/hosp/patients")}
    for answer in read_answers(hospital):
        row = patients[answer["subject_id"]]
        age = int(row["anchor_age"]) + int(answer["taken_at"][:4]) - int(row["anchor_year"])
        assert (answer["sex"], int(answer["age_y"])) == (row["gender"], age)


def test_no_patient_is_in_two_splits(hospital: HospitalSummary) -> None:
    rows = read_rows(hospital, "mimic-cxr-jpg-2.0.0/mimic-cxr-2.0.0-split")
    pairs = {(row["subject_id"], row["split"]) for row in rows}
    assert len(pairs) == len({subject for subject, _ in pairs}) == SPEC.num_patients
    assert {split for _, split in pairs} == {"train", "validate", "test"}


def test_checksums_cover_and_match_every_file_of_the_archive(hospital: HospitalSummary) -> None:
    lines = (hospital.cxr_root / "SHA256SUMS.txt").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split(" ", 1) for line in lines)}
    found = hash_tree(hospital.cxr_root)
    del found["SHA256SUMS.txt"]
    assert listed == found


def test_labels_follow_the_truth_up_to_uncertainty_and_silence(hospital: HospitalSummary) -> None:
    drawn = {answer["study_id"]: set(answer["findings"].split("|")) - {""} for answer in read_answers(hospital)}
    for row in read_rows(hospital, "mimic-cxr-jpg-2.0.0/mimic-cxr-2.0.0-chexpert"):
        truth = drawn[row["study_id"]]
        truth |= {"Lung Opacity"} if truth & {"Consolidation", "Pneumonia"} else set()
        assert row["No Finding"] == ("" if truth - {"Support Devices"} else "1.0")
        for label in set(LABELS) - {"No Finding"}:
            assert row[label] in (("1.0", "-1.0") if label in truth else ("", "0.0")), label


def test_deaths_admissions_and_transfers_agree(hospital: HospitalSummary) -> None:
    transfers = read_rows(hospital, "mimic-iv-2.2/hosp/transfers")
    for row in read_rows(hospital, "mimic-iv-2.2/hosp/admissions"):
        admit, leave = iter_times(row, "admittime", "dischtime")
        assert admit < leave
        has_died = row["hospital_expire_flag"] == "1"
        assert has_died == bool(row["deathtime"]) == (row["discharge_location"] == "DIED")
        own = [t for t in transfers if t["hadm_id"] == row["hadm_id"]]
        events = [t["eventtype"] for t in own]
        assert events.count("admit") == events.count("discharge") == 1
        assert ("ED" in events) == bool(row["edregtime"])
        assert all(
            before["outtime"] == after["intime"] or before["eventtype"] == "ED"
            for before, after in itertools.pairwise(own)
        )


def test_progress_ends_at_the_number_of_films(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    spec = HospitalSpec(num_patients=3, seed=1, film_px=48)
    summary = write_hospital(tmp_path / "h", spec, on_film=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert calls[-1] == (summary.num_films, summary.num_films)


def test_a_hospital_is_not_written_over_another(hospital: HospitalSummary) -> None:
    with pytest.raises(DataError, match="exists already"):
        write_hospital(hospital.root, SPEC)
