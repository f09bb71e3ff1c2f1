"""The real MIMIC-IV demo's 100 patients with films drawn for them: every link against loops over the CSV rows."""

import csv
import gzip
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from cxrssl.cohort.encoding import scale_numbers
from cxrssl.cohort.features import FEATURE_NAMES, find_feature
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.link import make_link_rule
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.workspace import Workspace
from cxrssl.synthetic import PLACEMENTS, FilmAnswer, write_films_for


def read_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Hospital:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.patients = {row["subject_id"]: row for row in read_rows(root / "hosp/patients.csv.gz")}
        self.admissions = read_rows(root / "hosp/admissions.csv.gz")
        self.stays = read_rows(root / "icu/icustays.csv.gz")

    def link(self, subject: str, when: datetime) -> tuple[str, str, str]:
        """The documented rules in the plainest words: (status, hadm_id, stay_id, hours to the nearest admission)."""
        own = [row for row in self.admissions if row["subject_id"] == subject]
        stays = [row for row in self.stays if row["subject_id"] == subject]
        in_icu = [row for row in stays if at(row["intime"]) <= when <= at(row["outtime"])]
        if in_icu:
            stay = max(in_icu, key=lambda row: row["intime"])
            return "in_icu", stay["hadm_id"], stay["stay_id"]
        inside = [row for row in own if at(row["admittime"]) <= when <= at(row["dischtime"])]
        if inside:
            latest = max(row["admittime"] for row in inside)
            earliest = min(row["dischtime"] for row in inside if row["admittime"] == latest)
            best = [row for row in inside if (row["admittime"], row["dischtime"]) == (latest, earliest)]
            return ("in_stay", best[0]["hadm_id"], "") if len(best) == 1 else ("ambiguous", "", "")
        in_ed = [row for row in own if row["edregtime"] and at(row["edregtime"]) <= when <= at(row["edouttime"])]
        if in_ed:
            return "in_ed", max(in_ed, key=lambda row: row["edregtime"])["hadm_id"], ""
        tolerance = timedelta(hours=6)
        coming = [row for row in own if at(row["admittime"]) > when]
        coming = [row for row in coming if at(row["admittime"]) - when <= tolerance
                  or (row["edouttime"] and when > at(row["edouttime"]))]  # fmt: skip
        if coming:
            earliest = min(row["admittime"] for row in coming)
            best = [row for row in coming if row["admittime"] == earliest]
            assert len(best) == 1
            return "before_stay", best[0]["hadm_id"], ""
        if not own:
            return "no_admission", "", ""
        since = [(when - at(row["dischtime"])).total_seconds() for row in own if at(row["dischtime"]) < when]
        until = [(at(row["admittime"]) - when).total_seconds() for row in own if at(row["admittime"]) > when]
        is_after = bool(since) and (not until or min(since) <= min(until))
        return ("post_discharge" if is_after else "pre_admission"), "", ""

    def link_as_published(self, subject: str, when: date) -> tuple[int, int]:
        """The published loops in the fact sheet's words: by day, a later row overwrites, no stay is 0."""
        died = in_icu = 0
        for row in self.admissions:
            if row["subject_id"] == subject and at(row["admittime"]).date() <= when <= at(row["dischtime"]).date():
                died = int(row["hospital_expire_flag"])
        for row in self.stays:
            if row["subject_id"] == subject and at(row["intime"]).date() <= when <= at(row["outtime"]).date():
                in_icu = 1
        return died, in_icu


World = tuple[Hospital, list[FilmAnswer], Cohort]


