"""Two processes share a batch: the losses of one process, one journal, and one end for both."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxrssl.core.journal import read_journal
from cxrssl.core.recipe import Machine, load_recipe
from cxrssl.results import read_run
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from tests.world import TINY, make_workspace

WORDS = ["--recipe", "demo", "--ehr", "sex,view", "--device", "cpu", "--cohort", "nih"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("ranks"))


def start(workspace, name, overrides=(), *more, **environment):
    changes = [word for change in [*TINY, *overrides] for word in ("--set", change)]
    words = ["pretrain", *WORDS, *changes, "--gpus", "2", "--name", name, "--workspace", str(workspace.root)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "cxrssl", *words, "--checkpoint-every", "4", *more]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def plan_of(workspace, name, overrides=()):
    recipe = load_recipe("demo", [*TINY, *overrides], {"ehr": {"features": ["sex", "view"]}})
    return plan_run(workspace, "nih", recipe, Machine("cpu", 1), name)


def wait_for_step(plan, step, child, number=1):
    journal = plan.folder / f"metrics-{number:04d}.jsonl"
    while not any(record.get("step", 0) >= step for record in read_journal(journal)):
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)


def test_two_processes_have_the_losses_of_one(workspace):
    """At a low rate: AdamW divides rounding by rounding, and at 1e-3 float32 runs are 1e-4 apart after ten steps."""
    overrides = ["train.lr=3e-5"]
    alone = plan_of(workspace, "alone", overrides)
    pretrain(alone)
    child = start(workspace, "pair", overrides, "--json")
    output, errors = child.communicate(timeout=120)
    assert child.returncode == 0, errors
    assert json.loads(output)["num_steps"] == alone.num_steps
    pair = plan_of(workspace, "pair", overrides)
    expected, found = read_run(alone.folder).metrics, read_run(pair.folder).metrics
    assert [record["step"] for record in found] == [record["step"] for record in expected]
    for one, two in zip(expected, found, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
    assert read_run(pair.folder).state == "finished"
    assert len(list(pair.folder.glob("metrics-*.jsonl"))) == 1


@pytest.mark.crash
def test_a_killed_rank_ends_the_job_with_its_name_and_the_run_goes_on_later(workspace):
    overrides = ["train.num_epochs=100"]
    plan = plan_of(workspace, "killed", overrides)
    child = start(workspace, "killed", overrides)
    wait_for_step(plan, 6, child)
    found = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True).stdout.split()
    ranks = {}
    for pid in found:
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        ranks |= {word.split("=")[1]: int(pid) for word in environment if word.startswith("RANK=")}
    os.kill(ranks["1"], signal.SIGKILL)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 4
    assert "rank 1 was killed by SIGKILL" in errors
    again = start(workspace, "killed", overrides)
    wait_for_step(plan, 6, again, number=2)
    again.send_signal(signal.SIGTERM)
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 75, errors
    events = [event["event"] for event in read_run(plan.folder).events]
    assert events.count("start") == 2
    assert events[-2:] == ["checkpoint", "stop"]


def test_a_batch_that_cannot_be_shared_is_one_sentence(workspace):
    child = start(workspace, "odd", ["train.batch_size=7"])
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 2
    assert "a batch of 7 films cannot be shared evenly by 2 processes" in errors
