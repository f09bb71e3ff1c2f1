"""The worlds of `--record`: what the record tells of findings and of the look of films, each with its known answer."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cxrssl.core.errors import UsageError
from cxrssl.stats.metrics import auroc
from cxrssl.synthetic import RISKS, FilmKey, HospitalSpec, Record, draw_film, parse_record, write_hospital
from cxrssl.synthetic.hospital.people import History, draw_history
from cxrssl.synthetic.hospital.timeline import Film, Study, draw_studies
from cxrssl.synthetic.hospital.vocabulary import ICU_UNIT
from cxrssl.synthetic.hospital.worlds import ILLNESSES, RAISED

NUM_PATIENTS: dict[Record, int] = {"mixed": 300, "none": 300, "look": 1200, "disease": 1200}
UNTOUCHED = sorted(set(RISKS) - RAISED)
Features = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One film with its study, its person and the findings of the person's next study."""

    patient: int
    history: History
    study: Study
    film: Film
    later: Mapping[str, float] | None


def draw_rows(record: Record) -> list[Row]:
    rows = []
    for index in range(NUM_PATIENTS[record]):
        history = draw_history(0, index, record)
        studies = draw_studies(0, index, history, 320)
        laters = [study.signs for study in studies[1:]]
        for study, later in zip(studies, [*laters, None], strict=True):
            rows += [Row(index, history, study, film, later) for film in study.films]
    return rows


def one_hot(word: str, words: list[str]) -> list[float]:
    return [float(word == each) for each in words]


def person(row: Row) -> list[float]:
    patient = row.history.patient
    return [patient.gender == "M", patient.age_at(row.film.taken_at) / 100]


def projection(row: Row) -> list[float]:
    return [
        *one_hot(row.film.recorded_view, ["PA", "AP", "LATERAL", "LL"]),
        *one_hot(row.film.recorded_position, ["Erect", "Recumbent"]),
    ]


def stay(row: Row) -> list[float]:
    """Return ICU, unit and log of hours since admission, as a cohort knows them at the film."""
    units = {each.stay_id: each.first_careunit for each in row.history.icu_stays}
    begun = {each.hadm_id: each.admittime for each in row.history.admissions}
    study = row.study
    unit = units[study.stay_id] if study.stay_id else study.placement
    hours = (row.film.taken_at - begun[study.hadm_id]).total_seconds() / 3600 if study.hadm_id else 0.0
    return [*one_hot(unit, [*ICU_UNIT, "in_stay", "in_ed"]), study.hadm_id is not None, math.log1p(max(0.0, hours))]


def record(row: Row) -> list[float]:
    return [*person(row), *projection(row), *stay(row)]


def score(inputs: Features, labels: npt.NDArray[np.bool_], patient: npt.NDArray[np.int_]) -> float:
    """Return the AUROC of a linear model fitted on the first half of the patients, on the other half."""
    first = patient < np.median(patient)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(inputs[first], labels[first])
    return auroc(model.decision_function(inputs[~first]), labels[~first].astype(int))


def score_record(
    rows: list[Row], describe: Callable[[Row], list[float]], findings: list[str], of_later: bool = False
) -> float:
    """Return the mean AUROC of a part of the record for these findings, of the same study or of the next one."""
    used = [row for row in rows if not of_later or row.later is not None]
    inputs, patient = np.array([describe(row) for row in used], float), np.array([row.patient for row in used])
    signs = [(row.later or {}) if of_later else row.study.signs for row in used]
    return float(np.mean([score(inputs, np.array([each in s for s in signs]), patient) for each in findings]))


@pytest.fixture(scope="module")
def worlds() -> dict[Record, list[Row]]:
    return {world: draw_rows(world) for world in get_args(Record)}


def test_in_none_and_look_the_record_tells_nothing_about_findings(worlds: dict[Record, list[Row]]) -> None:
    for part in (person, projection, stay, record):
        assert score_record(worlds["look"], part, list(RISKS)) == pytest.approx(0.5, abs=0.035)


def test_none_and_look_have_the_same_records_and_findings(worlds: dict[Record, list[Row]]) -> None:
    for none, look in zip(worlds["none"], worlds["look"], strict=False):
        assert replace(none.history, record="look") == look.history
        assert none.study.signs == look.study.signs
        assert record(none) == record(look)


def test_in_disease_the_stay_tells_what_is_seen_now_and_later(worlds: dict[Record, list[Row]]) -> None:
    rows, raised = worlds["disease"], sorted(RAISED)
    assert score_record(rows, stay, raised) > 0.62
    assert score_record(rows, record, raised, of_later=True) > 0.62
    assert score_record(rows, person, list(RISKS)) == pytest.approx(0.5, abs=0.035)
    assert score_record(rows, record, UNTOUCHED) == pytest.approx(0.5, abs=0.08)
    assert score_record(rows, stay, raised) > score_record(rows, projection, raised) + 0.08


