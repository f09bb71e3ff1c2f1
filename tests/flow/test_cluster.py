"""On a real SLURM cluster: jobs are stopped, cancelled, queued again at their time limit, and end whole.

    CXRSSL_SLURM="cpus_per_task=1,mem=4G" pytest -m slow tests/flow/test_cluster.py --basetemp SHARED_FOLDER

The value is what every job is given beside its time limit; it may be "". Without the variable nothing is submitted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.records.ablation import open_ablation
from cxrssl.records.reader import RunRecord, read_run
from cxrssl.records.steps import iter_metrics
from tests.ablate.conftest import GRID
from tests.scale import scaled
from tests.world import TINY, make_workspace

OPTIONS = os.environ.get("CXRSSL_SLURM")
WAIT_S = 900.0
LONG = ("--set", "train.num_epochs=400")
"""Of a run that is at work when it is disturbed."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(OPTIONS is None or not shutil.which("sbatch"), reason="no cluster: CXRSSL_SLURM is not set"),
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, num_patients=40)


def cxrssl(*words: object, workspace: Workspace) -> str:
    command = [sys.executable, "-m", "cxrssl", *map(str, words), "--workspace", str(workspace.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def options(minutes: int = 20) -> list[str]:
    given = [f"time=00:{minutes:02d}:00", *filter(None, (OPTIONS or "").split(","))]
    return ["--device", "cpu", *(word for each in given for word in ("--slurm", each))]


def submit(workspace: Workspace, *more: str, minutes: int = 20) -> str:
    """Submit a training, and return its job."""
    changes = [word for change in TINY for word in ("--set", change)]
    said = cxrssl("pretrain", "--recipe", "demo", *changes, *more, *options(minutes), workspace=workspace)
    return said.split()[1].rstrip(":")


def queued() -> set[str]:
    """Return the numbers of all jobs in the queue."""
    asked = ["squeue", "--noheader", "--format", "%i"]
    return set(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())


def wait(workspace: Workspace, is_there: Callable[[RunRecord], bool]) -> RunRecord:
    """Wait for the one run of a workspace to come to something."""
    ends_at = time.monotonic() + WAIT_S
    while time.monotonic() < ends_at:
        for run_id in workspace.run_ids():
            record = read_run(workspace.runs / run_id)
            if record is not None and is_there(record):
                return record
        time.sleep(0.5)
    pytest.fail("\n".join(path.read_text() for path in workspace.root.glob("jobs/*/*.out")) or "no job began")


def starts(record: RunRecord) -> int:
    return sum(event["event"] == "start" for event in record.events)


def is_at_work(num_starts: int) -> Callable[[RunRecord], bool]:
    return lambda record: record.state == "running" and starts(record) == num_starts and record.num_steps > 10


def end_whole(workspace: Workspace) -> RunRecord:
    """Let a run come to its end in a job of its own, and check that it has every step once."""
    submit(workspace, *LONG)
    record = wait(workspace, lambda record: record.state == "finished")
    steps = [each["step"] for each in iter_metrics(record.folder)]
    assert steps == list(range(record.num_steps))
    return record


def test_a_job_that_is_stopped_goes_on_in_the_next_and_one_that_is_cancelled_too(workspace: Workspace) -> None:
    submit(workspace, *LONG)
    run_id = wait(workspace, is_at_work(1)).run_id
    said = cxrssl("runs", "stop", run_id, workspace=workspace)
    assert "the run is stopped at step" in said
    job = submit(workspace, *LONG)
    wait(workspace, is_at_work(2))
    subprocess.run(["scancel", job], check=True)
    wait(workspace, lambda record: record.state == "stopped" and starts(record) == 2)
    assert starts(end_whole(workspace)) == 3


def test_two_tasks_share_every_batch(workspace: Workspace) -> None:
    """Their first losses are those of one process; later ones are not, for sums in another order grow apart."""
    submit(workspace)
    alone = wait(workspace, lambda record: record.state == "finished")
    submit(workspace, "--gpus", "2", "--name", "both")
    both = wait(workspace, lambda record: record.state == "finished" and record.run_id != alone.run_id)
    found, wanted = ([each["loss"] for each in iter_metrics(record.folder)] for record in (both, alone))
    assert len(found) == len(wanted)
    assert found[:3] == pytest.approx(wanted[:3], rel=1e-3)


def test_a_job_that_waits_is_cancelled_before_its_run_begins(workspace: Workspace) -> None:
    job = submit(workspace, *LONG, "--slurm", "begin=now+1hour")
    assert job in queued()
    (name,) = (path.name for path in workspace.jobs.iterdir())
    said = cxrssl("runs", "stop", name, workspace=workspace)
    assert f"job {job} has left the queue" in said
    assert "the run had not begun" in said
    assert job not in queued()


def test_a_grid_of_jobs_ends_in_one_table(workspace: Workspace, tmp_path: Path) -> None:
    grid = tmp_path / "study.toml"
    grid.write_text(GRID)
    said = cxrssl("ablate", grid, *options(), workspace=workspace)
    jobs = {line.split()[1].rstrip(":") for line in said.splitlines() if line.startswith("job ")}
    assert len(jobs) == 4
    ends_at = time.monotonic() + WAIT_S
    while jobs & queued() and time.monotonic() < ends_at:
        time.sleep(1)
    said = cxrssl("ablate", grid, "--device", "cpu", "--collect", workspace=workspace)
    assert "primary comparison, declared beforehand: record - vanilla on nih" in said
    assert open_ablation(workspace.ablations / "study").table.missing == ()


@pytest.mark.skipif(not scaled(0, 1), reason="it waits for SLURM to queue a job again: CXRSSL_FULL=1")
def test_a_job_at_its_time_limit_is_queued_again_and_resumes(workspace: Workspace) -> None:
    """A job saves 180 s before its limit of four minutes."""
    submit(workspace, "--set", "train.num_epochs=20000", minutes=4)
    record = wait(workspace, lambda record: starts(record) == 2)
    cxrssl("runs", "stop", record.run_id, workspace=workspace)
