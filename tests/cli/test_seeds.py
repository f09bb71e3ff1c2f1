"""`pretrain --seeds`: runs that are those of one command a seed, resumed, stopped, submitted as such."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from cxrssl.core.durable import sha256_file
from cxrssl.core.errors import CxrsslError, GuardStop, SetupError
from cxrssl.core.workspace import Workspace
from cxrssl.launch import slurm, torchrun
from cxrssl.train import loop
from cxrssl.train.plan import RunPlan
from tests.cli.command import Result, run
from tests.small_runs import MINUTE, two_layers  # noqa: F401
from tests.world import make_workspace

WORDS = [
    "pretrain", "--recipe", "demo", "--device", "cpu", "--machine", "num_threads=1", "--machine", "probe_every=0",
    *(word for change in MINUTE for word in ("--set", change)),
]  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("template"))


@pytest.fixture
def workspace(tmp_path: Path, template: Workspace) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    for part in ("cohorts", "images"):
        (workspace.root / part).symlink_to(template.root / part)
    return workspace


def pretrain(workspace: Workspace, *more: object) -> Result:
    return run(*WORDS, *more, workspace=workspace.root)


def weights_of(workspace: Workspace) -> dict[str, str]:
    """Return the weights of the finished runs by the seed in their ids."""
    paths = workspace.runs.glob("*/encoder/encoder.safetensors")
    return {path.parts[-3].split("-")[-2]: sha256_file(path) for path in paths}


def test_runs_of_several_seeds_are_those_of_a_command_for_each(workspace: Workspace, template: Workspace) -> None:
    done = pretrain(workspace, "--seed", 5, "--seeds", 3)
    assert done.returncode == 0, done.stderr
    together = weights_of(workspace)
    assert sorted(together) == ["s5", "s6", "s7"]
    assert len(set(together.values())) == 3
    assert [line.split("-")[-2] for line in done.stdout.splitlines() if line.startswith("run ")] == ["s5", "s6", "s7"]
    assert done.stdout.count("next: cxrssl probe") == 3
    alone = Workspace(workspace.root.parent / "alone").create()
    for part in ("cohorts", "images"):
        (alone.root / part).symlink_to(template.root / part)
    for seed in (7, 6, 5):
        assert pretrain(alone, "--set", f"train.seed={seed}").returncode == 0
    assert weights_of(alone) == together
    assert alone.run_ids() == workspace.run_ids()


def test_the_same_command_skips_what_is_finished_and_resumes_the_first_that_is_not(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, kill_point = [], loop.kill_point

    def stop_in_the_second_run(name: str) -> None:
        kill_point(name)
        steps.append(name)
        if "run-before-finish" in steps and steps[steps.index("run-before-finish") :].count("train-after-step") == 3:
            steps.clear()
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "kill_point", stop_in_the_second_run)
        stopped = pretrain(workspace, "--seeds", 3, "--json")
    assert stopped.returncode == 75, stopped.stderr
    assert [Path(each["folder"]).name.split("-")[-2] for each in json.loads(stopped.stdout)["runs"]] == ["s0"]
    assert sorted(weights_of(workspace)) == ["s0"]
    assert len(workspace.run_ids()) == 2
    again = pretrain(workspace, "--seeds", 3, "--json")
    first, second, third = json.loads(again.stdout)["runs"]
    assert (first["was_finished"], second["was_finished"], third["was_finished"]) == (True, False, False)
    assert 0 < second["resumed_from"] < second["num_steps"]
    assert third["resumed_from"] == 0
    last = json.loads(pretrain(workspace, "--seeds", 3, "--json").stdout)["runs"]
    assert [each["was_finished"] for each in last] == [True, True, True]


def fail_at(seed: int, error: CxrsslError, patch: pytest.MonkeyPatch) -> None:
    train = loop.pretrain

    def fail(plan: RunPlan) -> loop.RunResult:
        if plan.recipe.train.seed == seed:
            raise error
        return train(plan)

    patch.setattr(loop, "pretrain", fail)


def test_a_run_that_stops_itself_leaves_the_others_to_be_trained(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(1, GuardStop("the loss is not finite at step 3", "there"), monkeypatch)
    done = pretrain(workspace, "--seeds", 3)
    assert done.returncode == 5
    assert sorted(weights_of(workspace)) == ["s0", "s2"]
    assert "the loss is not finite at step 3; the other seeds are trained" in done.stderr
    assert "error: 1 of 3 runs stopped themselves; nih-msn-vit-micro-s1-" in done.stderr


def test_an_error_of_the_machine_ends_the_command_at_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(1, SetupError("the disk is full"), monkeypatch)
    done = pretrain(workspace, "--seeds", 3)
    assert done.returncode == 4
    assert sorted(weights_of(workspace)) == ["s0"]


def test_the_plan_names_each_run_and_the_time_of_all(workspace: Workspace) -> None:
    told = json.loads(pretrain(workspace, "--seeds", 3, "--plan", "--json").stdout)
    assert [run_id.split("-")[-2] for run_id in told["run_ids"]] == ["s0", "s1", "s2"]
    assert told["run_id"] == told["run_ids"][0]
    assert told["all_runs_s"] == pytest.approx(3 * told["run_s"])
    visible = told["smallest_difference"]
    assert visible["num_seeds"] == 3
    assert 0 < visible["macro"] <= min(value for value in visible["findings"].values() if value is not None)
    lines = pretrain(workspace, "--seeds", 3, "--plan").stdout
    assert "Smallest difference in AUROC of two arms of 3 seeds" in lines
    assert "3 runs, one after another" in lines
    one = pretrain(workspace, "--plan").stdout
    assert "one after another" not in one
    assert not workspace.run_ids()


def test_each_seed_is_a_job_of_its_own(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, list[str]]] = []

    def submit(executor: object, words: list[str], entry: str) -> slurm.Submitted:
        told.append((str(executor), words))
        return slurm.Submitted(str(len(told)), Path("log"), Path("script"))

    monkeypatch.setattr(slurm, "make_executor", lambda folder, *_: folder.name)
    monkeypatch.setattr(slurm, "submit", submit)
    pretrain(workspace, "--seed", 1)
    done = pretrain(workspace, "--seeds", 3, "--slurm", "time=60", "--json")
    assert [job["job_id"] for job in json.loads(done.stdout)["jobs"]] == ["1", "2"]
    assert [name.split("-")[-2] for name, _ in told] == ["s0", "s2"]  # 1 is finished
    assert told[1][1][-6:] == ["--seeds", "1", "--set", "train.seed=2", "--workspace", str(workspace.root)]


def test_processes_are_started_for_each_seed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(torchrun, "run_processes", lambda num, words: started.append(words))
    assert pretrain(workspace, "--gpus", 2, "--seeds", 2, "--set", "train.seed=3").returncode == 0
    assert [words[-4:] for words in started] == [["--seeds", "1", "--set", f"train.seed={n}"] for n in (3, 4)]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--seed", 2**31, "--seeds", 2], "2 seeds from 2,147,483,648 go beyond the largest seed, 2,147,483,648"),
        (["--seeds", 0], "Invalid value for '--seeds'"),
    ],
)
def test_seeds_that_cannot_be_are_refused(workspace: Workspace, words: list[object], what: str) -> None:
    done = pretrain(workspace, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert what in done.stderr
    assert not workspace.run_ids()


def test_processes_that_were_started_for_one_run_train_one(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    done = pretrain(workspace, "--seeds", 2)
    assert done.returncode == 2
    assert "--seeds asks for 2 runs one after another" in done.stderr
