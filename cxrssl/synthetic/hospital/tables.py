"""Hospital tables on disk: the columns of MIMIC-IV 2.2 in their order, written and read back.

In: histories. Out: hosp/{patients,admissions,transfers}.csv.gz and icu/icustays.csv.gz, the same bytes each time.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cxrssl.core.errors import DataError
from cxrssl.synthetic.chance import pick, scatter_id, stream
from cxrssl.synthetic.hospital import vocabulary as words
from cxrssl.synthetic.hospital.people import MAX_PER_PATIENT, Admission, History, IcuStay, Patient

PATIENTS = ["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"]
ADMISSIONS = [
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
TRANSFERS = ["subject_id", "hadm_id", "transfer_id", "eventtype", "careunit", "intime", "outtime"]
ICUSTAYS = ["subject_id", "hadm_id", "stay_id", "first_careunit", "last_careunit", "intime", "outtime", "los"]
Row = Sequence[Any]


def write_csv_gz(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table; None becomes an empty cell, times are `yyyy-mm-dd hh:mm:ss`, and gzip carries no clock."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=6, mtime=0))


def write_tables(ehr_root: Path, histories: Sequence[History], seed: int) -> None:
    """Write the four hospital tables."""
    admissions, stays, transfers = [], [], []
    for index, history in enumerate(histories):
        subject_id = history.patient.subject_id
        admissions += [_admission_row(subject_id, a) for a in history.admissions]
        stays += [_stay_row(subject_id, s) for s in history.icu_stays]
        transfers += _transfer_rows(history, seed, index)
    hosp = ehr_root / "hosp"
    write_csv_gz(hosp / "patients.csv.gz", PATIENTS, [_patient_row(h.patient) for h in histories])
    write_csv_gz(hosp / "admissions.csv.gz", ADMISSIONS, admissions)
    write_csv_gz(hosp / "transfers.csv.gz", TRANSFERS, transfers)
    write_csv_gz(ehr_root / "icu" / "icustays.csv.gz", ICUSTAYS, stays)


def _patient_row(patient: Patient) -> Row:
    return (
        patient.subject_id,
        patient.gender,
        patient.anchor_age,
        patient.anchor_year,
        patient.anchor_year_group,
        patient.dod,
    )


def _admission_row(subject_id: int, a: Admission) -> Row:
    times = (a.admittime, a.dischtime, a.deathtime)
    return (subject_id, a.hadm_id, *times, *a.words, a.edregtime, a.edouttime, int(a.has_died))


def _stay_row(subject_id: int, s: IcuStay) -> Row:
    los = repr((s.outtime - s.intime).total_seconds() / 86400)
    return (subject_id, s.hadm_id, s.stay_id, s.first_careunit, s.last_careunit, s.intime, s.outtime, los)


def _transfer_rows(history: History, seed: int, index: int) -> list[Row]:
    """Return where the patient lay: emergency department, wards, ICU, and a discharge row without a unit or end."""
    rng = stream(seed, "transfers", index)
    rows: list[tuple[int, str, str | None, dt.datetime, dt.datetime | None]] = []
    for a in history.admissions:
        stays = sorted((s for s in history.icu_stays if s.hadm_id == a.hadm_id), key=lambda s: s.intime)
        now, end = a.edouttime or a.admittime, max([a.dischtime, *(s.outtime for s in stays)])
        if a.edregtime and a.edouttime:
            rows.append((a.hadm_id, "ED", "Emergency Department", a.edregtime, a.edouttime))
        ward, event = pick(rng, words.WARD), "admit"
        for stay in stays:
            if stay.intime > now:
                rows.append((a.hadm_id, event, ward, now, stay.intime))
                event = "transfer"
            rows.append((a.hadm_id, event, stay.first_careunit, stay.intime, stay.outtime))
            now, event = stay.outtime, "transfer"
        if end > now:
            rows.append((a.hadm_id, event, ward, now, end))
        rows.append((a.hadm_id, "discharge", None, end, None))
    number = index * MAX_PER_PATIENT
    return [
        (history.patient.subject_id, hadm_id, scatter_id(seed, "transfer", number + k, 3), *rest)
        for k, (hadm_id, *rest) in enumerate(rows)
    ]


def read_histories(ehr_root: Path) -> list[History]:
    """Return the patients of an existing MIMIC-IV folder, in order of subject_id."""
    admissions: dict[int, list[Admission]] = {}
    stays: dict[int, list[IcuStay]] = {}
    for row in _read_csv(ehr_root / "hosp" / "admissions.csv.gz"):
        ed = (_to_time(row["edregtime"]), _to_time(row["edouttime"]))
        has_died = row["hospital_expire_flag"] == "1"
        times = (dt.datetime.fromisoformat(row["admittime"]), dt.datetime.fromisoformat(row["dischtime"]))
        admission = Admission(int(row["hadm_id"]), *times, _to_time(row["deathtime"]), *ed, has_died)
        admissions.setdefault(int(row["subject_id"]), []).append(admission)
    for row in _read_csv(ehr_root / "icu" / "icustays.csv.gz"):
        units = (row["first_careunit"], row["last_careunit"])
        times = (dt.datetime.fromisoformat(row["intime"]), dt.datetime.fromisoformat(row["outtime"]))
        stays.setdefault(int(row["subject_id"]), []).append(
            IcuStay(int(row["hadm_id"]), int(row["stay_id"]), *units, *times)
        )
    histories = []
    for row in _read_csv(ehr_root / "hosp" / "patients.csv.gz"):
        subject_id, age, year = int(row["subject_id"]), int(row["anchor_age"]), int(row["anchor_year"])
        dod = dt.date.fromisoformat(row["dod"][:10]) if row["dod"] else None
        patient = Patient(subject_id, row["gender"], age, year, row["anchor_year_group"], dod)
        own = sorted(admissions.get(subject_id, []), key=lambda a: a.admittime)
        histories.append(History(patient, tuple(own), tuple(sorted(stays.get(subject_id, []), key=lambda s: s.intime))))
    return sorted(histories, key=lambda history: history.patient.subject_id)


def _to_time(cell: str) -> dt.datetime | None:
    return dt.datetime.fromisoformat(cell) if cell else None


def _read_csv(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise DataError(f"{path.name} is missing", path, "give the folder that holds hosp/ and icu/")
    with gzip.open(path, "rt", newline="") as lines:
        return list(csv.DictReader(lines))
