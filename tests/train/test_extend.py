"""A finished run that is continued: as one that was planned longer, with its lineage, killed or not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from cxrssl.audit.seen import read_pretraining
from cxrssl.core.errors import CxrsslError, DataError, IntegrityError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.export.lineage import trace_lineage
from cxrssl.recipe.settings import TrainSettings
from cxrssl.records.encoder import open_record
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.setup import read_setups
from cxrssl.report.write import write_report
from cxrssl.results.needs import find_needs
from cxrssl.results.tidy import find_waste
from cxrssl.train import loop
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, with_seed
from cxrssl.train.schedule import learning_rate, settings_at, share_covered
from tests.cli.command import run
from tests.small_runs import checkpoints_of, plan_in, read_run, run_until, two_layers, watched, weights_of
from tests.world import make_workspace

__all__ = ["two_layers"]
CONSTANT = (
    "train.warmup_frac=0", "train.lr_final_frac=1", "train.weight_decay_start=0.1", "train.weight_decay_final=0.1",
    "train.ema_start=0.9", "train.ema_final=0.9", "train.ema_horizon=0", "train.num_epochs=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=40)


@pytest.fixture
def short(tmp_path: Path, template: Workspace) -> RunPlan:
    """A finished run of one epoch, whose schedules are constant."""
    plan = plan_in(tmp_path / "ws", template, overrides=CONSTANT)
    pretrain(plan)
    return plan


def longer(plan: RunPlan, epochs: int, template: Workspace, schedule: str = "hold", *overrides: str) -> RunPlan:
    asked = (f"train.extends={plan.run_id}", f"train.extend_schedule={schedule}", f"train.num_epochs={epochs}")
    return plan_in(plan.workspace, template, overrides=(*CONSTANT, *asked, *overrides))


def last_state(plan: RunPlan) -> dict[str, bytes]:
    tensors = load_file(checkpoints_of(plan)[-1] / "state.safetensors")
    return {name: value.numpy().tobytes() for name, value in tensors.items()}


@pytest.mark.parametrize("schedule", ["hold", "cosine"])
def test_a_run_extended_with_constant_schedules_is_the_longer_run_bit_for_bit_even_if_it_is_killed(
    short: RunPlan, template: Workspace, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan_in(short.workspace, template, overrides=(*CONSTANT, "train.num_epochs=2"))
    pretrain(whole)
    plan = longer(short, 2, template, schedule)
    run_until(plan, 3, monkeypatch)
    with watched(monkeypatch) as watch:
        done = pretrain(longer(short, 2, template, schedule))
    assert (done.resumed_from, watch.num_steps) == (plan.first_step + 3, plan.num_steps - plan.first_step - 3)
    assert last_state(plan) == last_state(whole)
    assert weights_of(plan) == weights_of(whole)
    if schedule == "cosine":
        return
    again = longer(plan, 3, template, schedule)  # an extension is extended
    pretrain(again)
    three = plan_in(short.workspace, template, overrides=(*CONSTANT, "train.num_epochs=3"))
    pretrain(three)
    assert last_state(again) == last_state(three)
    assert [each.name for each in open_record(again.files.encoder).ancestors] == [plan.run_id, short.run_id]


def test_the_journal_goes_on_at_the_step_at_which_the_other_run_ended(short: RunPlan, template: Workspace) -> None:
    plan = longer(short, 2, template)
    pretrain(plan)
    record = read_run(plan.folder)
    steps = [json.loads(line)["step"] for line in (plan.folder / "metrics-0001.jsonl").read_text().splitlines()]
    assert steps == list(range(short.num_steps, plan.num_steps))
    assert (record.state, record.step, record.num_steps) == ("finished", plan.num_steps, plan.num_steps)


def test_the_schedules_of_the_added_steps() -> None:
    train = TrainSettings(extends="run")
    begun, middle, ended = (settings_at(step, 300, 10, train, 100) for step in (100, 200, 299))
    plain = [settings_at(step, 200, 10, train) for step in (0, 100, 199)]
    assert [dataclasses.replace(each, progress=1.0) for each in plain] == [begun, middle, ended]
    held = settings_at(100, 300, 10, dataclasses.replace(train, extend_schedule="hold"), 100)
    assert held.lr == learning_rate(100, 100, train) == pytest.approx(1e-6)
    assert (held.weight_decay, held.ema_momentum, held.progress) == (0.4, 1.0, 1.0)
    assert share_covered(300, train, 100) == share_covered(200, train)


def test_what_was_extended_is_part_of_the_lineage_and_of_what_needs_a_run(short: RunPlan, template: Workspace) -> None:
    plan = longer(short, 2, template)
    assert plan.run_id != short.run_id
    assert plan.recipe.train.extends.startswith(f"{short.run_id}@")
    assert plan.recipe.sha256 != short.recipe.sha256
    pretrain(plan)
    workspace = Workspace(plan.workspace)
    record = open_record(plan.files.encoder)
    assert [each.name for each in record.ancestors] == [short.run_id]
    seen = read_pretraining(workspace, plan.run_id)
    assert seen.before[0].films.image_id.tolist() == seen.films.image_id.tolist()
    assert trace_lineage(workspace, record, "target").num_films == len(plan.rows)
    assert find_needs(workspace, short.run_id).runs == (plan.run_id,)
    assert "extends" not in short.recipe.to_dict()["train"]
    workspace.mark()
    settings = ProbeSettings(num_resamples=20)
    (evaluation,) = probe_run(workspace, plan.run_id, "", "", settings, ProbeChoices(baselines=False))
    assert evaluation.settings.label == "MSN + sex, view, extended (hold)"
    assert evaluation.settings.candidate.extends == plan.recipe.train.extends
    text = write_report(workspace).markdown
    assert f"1 run extended: {plan.run_id} continues {short.run_id}, schedule hold" in " ".join(text.split())


def test_the_runs_of_several_seeds_stay_seeds_of_one_setup_when_each_is_extended(
    tmp_path: Path, template: Workspace
) -> None:
    extended = []
    for seed in (0, 1):
        own = (*CONSTANT, f"train.seed={seed}")
        plan = plan_in(tmp_path / "ws", template, overrides=own)
        pretrain(plan)
        extended.append(longer(plan, 2, template, "hold", f"train.seed={seed}"))
        pretrain(extended[-1])
    setups = read_setups(Workspace(tmp_path / "ws"))
    assert len({setups[plan.run_id].sha256 for plan in extended}) == 1
    assert len({each.sha256 for each in setups.values()}) == 2


def refused(
    kind: type[CxrsslError], words: str, short: RunPlan, template: Workspace, *overrides: str, epochs: int = 2
) -> None:
    with pytest.raises(kind) as caught:
        longer(short, epochs, template, "hold", *overrides)
    assert words in caught.value.what, caught.value.what
    assert caught.value.hint


def test_what_cannot_be_extended_is_named(
    short: RunPlan, template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(UsageError, "has done 1 epoch, not fewer than the 1 asked for", short, template, epochs=1)
    refused(UsageError, "with another train.lr", short, template, "train.lr=0.5")
    refused(UsageError, "with another train.seed", short, template, "train.seed=4")
    refused(UsageError, "are not those that the recipe names", short, template, f"train.extends={short.run_id}@00")
    with pytest.raises(UsageError, match="has another one"):
        with_seed(longer(short, 2, template), 1)

    moved = short.folder.with_name("moved")
    short.files.checkpoints.rename(moved)
    refused(DataError, "the checkpoint of its last step was removed", short, template)
    moved.rename(short.files.checkpoints)
    state = checkpoints_of(short)[-1] / "state.safetensors"
    whole = state.read_bytes()
    state.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"state.safetensors"):
        pretrain(longer(short, 2, template))
    state.write_bytes(whole)

    other = make_workspace(tmp_path / "other", num_patients=61)
    for part in ("cohorts", "images"):
        (short.workspace / part).unlink()
        shutil.copytree(other.root / part, short.workspace / part)
    refused(DataError, "its cohort and the packed films of its cohort changed", short, other)
    unfinished = plan_in(tmp_path / "ws2", template, overrides=CONSTANT)
    run_until(unfinished, 2, monkeypatch)
    refused(DataError, "is not finished", unfinished, template)


def test_a_schedule_held_where_nothing_would_change_is_refused(tmp_path: Path, template: Workspace) -> None:
    plan = plan_in(tmp_path / "ws", template, overrides=("train.num_epochs=1",))
    pretrain(plan)
    asked = (f"train.extends={plan.run_id}", "train.num_epochs=2")
    with pytest.raises(UsageError, match="the momentum of its target has come to 1"):
        plan_in(tmp_path / "ws", template, overrides=(*asked, "train.extend_schedule=hold"))
    said = " ".join(plan_in(tmp_path / "ws", template, overrides=asked).warnings)
    assert f"the run continues {plan.run_id} at step {plan.num_steps}, epoch 1 of 2" in said
    assert "the learning rate begins anew at 0.0002, goes to 0.001 over 15% of them and ends at 1e-06" in said
    assert "the target's momentum from" in said


def test_checkpoints_that_a_run_still_begins_from_are_kept(
    short: RunPlan, template: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, workspace = longer(short, 2, template), Workspace(short.workspace)
    assert [each.path for each in find_waste(workspace)] == [short.files.checkpoints]

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_train", stop)
        pretrain(plan)
    assert find_waste(workspace) == []
    pretrain(plan)
    assert [each.path for each in find_waste(workspace)] == [each.files.checkpoints for each in sorted(
        (short, plan), key=lambda each: each.run_id)]  # fmt: skip
    shutil.rmtree(short.files.checkpoints)
    assert longer(short, 2, template).run_id == plan.run_id  # it is finished, and asks for nothing


@pytest.mark.slow
def test_a_run_is_extended_by_a_command_that_says_what_it_will_do(short: RunPlan, template: Workspace) -> None:
    workspace = short.workspace
    Workspace(workspace).mark()
    line = run("runs", "extend", short.run_id, "--epochs", "2", "--schedule", "hold", "--print", workspace=workspace)
    assert line.stdout.startswith("cxrssl pretrain --cohort nih --recipe demo "), line
    assert f"train.extends={short.run_id}" in line.stdout
    done = run("runs", "extend", short.run_id, "--epochs", "2", "--schedule", "hold", workspace=workspace)
    assert done.returncode == 0, done.stderr
    assert f"the run continues {short.run_id} at step" in done.stderr
    assert f"run {longer(short, 2, template).run_id}" in done.stdout
    assert Workspace(workspace).find_run("nih-msn+sex+view") == short.folder  # its name is that of one run, as before
    child = Workspace(workspace).find_run("nih-msn+sex+view+e2")
    again = run("runs", "extend", child.name, "--epochs", "4", "--schedule", "hold", "--print", workspace=workspace)
    assert f"train.extends={child.name}" in again.stdout
    assert "--name" not in again.stdout
    refused = run("runs", "extend", short.run_id, "--epochs", "1", workspace=workspace)
    assert (refused.returncode, "more than 1" in refused.stderr) == (2, True)
