"""Patients and their histories: admissions, ICU stays and transfers on shifted dates.

In: a seed and a patient's number. Out: a `History`, the same for every number of patients and of workers.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cxrssl.synthetic.chance import pick, scatter_id, stream
from cxrssl.synthetic.hospital import vocabulary as words
from cxrssl.synthetic.hospital.worlds import ILLNESSES, Record, draw_illness, unit_weights

MAX_PER_PATIENT = 32
"""Upper bound of admissions, stays, transfers or studies of one patient; ids are numbered within it."""


@dataclass(frozen=True)
class Patient:
    """A row of hosp/patients."""

    subject_id: int
    gender: str
    anchor_age: int
    anchor_year: int
    anchor_year_group: str
    dod: dt.date | None

    def age_at(self, when: dt.datetime) -> int:
        """Return the age that the table implies: anchor_age + year - anchor_year."""
        return self.anchor_age + when.year - self.anchor_year


@dataclass(frozen=True)
class Admission:
    """A row of hosp/admissions: its times, whether the patient died, and its other cells in table order."""

    hadm_id: int
    admittime: dt.datetime
    dischtime: dt.datetime
    deathtime: dt.datetime | None
    edregtime: dt.datetime | None
    edouttime: dt.datetime | None
    has_died: bool
    words: tuple[str, ...] = ()
    """admission_type to discharge_location, insurance, language, marital_status, race: eight cells."""


@dataclass(frozen=True)
class IcuStay:
    """A row of icu/icustays."""

    hadm_id: int
    stay_id: int
    first_careunit: str
    last_careunit: str
    intime: dt.datetime
    outtime: dt.datetime


@dataclass(frozen=True)
class History:
    """One patient's part of the hospital tables."""

    patient: Patient
    admissions: tuple[Admission, ...]
    icu_stays: tuple[IcuStay, ...]
    record: Record = "mixed"
    """What the record tells: the world that the patient lives in."""
    illness: str = ""
    """In the world `disease`, a key of ILLNESSES."""
    odds: float = 1.0
    """Of every finding, as a multiple of the usual ones: the hospital that the patient comes to."""


def draw_history(seed: int, index: int, record: Record = "mixed") -> History:
    """Return the history of patient number `index` in a world."""
    rng = stream(seed, "history", index)
    age_y = int(np.clip(rng.normal(60, 18), 18, 97))
    patient = Patient(
        subject_id=scatter_id(seed, "subject", index, 1),
        gender="F" if rng.random() < 0.47 else "M",
        anchor_age=91 if age_y > 89 else age_y,
        anchor_year=int(rng.integers(2110, 2186)),
        anchor_year_group=pick(rng, words.YEAR_GROUP),
        dod=None,
    )
    illness = draw_illness(seed, patient.subject_id) if record == "disease" else None
    admissions: list[Admission] = []
    stays: list[IcuStay] = []
    num = 0 if rng.random() < 0.15 else min(1 + int(rng.geometric(0.5)), 5) - int(rng.random() < 0.4)
    traits = (pick(rng, words.LANGUAGE), pick(rng, words.MARITAL_STATUS), pick(rng, words.RACE))
    start = dt.datetime(patient.anchor_year, 1, 1) + dt.timedelta(minutes=int(rng.integers(365 * 1440)))
    for k in range(num):
        number = index * MAX_PER_PATIENT + k
        kind = pick(rng, words.ADMISSION_TYPE)
        icu_frac = words.ICU_FRAC.get(kind, 0.1) if illness is None else ILLNESSES[illness].icu_frac
        has_icu = bool(rng.random() < icu_frac)
        has_died = bool(rng.random() < _death_frac(patient.age_at(start), has_icu))
        hadm_id = scatter_id(seed, "hadm", number, 2)
        length = rng.lognormal(math.log(_median_days(kind, has_icu, illness)), 0.7)
        admission = _draw_admission(rng, patient, hadm_id, start, kind, length, has_died, traits)
        admissions.append(admission)
        if has_icu:
            units = words.ICU_UNIT if illness is None else unit_weights(illness)
            stays += _draw_icu_stays(rng, admission, seed, index * MAX_PER_PATIENT + 2 * k, units)
        if has_died:
            break
        start = _next_start(rng, admission)
    patient = replace(patient, dod=_draw_dod(rng, patient, admissions))
    return History(patient, tuple(admissions), tuple(stays), record, illness or "")


def _median_days(kind: str, has_icu: bool, illness: str | None) -> float:
    """Return the median length of an admission: by its type, or in the world `disease` by the illness."""
    if illness is not None:
        return ILLNESSES[illness].median_days
    return 1.2 if "OBSERVATION" in kind else 7.5 if has_icu else 4.0


