"""When and how films were taken: places in a patient's time, studies with their films, and ids.

In: a `History`. Out: `Study` rows with the truth. The rule for a place is `place_of`, and nothing else decides it.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrssl.synthetic.chance import hex_id, pick, scatter_id, stream
from cxrssl.synthetic.hospital.findings import AVERAGE, Circumstances, draw_findings
from cxrssl.synthetic.hospital.people import MAX_PER_PATIENT, Admission, History
from cxrssl.synthetic.hospital.worlds import Look, draw_looks

PLACEMENTS = {
    "in_icu": 1.0,
    "in_stay": 0.29,
    "in_ed": 0.13,
    "between_stays": 0.05,
    "post_discharge": 0.08,
    "pre_admission": 0.06,
    "ambiguous": 0.5,
}
"""Places and how often films are taken there. `in_ed`: from registration to admission; `ambiguous`: inside two
admissions.
`no_admission` (the patient has none) and `on_border` (exactly at a recorded time) are not drawn from these weights."""

BORDER_GAP = dt.timedelta(minutes=10)
"""No study starts this close to a recorded time, unless it is at that time on purpose."""


@dataclass(frozen=True)
class Film:
    """One image of a study."""

    dicom_id: str
    film_index: int
    taken_at: dt.datetime
    look: Look
    """What it shows."""
    is_portable: bool
    """Whether it was ordered at the bed; the record's word."""
    recorded_view: str
    """What the metadata say; blank in 4 %."""
    recorded_position: str
    """Erect, Recumbent, or blank in 11 %."""
    height: int
    width: int


@dataclass(frozen=True)
class Study:
    """Films of one visit to the X-ray room and the truth about them."""

    study_id: int
    placement: str
    border: str
    """The column whose time the study has, when it lies on a border."""
    hadm_id: int | None
    stay_id: int | None
    signs: dict[str, float]
    films: tuple[Film, ...]


def place_of(history: History, when: dt.datetime) -> tuple[str, int | None, int | None]:
    """Return (placement, hadm_id, stay_id) at a moment."""
    if not history.admissions:
        return "no_admission", None, None
    spans = [(span_of(history, a), a) for a in history.admissions]
    around = [a for (first, last), a in spans if first <= when <= last]
    if len(around) > 1:
        return "ambiguous", None, None
    if around:
        stay_ids = [s.stay_id for s in history.icu_stays if s.intime <= when <= s.outtime]
        if stay_ids:
            return "in_icu", around[0].hadm_id, stay_ids[0]
        return ("in_ed" if when < around[0].admittime else "in_stay"), around[0].hadm_id, None
    if when < min(first for (first, _), _ in spans):
        return "pre_admission", None, None
    is_after = when > max(last for (_, last), _ in spans)
    return ("post_discharge" if is_after else "between_stays"), None, None


def span_of(history: History, admission: Admission) -> tuple[dt.datetime, dt.datetime]:
    """Return when an admission began and ended, its emergency visit and ICU stays included."""
    stays = [s for s in history.icu_stays if s.hadm_id == admission.hadm_id]
    starts = [admission.admittime, *(s.intime for s in stays)]
    starts += [admission.edregtime] if admission.edregtime else []
    return min(starts), max([admission.dischtime, *(s.outtime for s in stays)])


