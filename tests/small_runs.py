"""Runs of a few steps in this process, each in a workspace of its own, that a test can watch and disturb."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrssl.core.durable import sha256_file
from cxrssl.core.errors import IntegrityError, Preempted
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.settings import BACKBONES
from cxrssl.records import reader
from cxrssl.train import loop
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.state import TrainState, flatten_state

MINUTE = [
    "model.patch_px=8", "model.head_hidden_mult=1", "views.global_px=16", "views.focal_px=16",
    "views.num_focal=1", "objective.num_prototypes=8", "train.batch_size=8", "train.num_epochs=2",
]  # fmt: skip
CPU = Machine("cpu", 1, checkpoint_every=1, probe_every=0)


@pytest.fixture(scope="module", autouse=True)
def two_layers() -> Iterator[None]:
    """Make the smallest encoder smaller still, for the tests of a module that imports this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "vit-micro", (24, 2, 2))
        yield


def plan_in(
    folder: Path,
    template: Workspace,
    machine: Machine = CPU,
    overrides: tuple[str, ...] = (),
    ehr: tuple[str, ...] = ("sex", "view"),
    recipe: str = "demo",
    copies: bool = False,
) -> RunPlan:
    """Return a plan of 8 steps on the films of `template`; with `copies` its films are its own."""
    own = Workspace(folder).create()
    for part in ("cohorts", "images"):
        if not (folder / part).is_symlink() and not any((folder / part).glob("*")):
            shutil.rmtree(folder / part, ignore_errors=True)
            if copies:
                shutil.copytree(template.root / part, folder / part)
            else:
                (folder / part).symlink_to(template.root / part)
    changes = {"ehr": {"features": list(ehr)}} if ehr else {}
    return plan_run(own, "nih", load_recipe(recipe, [*MINUTE, *overrides], changes), machine)


def with_machine(plan: RunPlan, **changes: Any) -> RunPlan:
    """Return the plan with other settings of the machine."""
    return dataclasses.replace(plan, machine=dataclasses.replace(plan.machine, **changes))


def weights_of(plan: RunPlan) -> str:
    return sha256_file(plan.folder / "encoder" / "encoder.safetensors")


def checkpoints_of(plan: RunPlan) -> list[Path]:
    return sorted((plan.folder / "checkpoints").glob("step-*"))


def bits(state: TrainState) -> dict[str, bytes]:
    """Return weights, target and moments, bit by bit: nan is equal to nan."""
    tensors = flatten_state(state)
    return {name: value.numpy().tobytes() for name, value in tensors.items() if name != "step"}


class Watched:
    """The state of the run that is under way, and what is to happen at the ends of its steps."""

    def __init__(self) -> None:
        self.state: TrainState
        """There from the run's first step on."""
        self.num_steps = 0
        """Steps done since the run was last started."""
        self.at: dict[int, Callable[[], None]] = {}


@contextmanager
def watched(patch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Yield what tells of the run that goes on inside the block."""
    watch = Watched()
    init_state, kill_point = loop.init_state, loop.kill_point

    def init(*args: Any) -> TrainState:
        watch.state, watch.num_steps = init_state(*args), 0
        return watch.state

    def pass_point(name: str) -> None:
        kill_point(name)
        if name == "train-after-step":
            watch.num_steps += 1
            watch.at.get(watch.num_steps, lambda: None)()

    with patch.context() as inner:
        inner.setattr(loop, "init_state", init)
        inner.setattr(loop, "kill_point", pass_point)
        yield watch


def run_until(plan: RunPlan, step: int, patch: pytest.MonkeyPatch, number: int = signal.SIGUSR1) -> None:
    """Train until the run has done `step` more steps and a signal stops it, with a checkpoint."""
    with watched(patch) as watch:
        watch.at[step] = lambda: os.kill(os.getpid(), number)
        with pytest.raises(Preempted):
            loop.pretrain(plan)


def read_run(folder: Path) -> reader.RunRecord:
    """Return what is known of a run that has begun."""
    record = reader.read_run(folder)
    assert record is not None
    return record


def fail_on_damage(error: IntegrityError) -> None:
    """Take what `load_newest` reports of a checkpoint that should be whole."""
    pytest.fail(str(error))


def all_finite(tensors: dict[str, torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in tensors.values())