def _death_frac(age_y: int, has_icu: bool) -> float:
    """Return the risk to die in hospital: about 2 % on the ward, 15 % with an ICU stay, rising with age."""
    return 1 / (1 + math.exp(3.9 - 2.0 * has_icu - 0.4 * (age_y - 62) / 10))


def _next_start(rng: np.random.Generator, last: Admission) -> dt.datetime:
    """Return when the next admission begins; now and then before the last one has ended, as in the real table."""
    stay_h = (last.dischtime - last.admittime).total_seconds() / 3600
    if rng.random() < 0.06 and stay_h > 36:
        return last.dischtime - dt.timedelta(minutes=int(60 * rng.uniform(6, min(30, stay_h / 2))))
    gap_days = float(np.clip(rng.lognormal(math.log(70), 1.2), 2, 900))
    return last.dischtime + dt.timedelta(minutes=int(gap_days * 1440))


def _draw_admission(
    rng: np.random.Generator,
    patient: Patient,
    hadm_id: int,
    start: dt.datetime,
    kind: str,
    length_days: float,
    has_died: bool,
    traits: tuple[str, ...],
) -> Admission:
    stay_min = 1440 * float(np.clip(length_days, 0.3, 45))
    end = start + dt.timedelta(minutes=int(stay_min))
    has_ed = bool(rng.random() < words.ED_FRAC.get(kind, 0.0))
    ed_in, ed_out = int(rng.integers(90, 600)), int(rng.integers(30, 200))
    location = "EMERGENCY ROOM" if has_ed else pick(rng, words.ADMISSION_LOCATION)
    leaves_to = "DIED" if has_died else pick(rng, words.DISCHARGE_LOCATION)
    provider = f"P{rng.integers(100):02d}{chr(65 + int(rng.integers(26)))}{rng.integers(100):02d}"
    insurance = pick(rng, words.INSURANCE_OLD if patient.age_at(start) >= 65 else words.INSURANCE_YOUNG)
    return Admission(
        hadm_id=hadm_id,
        admittime=start,
        dischtime=end,
        deathtime=end - dt.timedelta(minutes=int(rng.integers(0, 40)) * int(rng.random() < 0.5)) if has_died else None,
        edregtime=start - dt.timedelta(minutes=ed_in) if has_ed else None,
        edouttime=start + dt.timedelta(minutes=ed_out) if has_ed else None,
        has_died=has_died,
        words=(kind, provider, location, leaves_to, insurance, *traits),
    )


def _draw_icu_stays(
    rng: np.random.Generator, admission: Admission, seed: int, number: int, units: Mapping[str, float]
) -> list[IcuStay]:
    """Return one or two stays; a few begin before the admission or end after the discharge, as in the real table."""
    begin, end = admission.admittime, admission.dischtime
    length = end - begin
    opening = rng.random()
    if opening < 0.05:
        intime = begin - dt.timedelta(seconds=int(rng.integers(120, 2700)))
    elif opening < 0.70:
        intime = (admission.edouttime or begin) + dt.timedelta(seconds=int(rng.integers(5, 3600)))
    else:
        intime = begin + length * float(rng.uniform(0.15, 0.5))
    outtime = intime + (end - intime) * float(rng.uniform(0.3, 0.75))
    if admission.has_died or rng.random() < 0.08:
        outtime = end + dt.timedelta(seconds=int(rng.integers(0, 14_400)))
    spans = [(intime, outtime)]
    if rng.random() < 0.12 and end - outtime > dt.timedelta(days=2):
        again = outtime + (end - outtime) * float(rng.uniform(0.2, 0.5))
        spans.append((again, again + (end - again) * float(rng.uniform(0.3, 0.8))))
    stays = []
    for k, (first, last) in enumerate(spans):
        unit = pick(rng, units)
        last_unit = pick(rng, units) if rng.random() < 0.08 else unit
        stay_id = scatter_id(seed, "stay", number + k, 3)
        stays.append(IcuStay(admission.hadm_id, stay_id, unit, last_unit, _to_second(first), _to_second(last)))
    return stays


def _to_second(when: dt.datetime) -> dt.datetime:
    return when.replace(microsecond=0)


def _draw_dod(rng: np.random.Generator, patient: Patient, admissions: list[Admission]) -> dt.date | None:
    """Return the date of death: in hospital, or up to a year after the last discharge, as in MIMIC-IV 2.x."""
    days, chance = int(rng.integers(3, 365)), rng.random()
    if not admissions:
        return None
    last = admissions[-1]
    if last.deathtime:
        return last.deathtime.date()
    is_dead = chance < 0.12 * math.exp(0.35 * (patient.anchor_age - 62) / 10)
    return max(a.dischtime for a in admissions).date() + dt.timedelta(days=days) if is_dead else None