def draw_time(rng: np.random.Generator, history: History, placement: str) -> dt.datetime | None:
    """Return a moment with this placement, clear of all recorded times; None if there is none."""
    borders = [t for a in history.admissions for t in (a.admittime, a.dischtime, a.edregtime, a.edouttime) if t]
    borders += [t for s in history.icu_stays for t in (s.intime, s.outtime)]
    for first, last in _windows(rng, history, placement):
        when = first + (last - first) * float(rng.random())
        when = when.replace(microsecond=when.microsecond // 1000 * 1000)
        is_clear = all(abs(when - border) > BORDER_GAP for border in borders)
        is_alive = (
            history.patient.dod is None or when.date() < history.patient.dod or placement in ("in_icu", "in_stay")
        )
        if is_clear and is_alive and place_of(history, when)[0] == placement:
            return when
    return None


def _windows(rng: np.random.Generator, history: History, placement: str) -> list[tuple[dt.datetime, dt.datetime]]:
    """Return spans to look into, in random order; some outer ones are near to a stay and some far."""
    spans = sorted(span_of(history, a) for a in history.admissions)
    far = dt.timedelta(hours=float(np.clip(rng.lognormal(math.log(150), 1.8), 3, 9000)))
    if placement == "in_icu":
        by_id = {a.hadm_id: a for a in history.admissions}
        stays = history.icu_stays
        found = [(max(s.intime, by_id[s.hadm_id].admittime), min(s.outtime, by_id[s.hadm_id].dischtime)) for s in stays]
    elif placement in ("in_stay", "ambiguous"):
        found = [(a.admittime, a.dischtime) for a in history.admissions]
        if placement == "ambiguous":
            found = [(b[0], a[1]) for a, b in itertools.pairwise(spans) if b[0] < a[1]]
    elif placement == "in_ed":
        found = [(a.edregtime, a.admittime) for a in history.admissions if a.edregtime and a.edregtime < a.admittime]
    elif placement == "between_stays":
        found = [(a[1], b[0]) for a, b in itertools.pairwise(spans) if a[1] < b[0]]
    elif placement == "no_admission":
        found = [(dt.datetime(history.patient.anchor_year, 1, 1), dt.datetime(history.patient.anchor_year + 2, 1, 1))]
    else:
        last, first = max(s[1] for s in spans), spans[0][0]
        found = [(last, last + far)] if placement == "post_discharge" else [(first - far, first)]
    order = rng.permutation(len(found)).tolist() * 6
    return [found[k] for k in order if found[k][0] < found[k][1]]


def draw_studies(seed: int, index: int, history: History, film_px: int) -> list[Study]:
    """Return a patient's studies: one to six films in all."""
    rng = stream(seed, "visits", index)
    studies: list[Study] = []
    num_left = min(6, 1 + int(rng.binomial(5, 0.45)))
    weights = PLACEMENTS if history.admissions else {"no_admission": 1.0}
    for k in range(12):
        if num_left == 0:
            break
        placement = pick(rng, weights)
        when = draw_time(rng, history, placement)
        if when is None:
            continue
        study = make_study(seed, index * MAX_PER_PATIENT + k, history, when, film_px, max_films=num_left)
        studies.append(study)
        num_left -= len(study.films)
    if studies:
        return sorted(studies, key=lambda s: s.films[0].taken_at)
    when = draw_time(rng, history, "pre_admission") or draw_time(rng, history, "in_stay")
    assert when is not None, "a patient has a time before the first admission"
    return [make_study(seed, index * MAX_PER_PATIENT + 12, history, when, film_px)]


def make_study(
    seed: int, number: int, history: History, when: dt.datetime, film_px: int, max_films: int = 2, border: str = ""
) -> Study:
    """Return the study at a moment: its films, what they show and where the patient was."""
    patient = history.patient
    study_id = scatter_id(seed, "study", number, 5)
    rng = stream(seed, "study", patient.subject_id, study_id)
    placement, hadm_id, stay_id = place_of(history, when)
    views, is_recumbent = _draw_views(rng, placement, stay_id is not None)
    has_died = any(a.has_died for a in history.admissions if a.hadm_id == hadm_id)
    looks = [Look(patient.gender, patient.age_at(when), view, is_recumbent) for view in views[:max_films]]
    who = AVERAGE
    if history.record == "mixed":
        is_male = patient.gender == "M"
        who = Circumstances(is_male, patient.age_at(when), views[0] == "AP", stay_id is not None, has_died)
    illness = history.illness if history.record == "disease" else None
    signs = draw_findings(seed, patient.subject_id, study_id, who, illness, history.odds)
    others = draw_looks(seed, patient.subject_id, study_id)
    films = []
    for k, told in enumerate(looks):
        taken_at = when + dt.timedelta(milliseconds=int(rng.integers(60_000, 300_000)) * k)
        film = _draw_film(rng, taken_at, told, next(others) if history.record == "none" else told, film_px)
        films.append(replace(film, dicom_id=hex_id(seed, patient.subject_id, study_id, k), film_index=k))
    return Study(study_id, "on_border" if border else placement, border, hadm_id, stay_id, signs, tuple(films))


def _draw_views(rng: np.random.Generator, placement: str, is_icu: bool) -> tuple[Sequence[str], bool]:
    """Return the views and whether the patient lies: AP in bed, PA and lateral for those who can stand."""
    portable_frac = 0.93 if is_icu else {"in_stay": 0.5, "in_ed": 0.4, "ambiguous": 0.5}.get(placement, 0.06)
    is_portable, chance = bool(rng.random() < portable_frac), float(rng.random())
    lateral = "LL" if rng.random() < 0.12 else "LATERAL"
    if is_portable:
        return ("AP", "AP") if chance < 0.06 else ("AP",), bool(rng.random() < (0.92 if is_icu else 0.7))
    return ("PA", lateral) if chance < 0.66 else ("PA",), False


def _draw_film(rng: np.random.Generator, taken_at: dt.datetime, told: Look, look: Look, film_px: int) -> Film:
    """Return a film that looks as `look`; the record says `told`."""
    long_px = round(film_px * float(np.clip(rng.normal(1.2, 0.035), 1.08, 1.3)))
    upright_frac = {"AP": 0.2, "PA": 0.6}.get(look.view, 0.95)
    height, width = (long_px, film_px) if rng.random() < upright_frac else (film_px, long_px)
    recorded_view = "" if rng.random() < 0.04 else told.view
    position = "" if rng.random() < 0.11 else "Recumbent" if told.is_recumbent else "Erect"
    return Film("", 0, taken_at, look, told.view == "AP", recorded_view, position, height, width)
