"""The synthetic hospital on disk, in the published layout of MIMIC-IV 2.2 and MIMIC-CXR-JPG 2.0.0.

In: a spec, or an existing MIMIC-IV folder. Out: tables, films, labels, split, checksums, and the truth beside them.
Never: a byte that depends on the number of workers, the clock or the machine's name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from cxrssl.core.errors import DataError
from cxrssl.synthetic.archive import FilmAnswer, OnFilm, Visit, write_answers, write_archive
from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.hospital.events import write_events
from cxrssl.synthetic.hospital.people import MAX_PER_PATIENT, History, draw_history
from cxrssl.synthetic.hospital.tables import read_histories, write_tables
from cxrssl.synthetic.hospital.timeline import PLACEMENTS, Study, draw_studies, draw_time, make_study
from cxrssl.synthetic.hospital.worlds import Record

EHR_FOLDER, CXR_FOLDER = "mimic-iv-2.2", "mimic-cxr-jpg-2.0.0"
BORDERS = ("admittime", "dischtime", "intime", "outtime", "edregtime")
"""Columns with a time at which `write_films_for` puts films exactly."""


@dataclass(frozen=True)
class HospitalSpec:
    """What to draw."""

    num_patients: int = 400
    seed: int = 0
    film_px: int = 320
    """Short side of a film."""
    record: Record = "mixed"
    """What the record tells: the world, see `hospital.worlds`."""
    odds: float = 1.0
    """Of every finding, as a multiple of the usual ones: another hospital, where the same findings look the same."""


@dataclass(frozen=True)
class HospitalSummary:
    """What was written and where."""

    num_patients: int
    num_admissions: int
    num_icu_stays: int
    num_studies: int
    num_films: int
    root: Path
    cxr_root: Path
    ehr_root: Path


def write_hospital(
    root: Path, spec: HospitalSpec, on_film: OnFilm | None = None, num_workers: int = 1
) -> HospitalSummary:
    """Write the whole hospital under `root`; equal specs give equal bytes for any number of workers.

    Raises: DataError if a hospital is there already.
    """
    ehr_root, cxr_root = root / EHR_FOLDER, root / CXR_FOLDER
    _refuse_if_there(ehr_root, cxr_root)
    drawn = [draw_history(spec.seed, k, spec.record) for k in range(spec.num_patients)]
    histories = [replace(each, odds=spec.odds) for each in drawn]
    visits = [Visit(h, tuple(draw_studies(spec.seed, k, h, spec.film_px))) for k, h in enumerate(histories)]
    write_tables(ehr_root, histories, spec.seed)
    write_events(ehr_root, histories, spec.seed)
    answers = write_archive(cxr_root, visits, spec.seed, on_film, num_workers)
    write_answers(root / "answers.csv", answers, histories)
    return HospitalSummary(
        num_patients=len(histories),
        num_admissions=sum(len(h.admissions) for h in histories),
        num_icu_stays=sum(len(h.icu_stays) for h in histories),
        num_studies=sum(len(v.studies) for v in visits),
        num_films=len(answers),
        root=root,
        cxr_root=cxr_root,
        ehr_root=ehr_root,
    )


def write_films_for(
    ehr_root: Path, cxr_root: Path, *, seed: int = 0, film_px: int = 256, on_film: OnFilm | None = None
) -> list[FilmAnswer]:
    """Write films for the patients of an existing MIMIC-IV folder (hosp/ and icu/) and return where each was placed.

    Every patient gets three studies, at placements that take turns, and one film exactly on a border (see BORDERS).
    Raises: DataError if `cxr_root` is there already.
    """
    _refuse_if_there(cxr_root)
    histories = read_histories(ehr_root)
    visits = [Visit(h, tuple(_place_studies(seed, k, h, film_px))) for k, h in enumerate(histories)]
    return write_archive(cxr_root, visits, seed, on_film, num_workers=1)


def _refuse_if_there(*folders: Path) -> None:
    for folder in folders:
        if folder.exists():
            raise DataError(
                "the folder for the synthetic data exists already", folder, "remove it or name another folder"
            )


def _place_studies(seed: int, index: int, history: History, film_px: int) -> list[Study]:
    """Return three placed studies and one on a border; placements and borders take turns by the patient's number."""
    rng = stream(seed, "placed visits", index)
    names = list(PLACEMENTS) if history.admissions else ["no_admission"]
    turn = index % len(names)
    studies: list[Study] = []
    for name in names[turn:] + names[:turn]:
        when = draw_time(rng, history, name)
        if when and len(studies) < 3:
            studies.append(make_study(seed, index * MAX_PER_PATIENT + len(studies), history, when, film_px))
    border, moments = BORDERS[index % len(BORDERS)], []
    if border in ("intime", "outtime"):
        moments = [getattr(stay, border) for stay in history.icu_stays]
    moments = [m for m in moments or [getattr(a, border, None) for a in history.admissions] if m]
    if moments:
        number = index * MAX_PER_PATIENT + 4
        when = moments[int(rng.integers(len(moments)))]
        studies.append(make_study(seed, number, history, when, film_px, max_films=1, border=border))
    return studies
