"""The loop: same seed, same numbers; each train film once an epoch; one process a run."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cxrssl.core.durable import sha256_file
from cxrssl.core.errors import UsageError
from cxrssl.core.journal import read_journal
from cxrssl.core.workspace import Workspace
from cxrssl.model.msn import MSN
from cxrssl.model.record import RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.steps import iter_metrics
from cxrssl.train.loop import pretrain
from cxrssl.train.order import batch_rows
from cxrssl.train.plan import RunPlan, plan_run
from tests.small_runs import read_run
from tests.world import TINY, make_workspace

MACHINE = Machine(device="cpu", num_threads=1, checkpoint_every=3)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"))


def plan_in(
    workspace: Workspace,
    folder: Path,
    ehr: Sequence[str] = ("sex", "view"),
    machine: Machine = MACHINE,
    overrides: Sequence[str] = (),
) -> RunPlan:
    """A plan on the shared cohort whose run lies in a workspace of its own."""
    own = Workspace(folder)
    own.create()
    for part in ("cohorts", "images"):
        if not (folder / part).exists():
            (folder / part).symlink_to(workspace.root / part)
    recipe = load_recipe("demo", [*TINY, *overrides], {"ehr": {"features": list(ehr)}})
    return plan_run(own, "nih", recipe, machine)


def losses(plan: RunPlan) -> list[tuple[int, float, float]]:
    return [(entry["step"], entry["loss"], entry["grad_norm"]) for entry in iter_metrics(plan.folder)]


def weights_hash(plan: RunPlan) -> str:
    return sha256_file(plan.folder / "encoder" / "encoder.safetensors")


def test_the_same_seed_gives_bit_identical_losses_and_weights_twice(workspace: Workspace, tmp_path: Path) -> None:
    first, second = plan_in(workspace, tmp_path / "a"), plan_in(workspace, tmp_path / "b")
    pretrain(first)
    torch.manual_seed(12345)
    pretrain(second)
    assert first.num_steps >= 15
    assert losses(first) == losses(second)
    assert weights_hash(first) == weights_hash(second)
    third = plan_in(workspace, tmp_path / "c", overrides=["train.seed=1"])
    pretrain(third)
    assert weights_hash(third) != weights_hash(first)


CHILD = """
import sys
from pathlib import Path
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.core.workspace import Workspace
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
recipe = load_recipe("demo", sys.argv[2:], {"ehr": {"features": ["sex", "view"]}})
pretrain(plan_run(Workspace(Path(sys.argv[1])), "nih", recipe, Machine("cpu", 1, checkpoint_every=3)))
"""


def run_child(folder: Path, overrides: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), *overrides]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_finished_run_does_nothing_when_asked_again(workspace: Workspace, tmp_path: Path) -> None:
    plan = plan_in(workspace, tmp_path)
    pretrain(plan)
    before = {path: path.stat().st_mtime_ns for path in plan.folder.rglob("*")}
    assert pretrain(plan).was_finished
    assert {path: path.stat().st_mtime_ns for path in plan.folder.rglob("*")} == before


def test_two_processes_cannot_train_the_same_run(workspace: Workspace, tmp_path: Path) -> None:
    plan = plan_in(workspace, tmp_path, overrides=["train.num_epochs=5000"])
    child = run_child(tmp_path, [*TINY, "train.num_epochs=5000"])
    while not read_journal(plan.folder / "events.jsonl"):
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)
    with pytest.raises(UsageError, match="in progress"):
        pretrain(plan)
    child.kill()
    child.wait()
    assert read_run(plan.folder).state == "died"


def test_only_train_films_are_pretrained_on_and_each_once_an_epoch(workspace: Workspace, tmp_path: Path) -> None:
    plan = plan_in(workspace, tmp_path)
    train = set(plan.cohort.rows_of("train").tolist())
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        seen = [row for step in steps for row in batch_rows(plan, step).tolist()]
        assert len(seen) == len(set(seen))
        assert set(seen) <= train
    assert not set(plan.rows.tolist()) & set(plan.cohort.rows_of("val|test").tolist())


def test_a_batch_larger_than_the_train_split_is_one_sentence(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fewer than one batch of 4096"):
        plan_in(workspace, tmp_path, overrides=["train.batch_size=4096"])


def test_checkpoints_hold_every_weight_and_moment(workspace: Workspace, tmp_path: Path) -> None:
    plan = plan_in(workspace, tmp_path)
    pretrain(plan)
    newest = sorted((plan.folder / "checkpoints").iterdir())[-1]
    names = set(load_file(newest / "state.safetensors"))
    model = MSN(plan.recipe, RecordColumns(len(plan.ehr_columns)))
    assert {f"model.{name}" for name in model.state_dict()} <= names
    assert {f"optimizer.{name}.exp_avg" for name, _ in model.trained_parameters()} <= names
    manifest = json.loads((newest / "manifest.json").read_text())
    assert manifest["settings"]["recipe_sha256"] == plan.recipe.sha256


def test_the_panel_shows_that_the_encoder_tells_effusions_apart_and_costs_what_it_says(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=150)
    longer = ["train.num_epochs=3"]
    plan = plan_in(workspace, tmp_path / "on", machine=Machine("cpu", 1, probe_every=20), overrides=longer)
    pretrain(plan)
    probed = [record for record in iter_metrics(plan.folder) if "probe_auroc" in record]
    assert [record["step"] for record in probed] == [*range(0, plan.num_steps, 20), plan.num_steps - 1]
    assert probed[-1]["probe_auroc Effusion"] > 0.8
    assert 0 < probed[-1]["health_frac"] < 1
    off = plan_in(workspace, tmp_path / "off", machine=Machine("cpu", 1, probe_every=0), overrides=longer)
    pretrain(off)
    assert weights_hash(off) == weights_hash(plan)
