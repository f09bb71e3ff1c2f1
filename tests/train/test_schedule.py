"""Schedules at their corners: start, end of warm-up, end."""

import pytest

from cxrssl.core.recipe import TrainSettings, load_recipe
from cxrssl.train.schedule import learning_rate, settings_at

TRAIN = TrainSettings(lr=1.0, lr_start_frac=0.2, lr_final_frac=0.0, warmup_frac=0.1)


def test_the_learning_rate_rises_linearly_then_falls_by_half_a_cosine():
    assert learning_rate(0, 100, TRAIN) == 0.2
    assert learning_rate(5, 100, TRAIN) == pytest.approx(0.6)
    assert learning_rate(10, 100, TRAIN) == 1.0
    assert learning_rate(55, 100, TRAIN) == pytest.approx(0.5)
    assert learning_rate(100, 100, TRAIN) == pytest.approx(0.0)


def test_weight_decay_and_momentum_reach_their_ends():
    first, last = settings_at(0, 100, 10, TrainSettings()), settings_at(100, 100, 10, TrainSettings())
    assert (first.weight_decay, last.weight_decay) == (pytest.approx(0.04), pytest.approx(0.4))
    assert (first.ema_momentum, last.ema_momentum) == (0.996, 1.0)


def test_the_published_schedule_holds_the_rate_within_an_epoch_and_ends_at_zero():
    train = load_recipe("paper").train
    rates = [settings_at(step, 100, 10, train).lr for step in range(100)]
    assert len(set(rates)) == 10
    assert rates[0] == 1e-4
    # Source: torch's CosineAnnealingLR with T_max = 10 epochs at epoch 5.
    assert rates[50] == pytest.approx(0.5e-4)
    assert {settings_at(step, 100, 10, train).ema_momentum for step in range(100)} == {0.996}