@pytest.fixture(scope="module")
def world(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    root = real_data / "mimic-iv-clinical-database-demo-2.2"
    folder = tmp_path_factory.mktemp("tables")
    answers = write_films_for(root, folder / "cxr", seed=1, film_px=48)
    summary = build_cohort(Workspace(folder / "ws").create(), IngestOptions("mimic", folder / "cxr", ehr=root))
    return Hospital(root), answers, open_cohort(summary.path)


def test_every_film_has_the_link_that_loops_over_the_tables_give(world: World) -> None:
    hospital, answers, cohort = world
    assert len(cohort) == len(answers) > 400
    for row in range(len(cohort)):
        when = datetime.fromisoformat(str(cohort.taken_at[row]))
        found = (str(cohort.link_status[row]), str(cohort.hadm_id[row]), str(cohort.stay_id[row]))
        assert found == hospital.link(str(cohort.subject_id[row]), when), cohort.image_id[row]


def test_every_placement_is_there_and_links_as_it_was_meant(world: World) -> None:
    hospital, answers, cohort = world
    left_ed = {row["hadm_id"]: at(row["edouttime"]) for row in hospital.admissions if row["edouttime"]}
    status = dict(zip(cohort.image_id.tolist(), cohort.link_status.tolist(), strict=True))
    meant = {"in_icu": "in_icu", "in_stay": "in_stay", "in_ed": "in_ed", "pre_admission": "pre_admission",
             "post_discharge": "post_discharge"}  # fmt: skip
    counts = Counter(answer.placement for answer in answers)
    assert set(counts) >= {"in_icu", "in_stay", "in_ed", "between_stays", "post_discharge"}, (counts, PLACEMENTS)
    for answer in answers:
        # A few films are placed after the emergency department was left and before the admission began.
        is_waiting = answer.placement == "in_ed" and answer.taken_at > left_ed[str(answer.hadm_id)]
        if is_waiting:
            assert status[answer.dicom_id] in ("before_stay", "in_stay", "in_icu"), answer
        elif answer.placement in meant and not answer.border:
            is_soon = status[answer.dicom_id] == "before_stay" and answer.placement == "pre_admission"
            assert is_soon or status[answer.dicom_id] == meant[answer.placement], answer


def test_ages_and_outcomes_follow_the_tables_and_ages_above_89_are_marked(world: World) -> None:
    hospital, _, cohort = world
    age, mortality = FEATURE_NAMES.index("age"), FEATURE_NAMES.index("mortality")
    died = {row["hadm_id"]: int(row["hospital_expire_flag"]) for row in hospital.admissions}
    for row in range(len(cohort)):
        patient = hospital.patients[str(cohort.subject_id[row])]
        year = int(str(cohort.taken_at[row])[:4])
        expected = int(patient["anchor_age"]) + year - int(patient["anchor_year"])
        assert cohort.ehr_values[row, age] == expected
        assert cohort.age_is_censored[row] == (int(patient["anchor_age"]) == 91)
        hadm_id = str(cohort.hadm_id[row])
        assert cohort.ehr_known[row, mortality] == bool(hadm_id)
        if hadm_id:
            assert cohort.ehr_values[row, mortality] == died[hadm_id]
    assert cohort.age_is_censored.any()
    scale = find_feature("age").scale
    assert scale is not None
    encoded = scale_numbers(cohort.ehr_values[:, age], scale)
    assert np.all((encoded >= 0) & (encoded <= 1))


def test_oddities_of_the_demo_are_counted_and_its_words_are_all_known(world: World) -> None:
    _, _, cohort = world
    assert {
        "ICU stays that begin before their admission: 2",
        "ICU stays that end after their admission: 22",
        "admissions without emergency times: 93",
    } <= set(cohort.summary["remarks"])
    assert cohort.summary["strange_words"] == {}
    for name in ("race", "insurance", "language", "marital_status", "care_unit", "ed_arrival", "prior", "los"):
        assert cohort.ehr_known[:, FEATURE_NAMES.index(name)].any(), name


def test_day_rule_gives_every_film_what_the_published_loops_give(world: World, tmp_path: Path) -> None:
    hospital, _, by_time = world
    root = by_time.root
    summary = build_cohort(Workspace(tmp_path / "ws").create(), IngestOptions("mimic", root, ehr=hospital.root,
                           rule=make_link_rule("day")))  # fmt: skip
    cohort = open_cohort(summary.path)
    columns = [FEATURE_NAMES.index(name) for name in ("mortality", "icu")]
    differs = 0
    for row in range(len(cohort)):
        when = datetime.fromisoformat(str(cohort.taken_at[row])).date()
        died, in_icu = hospital.link_as_published(str(cohort.subject_id[row]), when)
        assert cohort.ehr_values[row, columns].tolist() == [died, 1 - in_icu], cohort.image_id[row]
        differs += not np.array_equal(cohort.ehr_values[row, columns], by_time.ehr_values[row, columns])
    assert cohort.ehr_known[:, columns].all()
    assert differs > len(cohort) / 10  # the two rules give different records


def test_facts_of_the_admission_are_those_of_its_row(world: World) -> None:
    hospital, _, cohort = world
    rows = {row["hadm_id"]: row for row in hospital.admissions}
    los, since = FEATURE_NAMES.index("los"), FEATURE_NAMES.index("since_admission")
    for number in range(len(cohort)):
        hadm_id = str(cohort.hadm_id[number])
        assert cohort.ehr_known[number, los] == bool(hadm_id)
        if hadm_id:
            start, end = at(rows[hadm_id]["admittime"]), at(rows[hadm_id]["dischtime"])
            when = datetime.fromisoformat(str(cohort.taken_at[number]))
            assert cohort.ehr_values[number, los] == pytest.approx((end - start) / timedelta(days=1), abs=1e-4)
            assert cohort.ehr_known[number, since] == (when >= start)
            if when >= start:
                hours = (when - start) / timedelta(hours=1)
                assert cohort.ehr_values[number, since] == pytest.approx(hours, abs=1e-3)
