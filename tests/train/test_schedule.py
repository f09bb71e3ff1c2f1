"""Schedules at their corners and everywhere between, and the parameters and gradients that they reach."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxrssl.model.record import RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import TrainSettings
from cxrssl.train.schedule import StepSettings, learning_rate, momentum, settings_at, share_covered
from cxrssl.train.state import TrainState, init_state
from cxrssl.train.step import clip_gradients, set_schedule
from tests.world import TINY

TRAIN = TrainSettings(lr=1.0, lr_start_frac=0.2, lr_final_frac=0.0, warmup_frac=0.1)


def test_the_learning_rate_rises_linearly_then_falls_by_half_a_cosine() -> None:
    assert learning_rate(0, 100, TRAIN) == 0.2
    assert learning_rate(5, 100, TRAIN) == pytest.approx(0.6)
    assert learning_rate(10, 100, TRAIN) == 1.0
    assert learning_rate(55, 100, TRAIN) == pytest.approx(0.5)
    assert learning_rate(100, 100, TRAIN) == pytest.approx(0.0)


def test_weight_decay_and_momentum_reach_their_ends() -> None:
    first, last = (settings_at(step, 10_000, 10, TrainSettings()) for step in (0, 10_000))
    assert (first.weight_decay, last.weight_decay) == pytest.approx((0.04, 0.4))
    assert (first.ema_momentum, last.ema_momentum) == (0.996, 1.0)


def test_a_short_run_starts_with_a_target_that_averages_over_a_tenth_of_its_steps() -> None:
    """Held at .996, a target covers 36 % of its way in 225 steps."""
    short, published = TrainSettings(), TrainSettings(ema_horizon=0.0)
    assert momentum(0, 225, short) == pytest.approx(1 - 1 / 22.5)
    assert momentum(0, 1_000_000, short) == 0.996
    assert momentum(0, 225, published) == 0.996
    assert share_covered(225, published) == pytest.approx(0.36, abs=0.005)
    for num_steps in (20, 225, 528, 100_000):
        assert share_covered(num_steps, short) > 0.98
    # Whatever the length, a share of 0.1 leaves exp(-1 / (2 x 0.1)) of the way.
    assert share_covered(2000, short) == pytest.approx(1 - math.exp(-5), abs=1e-3)
    assert [momentum(step, 3, TrainSettings(ema_horizon=0.1)) for step in (0, 3)] == [0.0, 1.0]


def test_the_published_schedule_holds_the_rate_within_an_epoch_and_ends_at_zero() -> None:
    train = load_recipe("paper").train
    rates = [settings_at(step, 100, 10, train).lr for step in range(100)]
    assert len(set(rates)) == 10
    assert rates[0] == 1e-4
    # Source: torch's CosineAnnealingLR with T_max = 10 epochs at epoch 5.
    assert rates[50] == pytest.approx(0.5e-4)
    assert {settings_at(step, 100, 10, train).ema_momentum for step in range(100)} == {0.996}


@given(num_steps=st.integers(1, 10_000), progress=st.floats(0, 1), warmup=st.floats(0, 1), per_epoch=st.booleans())
def test_every_step_has_settings_between_their_ends_whatever_was_asked_before(
    num_steps: int, progress: float, warmup: float, per_epoch: bool
) -> None:
    train = TrainSettings(warmup_frac=warmup, lr_per_epoch=per_epoch)
    step = min(int(progress * num_steps), num_steps - 1)
    found = settings_at(step, num_steps, 7, train)
    for other in (0, num_steps - 1, step + 1):
        settings_at(other, num_steps, 7, train)
    assert settings_at(step, num_steps, 7, train) == found
    lowest, rounding = train.lr * min(train.lr_start_frac, train.lr_final_frac), 1e-12
    assert lowest - rounding <= found.lr <= train.lr + rounding
    assert train.weight_decay_start - rounding <= found.weight_decay <= train.weight_decay_final + rounding
    assert momentum(0, num_steps, train) - rounding <= found.ema_momentum <= train.ema_final + rounding


def state_of(*overrides: str) -> TrainState:
    recipe = load_recipe("demo", [*TINY, *overrides], {"ehr": {"features": ["sex"], "start": "random"}})
    state = init_state(recipe, RecordColumns(3), torch.device("cpu"))
    for _, parameter in state.model.trained_parameters():
        parameter.grad = torch.zeros_like(parameter)
    return state


@pytest.mark.parametrize("decay_all", [False, True])
def test_weight_decay_shrinks_matrices_and_leaves_norms_biases_tokens_positions_and_prototypes(decay_all: bool) -> None:
    """With a gradient of zero only weight decay moves a parameter: by rate x decay of itself."""
    state = state_of(f"train.decay_all={str(decay_all).lower()}")
    before = {name: value.detach().clone() for name, value in state.model.trained_parameters()}
    set_schedule(state.optimizer, StepSettings(lr=0.5, weight_decay=0.2, ema_momentum=0.9, progress=0.0))
    state.optimizer.step()
    shrunk = {name for name, value in state.model.trained_parameters() if not torch.equal(value, before[name])}
    for name, value in state.model.trained_parameters():
        if name in shrunk:
            torch.testing.assert_close(value.detach(), before[name] * (1 - 0.5 * 0.2))
    matrices = {
        name
        for name in before
        if name.startswith(("encoder.patch_embed.proj", "encoder.blocks.", "head.", "fusion."))
        and name.endswith("weight")
        and ".norm" not in name
        and before[name].ndim > 1
    }
    kept = {
        "encoder.norm.weight",
        "encoder.blocks.0.norm1.bias",
        "encoder.cls_token",
        "encoder.pos_embed",
        "prototypes",
    }
    assert kept <= before.keys() - matrices
    # A bias is zero at first, whatever decays it.
    assert shrunk == ({name for name in before if before[name].any()} if decay_all else matrices)


@pytest.mark.parametrize(("clip_norm", "length"), [(3.0, 3.0), (1e5, 100.0), (0.0, 100.0)])
def test_a_long_gradient_is_cut_to_the_clip_norm_and_keeps_its_direction(clip_norm: float, length: float) -> None:
    state = state_of()
    (_, first), (_, second), *_ = state.model.trained_parameters()
    assert first.grad is not None
    assert second.grad is not None
    first.grad.view(-1)[0], second.grad.view(-1)[0] = 60.0, 80.0
    assert clip_gradients(state.model, clip_norm).item() == pytest.approx(100.0)
    found = first.grad.view(-1)[0].item(), second.grad.view(-1)[0].item()
    assert found == pytest.approx((0.6 * length, 0.8 * length), rel=1e-6)
