"""An objective that the package does not know trains through its loop, with all that runs have."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cxrssl
from cxrssl.core.durable import sha256_file
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.text.snapshot import render
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.objectives import OBJECTIVES
from cxrssl.records.steps import iter_metrics
from cxrssl.train import plan as planning
from cxrssl.train.loop import pretrain
from tests.cli.command import run
from tests.model.toy_objective import ROOMS, Toy
from tests.small_runs import read_run
from tests.world import make_workspace

TREE = Path(__file__).parents[2]
RECIPE = [
    "objective.name=toy", "model.backbone=vit-micro", "model.patch_px=8", "views.global_px=16", "train.batch_size=8",
    "train.num_epochs=3", "train.lr=3e-5",
]  # fmt: skip
LIMIT_S = 600


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """Make the objective known to the tests of this module alone."""
    with pytest.MonkeyPatch.context() as patch:
        for room, entry in ROOMS:
            for name, what in entry.items():
                patch.setitem(room, name, what)
        yield


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("toy"))


def plan_of(workspace: Workspace, name: str) -> planning.RunPlan:
    machine = Machine("cpu", num_threads=1, checkpoint_every=4)
    return planning.plan_run(workspace, "nih", load_recipe("strict", RECIPE), machine, name)


@pytest.fixture(scope="module")
def alone(workspace: Workspace) -> planning.RunPlan:
    plan = plan_of(workspace, "alone")
    pretrain(plan)
    return plan


def start(workspace: Workspace, name: str, launcher: tuple[str, ...] = (), **environment: str) -> int:
    """Return the exit code of a command that knows the objective, in a process of its own or in several."""
    script = "from tests.model.toy_objective import ROOMS; from cxrssl.cli.app import main; "
    script += "[room.update(entry) for room, entry in ROOMS]; main()"
    overrides = [word for change in RECIPE for word in ("--set", change)]
    words = ["pretrain", *overrides, "--cohort", "nih", "--name", name, "--device", "cpu"]
    words += ["--machine", "checkpoint_every=4"]
    python = ["--no-python", sys.executable] if launcher else []
    machine = {**os.environ, "PYTHONPATH": str(TREE), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, *launcher, *python, "-c", script, *words, "--workspace", str(workspace.root)]
    return subprocess.run(command, env=machine, timeout=LIMIT_S, capture_output=True).returncode


def losses_of(plan: planning.RunPlan) -> list[float]:
    return [record["loss"] for record in iter_metrics(plan.folder)]


def test_its_numbers_are_in_the_journal_and_it_learns(alone: planning.RunPlan) -> None:
    assert read_run(alone.folder).state == "finished"
    first, *rest = iter_metrics(alone.folder)
    assert [step["step"] for step in (first, *rest)] == list(range(alone.num_steps))
    assert {"loss", "agreement", "spread", "grad_norm", "feature_rank"} <= first.keys()
    assert losses_of(alone)[-1] < losses_of(alone)[0]


def test_its_healthy_range_raises_its_alarm_in_its_words(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    agreement, spread = Toy.numbers
    monkeypatch.setattr(Toy, "numbers", (agreement, dataclasses.replace(spread, low=1e6)))
    plan = plan_of(workspace, "alarm")
    pretrain(plan)
    (alarm,) = [event for event in read_run(plan.folder).events if event["event"] == "alarm"]
    assert re.fullmatch(r"collapse: the features spread \d\.\de[+-]\d\d", alarm["what"])


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    workspace: Workspace, alone: planning.RunPlan
) -> None:
    plan = plan_of(workspace, "killed")
    code = start(workspace, "killed", CXRSSL_KILL_AT="train-after-step:7")
    assert code == -signal.SIGKILL
    result = pretrain(plan)
    assert 0 < result.resumed_from < result.num_steps
    weights = [sha256_file(each.folder / "encoder" / "encoder.safetensors") for each in (alone, plan)]
    assert weights[0] == weights[1]
    steps: dict[int, float] = {record["step"]: record["loss"] for record in iter_metrics(plan.folder)}
    assert [steps[step] for step in sorted(steps)] == losses_of(alone)


def test_two_processes_have_the_losses_of_one(workspace: Workspace, alone: planning.RunPlan) -> None:
    assert start(workspace, "pair", ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")) == 0
    assert losses_of(plan_of(workspace, "pair")) == pytest.approx(losses_of(alone), rel=1e-4)


def test_the_dashboard_shows_it_and_a_probe_takes_its_encoder(workspace: Workspace, alone: planning.RunPlan) -> None:
    assert alone.run_id in render(Reader(workspace).read_state())
    found: Any = run("probe", alone.run_id, "--resamples", "20", "--device", "cpu", workspace=workspace.root)
    assert found.returncode == 0, found.stderr
    assert "macro AUROC" in found.stdout


def test_no_room_above_the_model_names_an_objective() -> None:
    package = Path(cxrssl.__file__).parent
    files = [path for room in ("train", "records", "report", "dashboard") for path in (package / room).rglob("*.py")]
    names = re.compile(rf"\b({'|'.join(OBJECTIVES)})\b", re.IGNORECASE)
    assert [path.name for path in files if names.search(path.read_text())] == []
