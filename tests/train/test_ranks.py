"""Two processes share a batch: the losses of one process, one journal, and one end for both.

They are started by `--gpus 2`, by one torchrun a machine, or as the tasks of a SLURM job.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import submitit
from safetensors.numpy import load_file

from cxrssl.cli.seeds import ENTRY
from cxrssl.core.journal import read_journal
from cxrssl.core.workspace import Workspace
from cxrssl.launch.slurm import Job
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.steps import iter_metrics
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, plan_run
from tests.small_runs import read_run
from tests.world import TINY, make_workspace

WORDS = ["--recipe", "demo", "--ehr", "sex,view", "--device", "cpu", "--cohort", "nih"]
LOW_RATE = ["train.lr=3e-5", "objective.queue_size=16"]
LIMIT_S = 900
"""Of a command that takes ten seconds: what only one that hangs reaches."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("ranks"))


def words_of(workspace: Workspace, name: str, overrides: Sequence[str] = ()) -> list[str]:
    changes = [word for change in [*TINY, *overrides] for word in ("--set", change)]
    place = ["--name", name, "--workspace", str(workspace.root), "--machine", "checkpoint_every=4"]
    return ["pretrain", *WORDS, *changes, *place]


def start(workspace: Workspace, name: str, overrides: Sequence[str] = (), *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cxrssl", *words_of(workspace, name, overrides), "--gpus", "2", *more]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def plan_of(workspace: Workspace, name: str, overrides: Sequence[str] = ()) -> RunPlan:
    recipe = load_recipe("demo", [*TINY, *overrides], {"ehr": {"features": ["sex", "view"]}})
    return plan_run(workspace, "nih", recipe, Machine("cpu", 1), name)


def wait_for_step(plan: RunPlan, step: int, child: subprocess.Popen[Any], number: int = 1) -> None:
    journal = plan.folder / f"metrics-{number:04d}.jsonl"
    while not any(record.get("step", 0) >= step for record in read_journal(journal)):
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)


def free_port() -> int:
    """Return a port that is free and stays so: below those that the system gives away."""
    while True:
        port = random.SystemRandom().randint(20_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("localhost", port))
            return port


def child_pids(pid: int | str) -> list[int]:
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for text in lists for word in text.split()]


@pytest.fixture(scope="module")
def alone(workspace: Workspace) -> RunPlan:
    """A run of one process, at a low rate: AdamW divides rounding by rounding, and at 1e-3 float32 runs are 1e-4 apart
    after ten steps."""
    plan = plan_of(workspace, "alone", LOW_RATE)
    pretrain(plan)
    return plan


@pytest.fixture(scope="module")
def pair(workspace: Workspace) -> tuple[RunPlan, dict[str, Any]]:
    """A run of two processes that `--gpus 2` has started, and what it printed."""
    child = start(workspace, "pair", LOW_RATE, "--json")
    output, errors = child.communicate(timeout=LIMIT_S)
    assert child.returncode == 0, errors
    return plan_of(workspace, "pair", LOW_RATE), json.loads(output)


def assert_same_losses(found: RunPlan, expected: RunPlan) -> None:
    ours, theirs = list(iter_metrics(found.folder)), list(iter_metrics(expected.folder))
    assert [record["step"] for record in ours] == [record["step"] for record in theirs]
    for one, two in zip(theirs, ours, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)


def assert_written_once(plan: RunPlan) -> None:
    """Only the first process writes: one journal, and one of each event."""
    assert len(list(plan.folder.glob("metrics-*.jsonl"))) == 1
    assert [event["event"] for event in read_run(plan.folder).events].count("start") == 1
    assert read_run(plan.folder).state == "finished"


def test_two_processes_have_the_losses_of_one(alone: RunPlan, pair: tuple[RunPlan, dict[str, Any]]) -> None:
    plan, told = pair
    assert told["num_steps"] == plan.num_steps
    assert_same_losses(plan, alone)
    assert_written_once(plan)