def test_in_disease_the_illness_decides_icu_unit_length_and_findings(worlds: dict[Record, list[Row]]) -> None:
    histories = {row.patient: row.history for row in worlds["disease"]}.values()
    for kind, illness in ILLNESSES.items():
        own = [history for history in histories if history.illness == kind]
        assert len(own) / len(histories) == pytest.approx(illness.share, abs=0.05)
        admissions = [a for history in own for a in history.admissions]
        stays = [s for history in own for s in history.icu_stays]
        with_icu = {stay.hadm_id for stay in stays}
        assert len(with_icu) / len(admissions) == pytest.approx(illness.icu_frac, abs=0.06)
        days = np.median([(a.dischtime - a.admittime).total_seconds() / 86400 for a in admissions])
        assert days == pytest.approx(illness.median_days, rel=0.2)
        if illness.units:
            assert np.mean([stay.first_careunit in illness.units for stay in stays]) > 0.85
        rows = [row for row in worlds["disease"] if row.history.illness == kind]
        others = [row for row in worlds["disease"] if row.history.illness != kind]
        for finding in illness.findings:
            here, there = (np.mean([finding in row.study.signs for row in part]) for part in (rows, others))
            assert here > 2.5 * there


def test_all_worlds_have_as_many_films_and_findings_as_the_mixed_one(worlds: dict[Record, list[Row]]) -> None:
    mixed = worlds["mixed"]
    for rows in worlds.values():
        rows = [row for row in rows if row.patient < NUM_PATIENTS["mixed"]]
        assert len(rows) == pytest.approx(len(mixed), rel=0.06)
        per_film, in_mixed = (np.mean([len(row.study.signs) for row in each]) for each in (rows, mixed))
        assert per_film == pytest.approx(in_mixed, rel=0.25)
        for view in ("PA", "AP", "LATERAL"):
            share, in_mixed = (np.mean([row.film.look.view == view for row in each]) for each in (rows, mixed))
            assert share == pytest.approx(in_mixed, abs=0.1)


@pytest.mark.parametrize(("world", "is_told"), [("look", True), ("none", False)])
def test_view_sex_and_age_of_the_record_are_seen_on_films_in_look_and_not_in_none(
    worlds: dict[Record, list[Row]], world: Record, is_told: bool
) -> None:
    rows = worlds[world][:400:2]
    films = np.stack([draw_small(row) for row in rows])
    patient = np.array([row.patient for row in rows])
    told = {
        "AP": [row.film.recorded_view == "AP" for row in rows],
        "lateral": [row.film.recorded_view in ("LATERAL", "LL") for row in rows],
        "female": [row.history.patient.gender == "F" for row in rows],
    }
    found = {name: score(films, np.array(values), patient) for name, values in told.items()}
    if is_told:
        assert found["AP"] > 0.8
        assert found["lateral"] > 0.95
        assert found["female"] > 0.65
    else:
        assert all(0.36 < value < 0.64 for value in found.values()), found


def draw_small(row: Row) -> Features:
    """Return the pixels of a row's film, drawn small."""
    look, film = row.film.look, row.film
    key = FilmKey(0, row.patient, row.study.study_id, film.film_index, look.sex, look.age_y, look.view, *(
        look.is_recumbent, 32, 32
    ))  # fmt: skip
    return draw_film(key, row.study.signs).ravel() / 255


def read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as lines:
        return list(csv.DictReader(lines))


def test_on_disk_the_record_of_none_is_that_of_look_and_the_truth_is_beside_it(tmp_path: Path) -> None:
    roots = {}
    for world in ("none", "look", "disease"):
        spec = HospitalSpec(num_patients=12, seed=3, film_px=32, record=parse_record(world))
        roots[world] = write_hospital(tmp_path / world, spec)
    none, look = roots["none"], roots["look"]
    for name in ("hosp/admissions", "hosp/patients", "hosp/transfers", "icu/icustays"):
        table = f"{name}.csv.gz"
        assert (none.ehr_root / table).read_bytes() == (look.ehr_root / table).read_bytes()
    labels, films = "mimic-cxr-2.0.0-chexpert.csv.gz", "mimic-cxr-2.0.0-metadata.csv.gz"
    assert (none.cxr_root / labels).read_bytes() == (look.cxr_root / labels).read_bytes()
    sizes = {"Rows", "Columns"}
    told, same = ([{k: v for k, v in row.items() if k not in sizes} for row in read(r.cxr_root / films)]
                  for r in (none, look))  # fmt: skip
    assert told == same
    truths = {world: list(csv.DictReader((summary.root / "answers.csv").open())) for world, summary in roots.items()}
    assert [row["view"] for row in truths["none"]] != [row["view"] for row in truths["look"]]
    assert {row["illness"] for row in truths["look"]} == {""}
    assert {row["illness"] for row in truths["disease"]} <= set(ILLNESSES)
    assert len({row["illness"] for row in truths["disease"]}) > 1


def test_an_unknown_world_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match='no world "looks"') as caught:
        parse_record("looks")
    assert "mixed, none, look, disease" in (caught.value.hint or "")
