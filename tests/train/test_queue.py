"""The queue in the loop: saved and resumed with the rest of the state, and closed to a bad step."""

from collections.abc import Callable
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file

from cxrssl.core.errors import GuardStop
from cxrssl.core.workspace import Workspace
from cxrssl.model.msn import MSN
from cxrssl.model.objective import Loss
from cxrssl.model.queue import FilmQueue
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.train import loop
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.state import TrainState
from tests.world import TINY, make_workspace

QUEUE_SIZE = 32
"""Four batches."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("queue"), num_patients=30)


def plan_of(workspace: Workspace, name: str, checkpoint_every: int) -> RunPlan:
    recipe = load_recipe("demo", [*TINY, f"objective.queue_size={QUEUE_SIZE}"])
    machine = Machine("cpu", 1, checkpoint_every=checkpoint_every, probe_every=0)
    return plan_run(workspace, "nih", recipe, machine, name)


def newest(plan: RunPlan) -> dict[str, torch.Tensor]:
    return load_file(sorted((plan.folder / "checkpoints").iterdir())[-1] / "state.safetensors")


def at_call(number: int, act: Callable[[MSN, Loss], object]) -> Callable[..., Loss]:
    """MSN.compare, which at one of its calls first does something else."""
    original = MSN.compare
    calls: list[int] = []

    def compare(model: MSN, *inputs: Any) -> Loss:
        calls.append(1)
        parts = original(model, *inputs)
        if len(calls) == number:
            act(model, parts)
        return parts

    return compare


def test_a_run_that_stops_while_the_queue_fills_ends_with_the_state_of_an_undisturbed_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, stopped = (plan_of(workspace, name, 2) for name in ("undisturbed", "stopped"))
    pretrain(undisturbed)

    def stop(model: MSN, parts: Loss) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(MSN, "compare", at_call(4, stop))
    with pytest.raises(KeyboardInterrupt):
        pretrain(stopped)
    monkeypatch.undo()
    assert newest(stopped)["model.queue.num_batches"] == 2
    assert pretrain(stopped).resumed_from == 2
    expected, found = newest(undisturbed), newest(stopped)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert expected["model.queue.num_batches"] == 4
    assert (expected["model.queue.targets_QD"].norm(dim=1) - 1).abs().max() < 1e-5


def test_the_films_of_a_bad_step_and_of_those_after_it_never_enter_the_queue(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(workspace, "bad", 1)
    states: list[TrainState] = []

    def init_state(*inputs: Any) -> TrainState:
        states.append(original(*inputs))
        return states[-1]

    def poison(model: MSN, parts: Loss) -> None:
        parts.total.data.fill_(float("nan"))
        parts.features_BD.fill_(float("inf"))

    original = loop.init_state
    monkeypatch.setattr(loop, "init_state", init_state)
    monkeypatch.setattr(MSN, "compare", at_call(3, poison))
    with pytest.raises(GuardStop, match="step 2"):
        pretrain(plan)
    saved = newest(plan)
    assert saved["step"] == 2
    queue = states[0].model.queue
    assert isinstance(queue, FilmQueue)
    for name, value in queue.state_dict().items():
        assert torch.equal(value, saved[f"model.queue.{name}"]), name
