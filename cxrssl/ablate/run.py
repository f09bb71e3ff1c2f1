"""An ablation from its grid to its table: planned, bound by its contract, run, and told.

In: a grid by name, a workspace. Out: Study, the published table.
Never: a table under a contract that was broken.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cxrssl.ablate.contract import Job, check_code, keep_contract, make_contract, plan_jobs
from cxrssl.ablate.done import find_evaluation
from cxrssl.ablate.grid import Grid
from cxrssl.ablate.queue import Place, Queue
from cxrssl.ablate.table import make_table
from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.process import num_cores
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.records.ablation import LOCK, Ablation, Contract, open_ablation, publish_table
from cxrssl.records.evaluation import Evaluation

NVIDIA = Path("/dev/nvidiactl")
COUNT_DEVICES = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"


@dataclass(frozen=True)
class Study:
    """An ablation that is planned: all of its runs, and those of them that are done."""

    name: str
    workspace: Workspace
    grid: Grid
    jobs: tuple[Job, ...]

    @property
    def folder(self) -> Path:
        return self.workspace.ablations / self.name

    def find_done(self) -> dict[str, Evaluation]:
        """Return the evaluations of the runs that are done, by run_id, as what is published says."""
        found = {job.run_id: find_evaluation(self.workspace, job, self.grid.settings.probe) for job in self.jobs}
        return {run_id: evaluation for run_id, evaluation in found.items() if evaluation is not None}


def plan_study(workspace: Workspace, grid: Grid, name: str = "") -> Study:
    """Return the ablation of a grid; its name is that of the grid unless another is given."""
    chosen = name or grid.name
    return Study(chosen, workspace, grid, tuple(plan_jobs(workspace, grid, chosen)))


def bind(study: Study, device: str, num_slots: int, devices: Sequence[str]) -> Place:
    """Return where the jobs of an ablation run, under its contract, which is written now if it begins.

    Raises: UsageError when the contract is broken.
    """
    kind = "cuda" if devices and device != "cpu" else "cpu"
    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(asked) if asked.isdecimal() and int(asked) else max(1, num_cores() // num_slots)
    contract = keep_contract(study.folder, make_contract(study.grid, study.name, study.jobs, kind, threads))
    return Place(study.workspace, study.folder, contract, tuple(devices) if contract.device == "cuda" else ())


def run_study(study: Study, place: Place, num_slots: int, is_fail_fast: bool, tell: Callable[[str], None]) -> Queue:
    """Make all runs that are not done, and return the queue, which says what failed.

    Raises: UsageError when another process works on the ablation; Preempted; what `Queue.run` raises.
    """
    queue = Queue(place, study.grid.settings.probe, num_slots, tell, is_fail_fast)
    with held(study):
        done = study.find_done()
        queue.run([job for job in study.jobs if job.run_id not in done])
    return queue


@contextmanager
def held(study: Study) -> Iterator[None]:
    """Be the one process that runs an ablation here. Raises: UsageError."""
    hint = "wait for it, or give this one another name: --name NAME"
    with hold_lock(study.folder / LOCK, UsageError(f"ablation {study.name} is run by another process", hint=hint)):
        yield


def publish_study(study: Study, contract: Contract) -> Ablation:
    """Publish the table of what is done of an ablation and return it. Raises: UsageError when the code has changed."""
    check_code(contract)
    publish_table(study.folder, contract, make_table(study.grid, study.jobs, study.find_done()))
    return open_ablation(study.folder)


def find_devices(device: str) -> list[str]:
    """Return the CUDA devices to run on, as CUDA_VISIBLE_DEVICES names them; none for the CPU.

    They are counted in a process of its own, so that torch is not loaded here. Raises: SetupError when `device` is cuda
    and there is none.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = [] if device == "cpu" or not NVIDIA.exists() else _count_devices(named)
    if device == "cuda" and not found:
        raise SetupError("this machine has no CUDA device that torch can use", hint="leave --device out, or use cpu")
    return found


def _count_devices(named: str | None) -> list[str]:
    counted = subprocess.run([sys.executable, "-c", COUNT_DEVICES], capture_output=True, text=True, check=False)
    if counted.returncode or not counted.stdout.strip().isdecimal():
        raise SetupError(f"the devices cannot be counted: {plain(counted.stderr.strip()[-200:])}")
    num = int(counted.stdout)
    return named.split(",")[:num] if named else [str(number) for number in range(num)]
