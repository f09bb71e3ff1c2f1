"""The image archive on disk: films, tables and checksums of MIMIC-CXR-JPG 2.0.0, and the truth beside it.

In: visits, each a patient with all studies. Out: the folder, whose bytes do not depend on the number of workers.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.hospital.findings import LABELS, report_labels
from cxrssl.synthetic.hospital.people import History
from cxrssl.synthetic.hospital.tables import Row, write_csv_gz
from cxrssl.synthetic.hospital.timeline import Film, Study, span_of
from cxrssl.synthetic.radiograph.film import FilmKey, draw_film

METADATA = [
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
SPLIT = ["dicom_id", "study_id", "subject_id", "split"]
ANSWERS = [
    "dicom_id",
    "subject_id",
    "study_id",
    "taken_at",
    "link_status",
    "border",
    "hadm_id",
    "stay_id",
    "since_discharge_h",
    "until_admission_h",
    "sex",
    "age_y",
    "view",
    "position",
    "findings",
    "severities",
    "illness",
]
VIEW_CODE = {"PA": "postero-anterior", "AP": "antero-posterior", "LATERAL": "lateral", "LL": "left lateral", "": ""}
JPEG_QUALITY = 90
OnFilm = Callable[[int, int], None]
"""Called with (films done, films in all)."""


@dataclass(frozen=True)
class FilmAnswer:
    """The truth about one film."""

    dicom_id: str
    subject_id: int
    study_id: int
    taken_at: dt.datetime
    placement: str
    border: str
    """The column whose time the film has (`on_border`), else empty."""
    hadm_id: int | None
    stay_id: int | None
    sex: str
    """As drawn, like age, view and position: in the world `none` the record says another."""
    age_y: int
    view: str
    position: str
    signs: dict[str, float]
    """Finding as drawn -> severity."""
    illness: str
    """What raised findings and decided the stay in the world `disease`."""


@dataclass(frozen=True)
class Visit:
    """One patient with all studies: the unit of work of a worker."""

    history: History
    studies: tuple[Study, ...]

    @property
    def num_films(self) -> int:
        return sum(len(study.films) for study in self.studies)


def write_archive(
    cxr_root: Path, visits: Sequence[Visit], seed: int, on_film: OnFilm | None, num_workers: int
) -> list[FilmAnswer]:
    """Write films and tables, then SHA256SUMS.txt over all of them; return the truth of each film, in order."""
    cxr_root.mkdir(parents=True)
    digests: dict[str, str] = {}
    num_done, num_films = 0, sum(v.num_films for v in visits)
    for visit, written in zip(visits, _write_films(cxr_root, visits, seed, num_workers), strict=True):
        digests |= written
        num_done += visit.num_films
        if on_film:
            on_film(num_done, num_films)
    tables = {
        "metadata": (METADATA, [_metadata_row(v, s, f) for v in visits for s in v.studies for f in s.films]),
        "chexpert": (["subject_id", "study_id", *LABELS], [_label_row(seed, v, s) for v in visits for s in v.studies]),
        "split": (SPLIT, _split_rows(visits, seed)),
    }
    for name, (header, rows) in tables.items():
        path = cxr_root / f"mimic-cxr-2.0.0-{name}.csv.gz"
        write_csv_gz(path, header, rows)
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    lines = [f"{digest} {name}\n" for name, digest in sorted(digests.items())]
    (cxr_root / "SHA256SUMS.txt").write_text("".join(lines))
    return [_answer(v, s, f) for v in visits for s in v.studies for f in s.films]


def _write_films(cxr_root: Path, visits: Sequence[Visit], seed: int, num_workers: int) -> Iterator[dict[str, str]]:
    """Yield the checksums of each visit's films, in order of visits."""
    jobs = [(cxr_root, visit, seed) for visit in visits]
    if num_workers <= 1:
        yield from map(write_visit, jobs)
        return
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(write_visit, jobs, chunksize=4)


