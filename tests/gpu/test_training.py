"""Training on a GPU: the numbers of the CPU within a band, its own bit for bit, and no step that waits for the device.

What a CPU can show of it runs there too.
"""

import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrssl.core.errors import GuardStop
from cxrssl.model.msn import MSN
from cxrssl.model.objective import Loss
from cxrssl.train import loop
from cxrssl.train.feed import FEEDS
from cxrssl.train.loop import pretrain
from cxrssl.train.meter import LAG
from cxrssl.train.state import TrainState
from tests.gpu.band import FIRST, measure_away
from tests.gpu.runs import hash_weights, plan_steps, read_losses, start, train
from tests.gpu.watch import StepWatch, watch_loop
from tests.gpu.world import draw_workspace

needs_gpu = pytest.mark.gpu
SEED = 20240611
NUM_STEPS = 200
FP32_FIRST = 1e-3


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_workspace(tmp_path_factory.mktemp("drawn"), num_films=200).root


def check_band(losses: list[float], expected: list[float]) -> None:
    """Assert that two curves of the same draws stay together."""
    away = measure_away(losses, expected)
    assert away.is_within(), away


def test_bf16_stays_within_the_band_of_fp32_on_the_cpu(workspace: Path) -> None:
    expected = read_losses(train(workspace, "cpu-fp32-short", 30, device="cpu"))
    check_band(read_losses(train(workspace, "cpu-bf16-short", 30, device="cpu", precision="bf16")), expected)


@needs_gpu
def test_200_steps_in_bf16_on_the_gpu_stay_within_the_band_of_fp32_on_the_cpu(workspace: Path) -> None:
    expected = read_losses(train(workspace, "cpu", NUM_STEPS, device="cpu"))
    fp32 = read_losses(train(workspace, "gpu-fp32", NUM_STEPS, device="cuda"))
    assert fp32[:FIRST] == pytest.approx(expected[:FIRST], rel=FP32_FIRST)
    check_band(fp32, expected)
    eager = read_losses(train(workspace, "gpu-eager", NUM_STEPS, device="cuda", precision="bf16", compile="off"))
    check_band(eager, expected)
    compiled = read_losses(train(workspace, "gpu-compiled", NUM_STEPS, device="cuda", precision="bf16", compile="on"))
    check_band(compiled, expected)
    check_band(compiled, eager)


@needs_gpu
@pytest.mark.parametrize("compile", ["off", "on"])
def test_two_runs_on_the_gpu_are_bit_identical(workspace: Path, compile: str) -> None:
    settings: dict[str, Any] = {"device": "cuda", "precision": "bf16", "compile": compile}
    folders = [finish(workspace, f"twice-{compile}-{turn}", **settings) for turn in range(2)]
    assert read_losses(folders[0]) == read_losses(folders[1])
    assert hash_weights(folders[0]) == hash_weights(folders[1])


@needs_gpu
def test_every_feed_gives_the_gpu_the_same_weights(workspace: Path) -> None:
    settings: dict[str, Any] = {"device": "cuda", "precision": "bf16", "compile": "off"}
    hashes = {feed: hash_weights(finish(workspace, f"feed-{feed}", 60, feed=feed, **settings)) for feed in FEEDS}
    assert len(set(hashes.values())) == 1, hashes


@needs_gpu
@pytest.mark.crash
def test_a_run_killed_10_times_on_the_gpu_ends_with_the_weights_of_an_undisturbed_one(workspace: Path) -> None:
    settings: dict[str, Any] = {"device": "cuda", "precision": "bf16", "checkpoint_every": 10}
    whole = finish(workspace, "whole", **settings)
    draw = random.Random(SEED)
    points = [f"train-after-step:{draw.randint(11, 25)}" for _ in range(7)]
    points += ["write-before-rename:4", "publish-before-rename:1", "publish-after-rename:2"]
    draw.shuffle(points)
    for point in points:
        process = start(workspace, "killed", NUM_STEPS, point, **settings)
        _, stderr = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"seed {SEED}, {point}: {stderr}"
    killed = finish(workspace, "killed", **settings)
    assert read_losses(killed) == read_losses(whole)
    assert hash_weights(killed) == hash_weights(whole)


def finish(workspace: Path, name: str, num_steps: int = NUM_STEPS, **settings: Any) -> Path:
    """Train in a process of its own to the end and return the run's folder."""
    process = start(workspace, name, num_steps, **settings)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return plan_steps(workspace, name, num_steps, **settings).folder


class Armed(StepWatch):
    """From step `first` on, whatever holds the host until the device is done is an error where it stands."""

    def __init__(self, first: int) -> None:
        self.first = first

    def begin(self, step: int) -> None:
        if step == self.first:
            torch.cuda.set_sync_debug_mode("error")


@needs_gpu
@pytest.mark.parametrize("feed", ["resident", "ahead"])
@pytest.mark.parametrize("compile", ["off", "on"])
def test_no_step_on_the_gpu_waits_for_the_device(workspace: Path, feed: str, compile: str) -> None:
    settings: dict[str, Any] = {"device": "cuda", "precision": "bf16", "feed": feed, "compile": compile}
    plan = plan_steps(workspace, f"sync-{feed}-{compile}", 60, **settings)
    try:
        with watch_loop(Armed(first=3)):
            pretrain(plan)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_the_optimiser_itself_passes_over_a_step_that_is_not_finite_and_all_after_it(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    bad = 4
    states: list[TrainState] = []
    weights: dict[int, dict[str, torch.Tensor]] = {}
    init_state, compare = loop.init_state, MSN.compare

    def keep_state(*inputs: Any) -> TrainState:
        states.append(init_state(*inputs))
        return states[0]

    monkeypatch.setattr(loop, "init_state", keep_state)

    class Copies(StepWatch):
        step = 0

        def begin(self, step: int) -> None:
            self.step = step
            weights[step] = {name: value.clone() for name, value in states[0].model.named_parameters()}

    watch = Copies()

    def poisoned(model: MSN, *inputs: Any) -> Loss:
        parts = compare(model, *inputs)
        if watch.step == bad:
            parts.total.data.fill_(float("nan"))
        return parts

    monkeypatch.setattr(MSN, "compare", poisoned)
    plan = plan_steps(workspace, f"bad-{device}", 30, device=device, compile="off")
    with watch_loop(watch), pytest.raises(GuardStop, match=f"step {bad}"):
        pretrain(plan)
    assert bad <= watch.step <= bad + LAG
    for name, value in states[0].model.named_parameters():
        torch.testing.assert_close(value, weights[bad][name], rtol=0, atol=0, msg=name)
    assert any(not torch.equal(weights[bad][name], value) for name, value in weights[bad - 1].items())
