"""Alarms: none on recorded healthy curves, one in words on a collapse or a jump; the rank of features."""

import csv
import math
from pathlib import Path

import pytest
import torch

from cxrssl.model.msn import MSN
from cxrssl.train.alarms import Watch
from cxrssl.train.health import rank_me
from tests.scale import scaled

RECORDED = Path(__file__).with_name("healthy_curves.csv")
"""Ten runs on some 400 films of the synthetic hospital; no two have seed, inputs, objective and schedule in common."""
KEYS = ("loss", "prototype_usage", "feature_std")
WITHIN = 20

Records = list[dict[str, float]]


def read_curves() -> dict[str, Records]:
    curves: dict[str, Records] = {}
    for row in csv.DictReader(RECORDED.open()):
        curves.setdefault(row["run"], []).append({key: float(row[key]) for key in KEYS})
    return curves


CURVES = read_curves()


def alarms(records: list[dict[str, float]]) -> list[tuple[int, str]]:
    watch = Watch(MSN.numbers)
    return [(step, alarm.kind) for step, record in enumerate(records) for alarm in watch.update(record)]


FAULTS = {
    "a jump that lasts": ("spike", lambda record, since: {**record, "loss": 3 * record["loss"]}),
    "a jump of one step": ("spike", lambda record, since: {**record, "loss": record["loss"] * (1 + 2 * (since == 0))}),
    "prototypes collapse": ("collapse", lambda record, since: {**record, "prototype_usage": 0.06}),
    "prototypes fade": (
        "collapse",
        lambda record, since: {**record, "prototype_usage": max(0.02, record["prototype_usage"] * 0.7**since)},
    ),
    "features collapse": ("collapse", lambda record, since: {**record, "feature_std": 0.2 * record["feature_std"]}),
}


def test_ten_different_healthy_runs_are_recorded() -> None:
    assert len(CURVES) == 10
    assert all(len(records) >= 90 for records in CURVES.values())
    assert len({tuple(record["loss"] for record in records) for records in CURVES.values()}) == 10


@pytest.mark.parametrize("run", CURVES)
def test_a_healthy_curve_raises_no_alarm(run: str) -> None:
    assert alarms(CURVES[run]) == []


@pytest.mark.fuzz
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("run", CURVES)
def test_a_fault_is_called_by_its_name_within_20_steps(run: str, fault: str) -> None:
    kind, change = FAULTS[fault]
    for first in range(20, 80, scaled(20, 1)):
        records = [change(r, step - first) if step >= first else r for step, r in enumerate(CURVES[run])]
        (step, found), *rest = alarms(records)
        assert found == kind
        assert first <= step <= first + WITHIN
        assert rest == []


def test_an_alarm_is_raised_once_until_its_cause_is_gone() -> None:
    bad = {"loss": 1.0, "prototype_usage": 0.01, "feature_std": 0.9}
    good = {"loss": 1.0, "prototype_usage": 0.9, "feature_std": 0.9}
    kinds = [kind for _, kind in alarms([bad] * 20 + [good] * 20 + [bad] * 20)]
    assert kinds == ["collapse", "collapse"]


def test_rank_is_the_number_of_equal_directions() -> None:
    assert rank_me(torch.eye(12)) == pytest.approx(12)
    assert rank_me(torch.ones(8, 5)) == pytest.approx(1, abs=1e-6)
    assert math.isnan(rank_me(torch.tensor([[1.0, math.nan], [0.0, 1.0]])))
