"""The loop: same seed, same numbers; killed anywhere, the same weights; a bad number never reaches them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from cxrssl.core.artefact import sha256_file
from cxrssl.core.errors import GuardStop, IntegrityError, UsageError
from cxrssl.core.journal import read_journal
from cxrssl.core.recipe import Machine, load_recipe
from cxrssl.core.workspace import Workspace
from cxrssl.model.msn import MSN
from cxrssl.results import read_run
from cxrssl.train.checkpoint import load_newest, save_checkpoint
from cxrssl.train.loop import batch_rows, pretrain
from cxrssl.train.plan import plan_run
from tests.world import TINY, make_workspace

MACHINE = Machine(device="cpu", num_threads=1, checkpoint_every=3)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"))


def plan_in(workspace, folder, ehr=("sex", "view"), machine=MACHINE, overrides=()):
    """A plan on the shared cohort whose run lies in a workspace of its own."""
    own = Workspace(folder)
    own.create()
    for part in ("cohorts", "images"):
        if not (folder / part).exists():
            (folder / part).symlink_to(workspace.root / part)
    recipe = load_recipe("demo", [*TINY, *overrides], {"ehr": {"features": list(ehr)}})
    return plan_run(own, "nih", recipe, machine)


def losses(plan):
    record = read_run(plan.folder)
    return [(entry["step"], entry["loss"], entry["grad_norm"]) for entry in record.metrics]


def weights_hash(plan):
    return sha256_file(plan.folder / "encoder" / "encoder.safetensors")


def test_the_same_seed_gives_bit_identical_losses_and_weights_twice(workspace, tmp_path):
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


KILL_POINTS = ["train-after-step:2", "train-after-step:7", "write-before-fsync:3", "write-before-rename:5",
               "publish-before-rename:1", "publish-after-rename:2"]  # fmt: skip
CHILD = """
import sys
from pathlib import Path
from cxrssl.core.recipe import Machine, load_recipe
from cxrssl.core.workspace import Workspace
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
recipe = load_recipe("demo", sys.argv[2:], {"ehr": {"features": ["sex", "view"]}})
pretrain(plan_run(Workspace(Path(sys.argv[1])), "nih", recipe, Machine("cpu", 1, checkpoint_every=3)))
"""


def run_child(folder, overrides=TINY, **environment):
    command = [sys.executable, "-c", CHILD, str(folder), *overrides]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


def test_a_run_killed_at_any_point_ends_with_the_weights_of_an_undisturbed_one(workspace, tmp_path):
    undisturbed = plan_in(workspace, tmp_path / "whole")
    pretrain(undisturbed)
    killed = plan_in(workspace, tmp_path / "killed")
    for point in KILL_POINTS:
        child = run_child(tmp_path / "killed", CXRSSL_KILL_AT=point)
        assert child.wait() == -signal.SIGKILL, f"{point}: {child.stderr.read()}"
    child = run_child(tmp_path / "killed")
    assert child.wait() == 0, child.stderr.read()
    assert weights_hash(killed) == weights_hash(undisturbed)
    assert losses(killed) == losses(undisturbed)
    assert not list(killed.folder.rglob(".building-*"))
    assert not list(killed.folder.rglob("*.tmp"))


def test_sigterm_ends_after_the_step_with_a_checkpoint_and_the_run_goes_on_from_it(workspace, tmp_path):
    plan = plan_in(workspace, tmp_path, overrides=["train.num_epochs=60"])
    child = run_child(tmp_path, [*TINY, "train.num_epochs=60"])
    while not any(record.get("step", 0) >= 2 for record in read_journal(plan.folder / "metrics-0001.jsonl")):
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    child.wait()
    assert "Preempted: stopped by SIGTERM" in child.stderr.read()
    record = read_run(plan.folder)
    assert record.state == "stopped"
    assert record.events[-2] | {"ts": 0} == {"event": "checkpoint", "step": record.step, "ts": 0}


def test_a_finished_run_does_nothing_when_asked_again(workspace, tmp_path):
    plan = plan_in(workspace, tmp_path)
    pretrain(plan)
    before = {path: path.stat().st_mtime_ns for path in plan.folder.rglob("*")}
    assert pretrain(plan).was_finished
    assert {path: path.stat().st_mtime_ns for path in plan.folder.rglob("*")} == before


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(workspace, tmp_path, monkeypatch):
    plan = plan_in(workspace, tmp_path, machine=Machine(device="cpu", num_threads=1, checkpoint_every=1))
    original, calls = MSN.compare, []

    def poisoned(model, *inputs):
        parts = original(model, *inputs)
        calls.append(1)
        if len(calls) == 5:
            parts.total.data.fill_(float("nan"))
        return parts

    monkeypatch.setattr(MSN, "compare", poisoned)
    with pytest.raises(GuardStop, match="step 4"):
        pretrain(plan)
    assert sorted(path.name for path in (plan.folder / "checkpoints").iterdir())[-1] == "step-00000004"
    record = read_run(plan.folder)
    assert record.state == "failed"
    guard = next(event for event in record.events if event["event"] == "guard")
    assert guard["rows"] == batch_rows(plan, 4).tolist()
    monkeypatch.setattr(MSN, "compare", original)
    assert pretrain(plan).resumed_from == 4


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(workspace, tmp_path, monkeypatch):
    plan = plan_in(workspace, tmp_path, machine=Machine(device="cpu", num_threads=1, checkpoint_every=2))
    monkeypatch.setattr("cxrssl.train.loop.publish_encoder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pretrain(plan)
    monkeypatch.undo()
    newest = sorted((plan.folder / "checkpoints").iterdir())[-1] / "state.safetensors"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    result = pretrain(plan)
    assert 0 < result.resumed_from < plan.num_steps
    damage = next(event for event in read_run(plan.folder).events if event["event"] == "damage")
    assert "SHA-256" in damage["what"]


def test_a_checkpoint_of_another_recipe_is_refused(workspace, tmp_path):
    plan = plan_in(workspace, tmp_path)
    other = plan_in(workspace, tmp_path, overrides=["train.seed=9"])
    pretrain(plan)
    (other.folder).mkdir(parents=True)
    (other.folder / "checkpoints").symlink_to(plan.folder / "checkpoints")
    with pytest.raises(IntegrityError, match="another recipe_sha256"):
        pretrain(other)


def test_a_checkpoint_of_another_kind_of_device_is_refused(tmp_path):
    save_checkpoint(tmp_path, 3, {"step": torch.tensor(3)}, {"device": "cuda"})
    assert load_newest(tmp_path, {"device": "cuda"}, pytest.fail)["step"] == 3
    with pytest.raises(IntegrityError, match="another device: cuda, now cpu"):
        load_newest(tmp_path, {"device": "cpu"}, pytest.fail)


def test_two_processes_cannot_train_the_same_run(workspace, tmp_path):
    plan = plan_in(workspace, tmp_path, overrides=["train.num_epochs=60"])
    child = run_child(tmp_path, [*TINY, "train.num_epochs=60"])
    while not read_journal(plan.folder / "events.jsonl"):
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.02)
    with pytest.raises(UsageError, match="in progress"):
        pretrain(plan)
    child.kill()
    child.wait()
    assert read_run(plan.folder).state == "died"


def test_only_train_films_are_pretrained_on_and_each_once_an_epoch(workspace, tmp_path):
    plan = plan_in(workspace, tmp_path)
    train = set(plan.cohort.rows_of("train").tolist())
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch)
        seen = [row for step in steps for row in batch_rows(plan, step).tolist()]
        assert len(seen) == len(set(seen))
        assert set(seen) <= train
    assert not set(plan.rows.tolist()) & set(plan.cohort.rows_of("val|test").tolist())


def test_a_batch_larger_than_the_train_split_is_one_sentence(workspace, tmp_path):
    with pytest.raises(UsageError, match="fewer than one batch of 4096"):
        plan_in(workspace, tmp_path, overrides=["train.batch_size=4096"])


def test_checkpoints_hold_every_weight_and_moment(workspace, tmp_path):
    plan = plan_in(workspace, tmp_path)
    pretrain(plan)
    newest = sorted((plan.folder / "checkpoints").iterdir())[-1]
    names = set(load_file(newest / "state.safetensors"))
    model = MSN(plan.recipe, len(plan.ehr_columns))
    assert {f"model.{name}" for name in model.state_dict()} <= names
    assert {f"optimizer.{name}.exp_avg" for name, _ in model.anchor_parameters()} <= names
    manifest = json.loads((newest / "manifest.json").read_text())
    assert manifest["settings"]["recipe_sha256"] == plan.recipe.sha256


NO_REGULARISER = ["objective.memax_weight=0", "objective.sinkhorn_iters=0", "objective.num_prototypes=64"]


def alarms(plan):
    return [event for event in read_run(plan.folder).events if event["event"] == "alarm"]


def test_a_run_without_me_max_and_sinkhorn_is_called_collapsed_within_50_steps(workspace, tmp_path, capsys):
    changes = [*NO_REGULARISER, "train.num_epochs=10", "train.ema_start=0", "train.ema_final=0"]
    plan = plan_in(workspace, tmp_path, ehr=(), overrides=changes)
    pretrain(plan)
    (alarm, *_) = alarms(plan)
    assert alarm["kind"] == "collapse"
    assert alarm["step"] < 50
    assert "collapse: " in capsys.readouterr().err
    stopping = plan_in(workspace, tmp_path / "stop", (), Machine("cpu", 1, on_alarm="stop"), changes)
    with pytest.raises(GuardStop, match="collapse"):
        pretrain(stopping)


def test_a_healthy_run_raises_no_alarm_and_tells_its_features_rank(workspace, tmp_path):
    plan = plan_in(workspace, tmp_path, overrides=["train.num_epochs=12", "objective.num_prototypes=64"])
    pretrain(plan)
    assert not alarms(plan)
    records = read_run(plan.folder).metrics
    assert [r["step"] for r in records if "feature_rank" in r] == [*range(0, plan.num_steps, 50), plan.num_steps - 1]
    assert all(r["memory_mb"] > 50 for r in records)


def test_the_panel_shows_that_the_encoder_tells_effusions_apart_and_costs_what_it_says(tmp_path):
    workspace = make_workspace(tmp_path, num_patients=150)
    longer = ["train.num_epochs=3"]
    plan = plan_in(workspace, tmp_path / "on", machine=Machine("cpu", 1, probe_every=20), overrides=longer)
    pretrain(plan)
    probed = [record for record in read_run(plan.folder).metrics if "probe_auroc" in record]
    assert [record["step"] for record in probed] == [*range(0, plan.num_steps, 20), plan.num_steps - 1]
    assert probed[-1]["probe_auroc Effusion"] > 0.8
    assert 0 < probed[-1]["health_frac"] < 1
    off = plan_in(workspace, tmp_path / "off", machine=Machine("cpu", 1, probe_every=0), overrides=longer)
    pretrain(off)
    assert weights_hash(off) == weights_hash(plan)
