"""Alarms: none on healthy curves, one in words on a collapse or a jump; the rank of features."""

import numpy as np
import pytest
import torch

from cxrssl.train.health import Watch, rank_me
from tests.scale import scaled


def curve(seed, num_steps=200):
    """Records like those of healthy runs: a noisy loss that falls, even use of the prototypes."""
    draw = np.random.default_rng(seed)
    for step in range(num_steps):
        loss = 3.0 + 1.2 * np.exp(-step / 40) + draw.normal(0, 0.08)
        usage = min(0.999, 0.93 + draw.normal(0, 0.03))
        yield {"loss": loss, "prototype_usage": usage, "feature_std": 0.87 + draw.normal(0, 0.02)}


def first_alarm(records):
    watch = Watch()
    for step, record in enumerate(records):
        for alarm in watch.update(record):
            return step, alarm
    return None, None


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(scaled(10, 100)))
def test_healthy_curves_raise_nothing_and_planted_faults_are_named_within_20_steps(seed):
    assert first_alarm(curve(seed)) == (None, None)
    for key, factor, kind in (
        ("loss", 3.0, "spike"),
        ("prototype_usage", 0.06, "collapse"),
        ("feature_std", 0.2, "collapse"),
    ):
        records = list(curve(seed))
        for record in records[100:]:
            record[key] *= factor
        step, alarm = first_alarm(records)
        assert alarm.kind == kind
        assert 100 <= step <= 120


def test_an_alarm_is_raised_once_until_its_cause_is_gone():
    watch = Watch()
    bad = {"loss": 1.0, "prototype_usage": 0.01, "feature_std": 0.9}
    good = {"loss": 1.0, "prototype_usage": 0.9, "feature_std": 0.9}
    sequence = [bad] * 20 + [good] * 20 + [bad] * 20
    kinds = [alarm.kind for record in sequence for alarm in watch.update(record)]
    assert kinds == ["collapse", "collapse"]


def test_rank_is_the_number_of_equal_directions():
    assert rank_me(torch.eye(12)) == pytest.approx(12)
    assert rank_me(torch.ones(8, 5)) == pytest.approx(1, abs=1e-6)
