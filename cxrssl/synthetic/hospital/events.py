"""Tables of events of the synthetic hospital: laboratory values, bedside signs, ventilation, diagnoses.

In: histories. Out: hosp/{labevents,diagnoses_icd}.csv.gz and icu/{chartevents,procedureevents}.csv.gz, the same bytes
each time. Results are stored after they are drawn, a few never; a few have an odd unit, an impossible value or a limit
of detection in place of a number. Values follow age, intensive care and illness, and no finding of a film.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.hospital.people import MAX_PER_PATIENT, Admission, History, IcuStay
from cxrssl.synthetic.hospital.tables import write_csv_gz

LABEVENTS = [
    *("labevent_id", "subject_id", "hadm_id", "specimen_id", "itemid", "order_provider_id", "charttime", "storetime"),
    *("value", "valuenum", "valueuom", "ref_range_lower", "ref_range_upper", "flag", "priority", "comments"),
]
CHARTEVENTS = [
    *("subject_id", "hadm_id", "stay_id", "caregiver_id", "charttime", "storetime", "itemid", "value", "valuenum"),
    *("valueuom", "warning"),
]
PROCEDUREEVENTS = [
    "subject_id",
    "hadm_id",
    "stay_id",
    "starttime",
    "endtime",
    "storetime",
    "itemid",
    "value",
    "valueuom",
]
DIAGNOSES = ["subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"]
Lab = tuple[int, str, float, float, float, float]
LABS: tuple[Lab, ...] = (
    # item, unit, median, spread of its logarithm, share of draws, logarithmic rise in intensive care
    (51301, "K/uL", 8.5, 0.35, 0.95, 0.25),
    (51222, "g/dL", 11.5, 0.15, 0.95, -0.12),
    (51265, "K/uL", 215.0, 0.35, 0.95, -0.10),
    (50983, "mEq/L", 138.5, 0.025, 0.95, 0.0),
    (50971, "mEq/L", 4.1, 0.11, 0.95, 0.0),
    (50882, "mEq/L", 25.5, 0.13, 0.95, -0.08),
    (50912, "mg/dL", 0.95, 0.40, 0.95, 0.25),
    (51006, "mg/dL", 17.0, 0.45, 0.95, 0.30),
    (50931, "mg/dL", 112.0, 0.28, 0.95, 0.12),
    (50813, "mmol/L", 1.5, 0.40, 0.15, 0.35),
    (50889, "mg/L", 18.0, 1.10, 0.08, 0.50),
    (50862, "g/dL", 3.6, 0.17, 0.30, -0.15),
    (50885, "mg/dL", 0.6, 0.60, 0.35, 0.20),
    (51237, "", 1.2, 0.22, 0.40, 0.12),
    (51003, "ng/mL", 0.03, 1.10, 0.20, 0.60),
    (50963, "pg/mL", 900.0, 1.30, 0.10, 0.60),
    (50915, "ng/mL FEU", 900.0, 0.80, 0.04, 0.20),
    (50821, "mm Hg", 95.0, 0.35, 0.12, 0.10),
    (50818, "mm Hg", 41.0, 0.18, 0.12, 0.05),
    (50820, "units", 7.39, 0.007, 0.12, -0.003),
)
RAISED = {"heart": (50963, 51003), "lungs": (51301, 50889)}
"""Illness of the world `disease` -> items that it raises."""
RISE = 1.2
SIGNS = ((220045, "bpm", 84, 0.18), (220210, "insp/min", 19, 0.22), (220277, "%", 96.5, 0.02),
         (223761, "°F", 98.4, 0.008), (220179, "mmHg", 122, 0.15), (220180, "mmHg", 64, 0.17))  # fmt: skip
CODES = (("4280", 9), ("I509", 10), ("496", 9), ("J449", 10), ("25000", 9), ("E119", 10), ("5859", 9), ("N189", 10),
         ("41071", 9), ("I214", 10), ("1623", 9), ("C3490", 10), ("4019", 9), ("I10", 10), ("E785", 10))  # fmt: skip
CODES_OF_ILLNESS = {"heart": ("I509", 10), "lungs": ("J189", 10)}
MAX_DRAWS = 8
VENTILATION, ARTERIAL_LINE = 225792, 225752
Row = Sequence[Any]


def write_events(ehr_root: Path, histories: Sequence[History], seed: int) -> None:
    """Write the four tables."""
    labs: list[Row] = []
    signs: list[Row] = []
    procedures: list[Row] = []
    codes: list[Row] = []
    for index, history in enumerate(histories):
        rng = stream(seed, "events", index)
        subject_id = history.patient.subject_id
        for k, admission in enumerate(history.admissions):
            stays = [stay for stay in history.icu_stays if stay.hadm_id == admission.hadm_id]
            labs += _draw_labs(rng, history, admission, stays, index * MAX_PER_PATIENT + k)
            codes += _draw_codes(rng, history, admission)
        for stay in history.icu_stays:
            ids = (subject_id, stay.hadm_id, stay.stay_id)
            signs += [(*ids, None, *row, 0) for row in _draw_signs(rng, stay)]
            procedures.append((*ids, stay.intime, stay.outtime, stay.outtime, ARTERIAL_LINE, 1, "None"))
            if rng.random() < 0.35:
                begin = stay.intime + dt.timedelta(minutes=int(rng.integers(0, 240)))
                end = min(stay.outtime, begin + dt.timedelta(minutes=int(rng.integers(120, 4320))))
                if begin < end:
                    minutes = int((end - begin).total_seconds() // 60)
                    procedures.append((*ids, begin, end, end, VENTILATION, minutes, "min"))
    write_csv_gz(ehr_root / "hosp" / "labevents.csv.gz", LABEVENTS, labs)
    write_csv_gz(ehr_root / "hosp" / "diagnoses_icd.csv.gz", DIAGNOSES, codes)
    write_csv_gz(ehr_root / "icu" / "chartevents.csv.gz", CHARTEVENTS, signs)
    write_csv_gz(ehr_root / "icu" / "procedureevents.csv.gz", PROCEDUREEVENTS, procedures)


def _draw_labs(
    rng: np.random.Generator, history: History, admission: Admission, stays: Sequence[IcuStay], number: int
) -> list[Row]:
    """Return panels of results: the first in the emergency department or at the admission, then about one a day."""
    begin = admission.edregtime or admission.admittime
    hours = (admission.dischtime - begin).total_seconds() / 3600
    num = min(MAX_DRAWS, 1 + int(hours // 24))
    rows: list[Row] = []
    for k in range(num):
        drawn = begin + dt.timedelta(minutes=int(rng.integers(10, 90)) + int(60 * hours * k / num))
        in_icu = any(stay.intime <= drawn <= stay.outtime for stay in stays)
        for lab in LABS:
            if rng.random() < lab[4]:
                stored = drawn + dt.timedelta(minutes=int(rng.lognormal(math.log(75), 0.6)))
                cells = _write_result(rng, lab, _draw_value(rng, lab, in_icu, history))
                times = (drawn, stored if rng.random() < 0.99 else None)
                ids = (number * 1000 + len(rows), history.patient.subject_id, admission.hadm_id, number * 10 + k)
                rows.append((*ids, lab[0], None, *times, *cells))
    return rows


def _draw_value(rng: np.random.Generator, lab: Lab, in_icu: bool, history: History) -> float:
    item, _, median, spread, _, rise = lab
    shift = rise if in_icu else 0.0
    shift += RISE if item in RAISED.get(history.illness, ()) else 0.0
    if item in (50912, 51006):
        shift += 0.006 * (history.patient.anchor_age - 60)
    return median * math.exp(shift + spread * float(rng.standard_normal()))


def _write_result(rng: np.random.Generator, lab: Lab, value: float) -> Row:
    """Return value to comments."""
    item, unit = lab[:2]
    chance = rng.random()
    if item == 51003 and value < 0.01:
        return (None, None, unit, 0, 0.01, None, "ROUTINE", "<0.01.")
    if chance < 0.002:
        return ("ERROR", None, unit, None, None, None, "ROUTINE", None)
    if chance < 0.004:
        return ("9999999", 9999999, unit, None, None, "abnormal", "ROUTINE", "___")
    number: float = float(f"{value:.3g}")
    if item == 50912 and chance < 0.03:
        number, unit = round(value * 88.4), "umol/L"
    return ("___" if chance > 0.9 else number, number, unit or None, None, None, None, "ROUTINE", None)


def _draw_signs(rng: np.random.Generator, stay: IcuStay) -> list[Row]:
    """Return charttime to valueuom, about every six hours of at most four days."""
    rows: list[Row] = []
    hours = min(96.0, (stay.outtime - stay.intime).total_seconds() / 3600)
    for k in range(1 + int(hours // 6)):
        at = stay.intime + dt.timedelta(minutes=360 * k + int(rng.integers(0, 60)))
        for item, unit, median, spread in SIGNS:
            value = round(min(median * math.exp(spread * float(rng.standard_normal())), 100 if unit == "%" else 1e9), 1)
            rows.append((at, at + dt.timedelta(minutes=int(rng.integers(0, 20))), item, value, value, unit))
    return rows


def _draw_codes(rng: np.random.Generator, history: History, admission: Admission) -> list[Row]:
    chosen = [CODES[k] for k in rng.permutation(len(CODES))[: int(rng.integers(2, 7))]]
    of_illness = CODES_OF_ILLNESS.get(history.illness)
    chosen = [of_illness, *(each for each in chosen if each != of_illness)] if of_illness else chosen
    ids = (history.patient.subject_id, admission.hadm_id)
    return [(*ids, k + 1, code, version) for k, (code, version) in enumerate(chosen)]
