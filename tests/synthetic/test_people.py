"""Patients drawn in numbers, without films: oddities of the real tables and the strength of the record."""

import datetime as dt

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cxrssl.stats.metrics import auroc
from cxrssl.synthetic.hospital.findings import LABELS, true_labels
from cxrssl.synthetic.hospital.people import History, draw_history
from cxrssl.synthetic.hospital.timeline import Study, draw_studies

COMMON = ("Atelectasis", "Cardiomegaly", "Edema", "Lung Opacity", "Pleural Effusion", "Support Devices")


@pytest.fixture(scope="module")
def histories() -> list[History]:
    return [draw_history(0, index) for index in range(600)]


@pytest.fixture(scope="module")
def studies(histories: list[History]) -> list[tuple[History, Study]]:
    return [(h, s) for index, h in enumerate(histories) for s in draw_studies(0, index, h, 320)]


def test_ages_above_89_are_stored_as_91(histories: list[History]) -> None:
    ages = [h.patient.anchor_age for h in histories]
    assert 90 not in ages
    assert max(ages) == 91
    assert min(ages) == 18
    assert 0.01 < np.mean(np.array(ages) == 91) < 0.09


def test_the_oddities_of_the_real_tables_occur_and_are_few(histories: list[History]) -> None:
    admissions = {a.hadm_id: a for h in histories for a in h.admissions}
    stays = [s for h in histories for s in h.icu_stays]
    early = np.mean([s.intime < admissions[s.hadm_id].admittime for s in stays])
    late = np.mean([s.outtime > admissions[s.hadm_id].dischtime for s in stays])
    overlaps = [
        b.admittime < a.dischtime for h in histories for a, b in zip(h.admissions, h.admissions[1:], strict=False)
    ]
    died = np.mean([a.has_died for a in admissions.values()])
    assert 0 < early < 0.10
    assert 0.05 < late < 0.30
    assert 0 < np.mean(overlaps) < 0.10
    assert 0.03 < died < 0.09
    assert 0.22 < len({s.hadm_id for s in stays}) / len(admissions) < 0.38


def test_nobody_is_admitted_or_filmed_after_death(studies: list[tuple[History, Study]]) -> None:
    for history, study in studies:
        if history.patient.dod:
            end = dt.datetime.combine(history.patient.dod, dt.time.max)
            assert all(a.admittime <= end for a in history.admissions)
            assert study.films[0].taken_at <= end


def test_common_findings_are_common_and_rare_ones_rare(studies: list[tuple[History, Study]]) -> None:
    truths = [true_labels(s.signs) for _, s in studies for _ in s.films]
    for label in set(LABELS) - {"No Finding"}:
        low, high = (0.14, 0.37) if label in COMMON else (0.02, 0.11)
        assert low < np.mean([truth[label] for truth in truths]) < high, label


def test_the_record_alone_predicts_common_findings_but_not_well(studies: list[tuple[History, Study]]) -> None:
    rows = [
        (
            h.patient.gender == "M",
            f.look.age_y / 100,
            f.look.view == "PA",
            f.look.view == "AP",
            f.look.is_recumbent,
            s.stay_id is not None,
        )
        for h, s in studies
        for f in s.films
    ]
    record = np.array(rows, float)
    half = len(record) // 2
    scores = []
    for label in COMMON:
        labels = np.array([true_labels(s.signs)[label] for _, s in studies for _ in s.films])
        probe = LogisticRegression(max_iter=300).fit(record[:half], labels[:half])
        scores.append(auroc(probe.decision_function(record[half:]), labels[half:].astype(int)))
    assert 0.65 < np.mean(scores) < 0.80