def test_two_machines_with_a_torchrun_each_have_the_losses_of_one_process(workspace: Workspace, alone: RunPlan) -> None:
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{free_port()}", "--rdzv-id", "two"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", *rendezvous]
    command = [*launcher, "-m", "cxrssl", *words_of(workspace, "machines", LOW_RATE)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    agents = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [agent.communicate(timeout=LIMIT_S) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], told
    assert sum("run nih-machines-" in output for output, _ in told) == 1
    plan = plan_of(workspace, "machines", LOW_RATE)
    assert_same_losses(plan, alone)
    assert_written_once(plan)


@pytest.mark.crash
def test_a_preempted_job_is_queued_again_and_ends_with_the_weights_of_an_undisturbed_run(
    workspace: Workspace, pair: tuple[RunPlan, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    plan = plan_of(workspace, "job", LOW_RATE)
    executor = submitit.LocalExecutor(tmp_path, max_num_timeout=1)
    executor.update_parameters(tasks_per_node=2, timeout_min=60)
    job = executor.submit(Job((*words_of(workspace, "job", LOW_RATE), "--gpus", "2", "--slurm", "time=3"), ENTRY))
    assert isinstance(job, submitit.LocalJob)
    assert job._process is not None
    wait_for_step(plan, 6, job._process)
    for task in child_pids(job.job_id):
        os.kill(task, signal.SIGUSR2)
    job.wait()
    log = job.paths.stdout.read_text() + job.paths.stderr.read_text()
    assert "stopped by SIGUSR2 after step" in log
    assert "Requeued job" in log
    assert "resumed from step" in log
    run = read_run(plan.folder)
    assert run.state == "finished"
    assert [event["event"] for event in run.events if event["event"] in ("start", "stop", "finish")] == [
        "start", "stop", "start", "finish",
    ]  # fmt: skip
    steps = [record["step"] for record in iter_metrics(plan.folder)]
    assert steps == list(range(plan.num_steps))
    expected, found = (load_file(each.folder / "encoder" / "encoder.safetensors") for each in (pair[0], plan))
    assert expected.keys() == found.keys()
    for name in expected:
        assert (expected[name] == found[name]).all(), name


@pytest.mark.crash
def test_a_killed_rank_ends_the_job_with_its_name_and_the_run_goes_on_later(workspace: Workspace) -> None:
    overrides = ["train.num_epochs=100"]
    plan = plan_of(workspace, "killed", overrides)
    child = start(workspace, "killed", overrides)
    wait_for_step(plan, 6, child)
    ranks: dict[str, int] = {}
    for pid in child_pids(child.pid):
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        ranks |= {word.split("=")[1]: pid for word in environment if word.startswith("RANK=")}
    os.kill(ranks["1"], signal.SIGKILL)
    _, errors = child.communicate(timeout=LIMIT_S)
    assert child.returncode == 4
    assert "rank 1 was killed by SIGKILL" in errors
    again = start(workspace, "killed", overrides)
    wait_for_step(plan, 6, again, number=2)
    again.send_signal(signal.SIGTERM)
    _, errors = again.communicate(timeout=LIMIT_S)
    assert again.returncode == 75, errors
    events = [event["event"] for event in read_journal(plan.files.events)]
    assert events.count("start") == 2
    assert events[-2:] == ["checkpoint", "stop"]


SILENT = """
import datetime, os, signal, sys, time
import torch
from cxrssl.train import ranks
is_silent = os.fork() == 0
os.environ |= {"WORLD_SIZE": "2", "RANK": str(int(is_silent)), "MASTER_ADDR": "localhost", "MASTER_PORT": sys.argv[1]}
with ranks.join_ranks("cpu") as place:
    if place.is_first:
        time.sleep(0.2)
        open("written", "w")
    ranks.wait_for_all(place)
    open("written")
    # Only now: on a busy machine the two may take longer than this to find each other.
    ranks.TIMEOUT = ranks.PATIENCE = datetime.timedelta(seconds=3)
    torch.distributed.set_timeout(ranks.TIMEOUT)
    if is_silent:
        signal.pause()
    ranks.StopVote(place, torch.device("cpu")).is_stop(False)
"""


def test_ranks_wait_for_the_one_that_writes_and_one_that_hangs_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SILENT, str(free_port())]
    with open(tmp_path / "errors", "w") as errors:
        child = subprocess.Popen(command, stderr=errors, cwd=tmp_path, start_new_session=True)
    try:
        assert child.wait(timeout=LIMIT_S) == 1
    finally:
        os.killpg(child.pid, signal.SIGKILL)
    told = (tmp_path / "errors").read_text()
    assert "SetupError: rank 1 has not answered for 3 s" in told
    assert "FileNotFoundError" not in told


RAISING = """
import os, sys, time
import torch
from cxrssl.core.errors import DataError
from cxrssl.train import ranks
is_second = os.fork() == 0
os.environ |= {"WORLD_SIZE": "2", "RANK": str(int(is_second)), "MASTER_ADDR": "localhost", "MASTER_PORT": sys.argv[1]}
with ranks.join_ranks("cpu") as place:
    ranks.wait_for_all(place)
    if place.rank == int(sys.argv[2]):
        raise DataError("film 7 is damaged")
    while True:
        ranks.StopVote(place, torch.device("cpu")).is_stop(False)
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_raises_ends_the_others_at_once_and_is_named(tmp_path: Path, rank: int) -> None:
    with open(tmp_path / "errors", "w") as errors:
        command = [sys.executable, "-c", RAISING, str(free_port()), str(rank)]
        child = subprocess.Popen(command, stderr=errors, cwd=tmp_path, start_new_session=True)
    try:
        assert child.wait(timeout=LIMIT_S) == 1
        wait_until_gone(child.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    told = (tmp_path / "errors").read_text()
    why = "film 7 is damaged" if rank else "what it has printed says why"
    assert f"SetupError: rank {rank} has ended: {why}" in told
    assert "DataError: film 7 is damaged" in told


def wait_until_gone(group: int) -> None:
    """Wait until no process of a group is left."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a process waits for one that has ended")


def test_a_batch_that_cannot_be_shared_is_one_sentence(workspace: Workspace) -> None:
    child = start(workspace, "odd", ["train.batch_size=7"])
    _, errors = child.communicate(timeout=LIMIT_S)
    assert child.returncode == 2
    assert "a batch of 7 films cannot be shared evenly by 2 processes" in errors