def write_visit(job: tuple[Path, Visit, int]) -> dict[str, str]:
    """Draw and write one patient's films; return relative path -> SHA-256."""
    cxr_root, visit, seed = job
    patient = visit.history.patient
    digests = {}
    for study in visit.studies:
        folder = Path("files", f"p{str(patient.subject_id)[:2]}", f"p{patient.subject_id}", f"s{study.study_id}")
        (cxr_root / folder).mkdir(parents=True, exist_ok=True)
        for film in study.films:
            ids = (seed, patient.subject_id, study.study_id, film.film_index)
            look = film.look
            key = FilmKey(*ids, look.sex, look.age_y, look.view, look.is_recumbent, film.height, film.width)
            jpeg = io.BytesIO()
            Image.fromarray(draw_film(key, study.signs)).save(jpeg, "JPEG", quality=JPEG_QUALITY)
            name = folder / f"{film.dicom_id}.jpg"
            (cxr_root / name).write_bytes(jpeg.getvalue())
            digests[name.as_posix()] = hashlib.sha256(jpeg.getvalue()).hexdigest()
    return digests


def _metadata_row(visit: Visit, study: Study, film: Film) -> Row:
    """Return the film's row; StudyTime is a float hhmmss.fff without leading zeros."""
    when = film.taken_at
    study_time = when.hour * 10000 + when.minute * 100 + when.second + when.microsecond / 1e6
    code = "CHEST (PORTABLE AP)" if film.is_portable else "CHEST (PA AND LAT)"
    ids = (film.dicom_id, visit.history.patient.subject_id, study.study_id)
    shape = (film.height, film.width, f"{when:%Y%m%d}", repr(round(study_time, 3)))
    return (*ids, code, film.recorded_view, *shape, code, VIEW_CODE[film.recorded_view], film.recorded_position)


def _label_row(seed: int, visit: Visit, study: Study) -> Row:
    subject_id = visit.history.patient.subject_id
    return (subject_id, study.study_id, *report_labels(seed, subject_id, study.study_id, study.signs).values())


def _split_rows(visits: Sequence[Visit], seed: int) -> list[Row]:
    """Return the split of every film: 70 % of patients train, 10 % validate, 20 % test.

    Differs: MIMIC-CXR-JPG has about 97.5, 1 and 1.5 % of films. A hospital of some hundred patients would then have a
        handful of test films and no interval worth printing.
    """
    order = stream(seed, "split").permutation(len(visits))
    rows: list[Row] = []
    for visit, rank in zip(visits, order.tolist(), strict=True):
        place = (rank + 0.5) / len(visits)
        split = "train" if place < 0.7 else "validate" if place < 0.8 else "test"
        subject_id = visit.history.patient.subject_id
        rows += [(film.dicom_id, study.study_id, subject_id, split) for study in visit.studies for film in study.films]
    return rows


def _answer(visit: Visit, study: Study, film: Film) -> FilmAnswer:
    patient = visit.history.patient
    return FilmAnswer(
        dicom_id=film.dicom_id,
        subject_id=patient.subject_id,
        study_id=study.study_id,
        taken_at=film.taken_at,
        placement=study.placement,
        border=study.border,
        hadm_id=study.hadm_id,
        stay_id=study.stay_id,
        sex=film.look.sex,
        age_y=film.look.age_y,
        view=film.look.view,
        position="Recumbent" if film.look.is_recumbent else "Erect",
        signs=study.signs,
        illness=visit.history.illness,
    )


def write_answers(path: Path, answers: Sequence[FilmAnswer], histories: Sequence[History]) -> None:
    """Write the truth of every film; findings and severities are lists joined by `|`."""
    history_of = {history.patient.subject_id: history for history in histories}
    with path.open("w", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(ANSWERS)
        for a in answers:
            where = (a.placement, a.border, a.hadm_id, a.stay_id, *_gaps_h(history_of[a.subject_id], a.taken_at))
            who = (a.sex, a.age_y, a.view, a.position)
            what = ("|".join(a.signs), "|".join(map(str, a.signs.values())), a.illness)
            taken_at = a.taken_at.isoformat(" ", "milliseconds")
            writer.writerow((a.dicom_id, a.subject_id, a.study_id, taken_at, *where, *who, *what))


def _gaps_h(history: History, when: dt.datetime) -> tuple[float | None, float | None]:
    """Return hours since the last stay ended and until the next one begins, emergency visits and ICU included."""
    spans = [span_of(history, admission) for admission in history.admissions]
    since = [(when - last).total_seconds() / 3600 for _, last in spans if last <= when]
    until = [(first - when).total_seconds() / 3600 for first, _ in spans if first >= when]
    return (round(min(since), 4) if since else None, round(min(until), 4) if until else None)
