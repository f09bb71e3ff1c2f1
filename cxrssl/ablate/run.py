"""An ablation from its grid to its table: planned, bound by its contract, run here or as jobs of a cluster.

In: a grid, a workspace. Out: Study, the published table. Never: a table under a contract that was broken.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from cxrssl.ablate.contract import Job, check_code, keep_contract, make_contract, plan_jobs
from cxrssl.ablate.done import find_evaluation
from cxrssl.ablate.grid import Grid
from cxrssl.ablate.probes import check_probes
from cxrssl.ablate.queue import Place, Queue
from cxrssl.ablate.table import make_table
from cxrssl.core.errors import ConfigError, DataError, SetupError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.process import num_cores
from cxrssl.core.text import nearest_hint, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import find_untrained
from cxrssl.recipe.load import load_machine
from cxrssl.records.ablation import LOCK, Ablation, open_ablation, publish_table
from cxrssl.records.contract import CONTRACT, Contract, read_contract
from cxrssl.records.evaluation import Evaluation, list_evaluations

NVIDIA = Path("/dev/nvidiactl")
COUNT_DEVICES = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"


@dataclass(frozen=True)
class Study:
    """An ablation that is planned: all of its runs."""

    name: str
    workspace: Workspace
    grid: Grid
    jobs: tuple[Job, ...]
    machine: tuple[str, ...] = ()
    """Settings of the machine, as `--machine` gives them."""

    @property
    def folder(self) -> Path:
        return self.workspace.ablations / self.name

    def find_done(self) -> dict[str, Evaluation]:
        """Return the evaluations of the runs that are done, by run_id, as what is published says."""
        found = {job.run_id: find_evaluation(self.workspace, job, self.grid.settings.probe) for job in self.jobs}
        return {run_id: evaluation for run_id, evaluation in found.items() if evaluation is not None}

    def find_job(self, run_id: str) -> Job:
        """Return the job of a run. Raises: UsageError."""
        jobs = {job.run_id: job for job in self.jobs}
        if run_id not in jobs:
            what = f'ablation {self.name} has no run "{plain(run_id, 120)}"'
            raise UsageError(what, hint=nearest_hint(run_id, jobs))
        return jobs[run_id]


def plan_study(workspace: Workspace, grid: Grid, name: str = "", machine: Sequence[str] = ()) -> Study:
    """Return the ablation of a grid; its name is that of the grid unless another is given.

    Settings of the machine that are left out are those that it began with.

    Raises: ConfigError for a setting of the machine that is unknown, or that the ablation decides; what `plan_jobs`
    raises, and for one that has not begun what `check_probes` raises.
    """
    chosen = name or grid.name
    taken = sorted({word.partition("=")[0].strip() for word in machine} & {"device", "num_threads"})
    if taken:
        instead = {"device": "--device", "num_threads": "OMP_NUM_THREADS"}[taken[0]]
        raise ConfigError(f'"{taken[0]}" is one for all runs of an ablation', hint=f"use {instead}")
    words = tuple(machine) or _machine_of(workspace.ablations / chosen)
    jobs = plan_jobs(workspace, grid, chosen, load_machine(words))
    if not (workspace.ablations / chosen / CONTRACT).exists():  # else its data and code are those that were checked
        check_probes(jobs, grid.settings.probe)
    return Study(chosen, workspace, grid, tuple(jobs), words)


def _machine_of(folder: Path) -> tuple[str, ...]:
    """Return the settings of the machine that an ablation began with; none if it has not begun."""
    return read_contract(folder).machine if (folder / CONTRACT).exists() else ()


def bind(study: Study, device: str, num_threads: int) -> Contract:
    """Return the contract of an ablation, written now if it begins, with its `device` and `num_threads`.

    Raises: UsageError when the contract is broken.
    """
    now = make_contract(study.grid, study.name, study.jobs, device, num_threads, study.machine)
    contract = keep_contract(study.folder, now, [job.plan.folder for job in study.jobs])
    if contract.device != device:
        places = ["a GPU" if kind == "cuda" else "the CPU" for kind in (contract.device, device)]
        what = f"ablation {study.name} began on {places[0]}, and would go on on {places[1]}"
        raise UsageError(what, study.folder, f"give --device {contract.device}, or begin another ablation: --name NAME")
    return contract


def find_place(study: Study, device: str, num_slots: int) -> tuple[Place, int]:
    """Return where the runs of an ablation are made on this machine, and how many beside each other.

    Its contract is written now if it begins; 0 slots are one for each GPU, or one on the CPU.
    Raises: UsageError when the contract is broken; SetupError without the device asked for.
    """
    devices = () if _began_on_cpu(study, device) else find_devices(device)
    slots = num_slots or max(1, len(devices))
    contract = bind(study, "cuda" if devices else "cpu", choose_threads(slots))
    return Place(study.workspace, study.folder, contract, devices), slots


def _began_on_cpu(study: Study, device: str) -> bool:
    """Return whether `auto` means the CPU, because the runs that are there were made on it."""
    if device != "auto" or not (study.folder / CONTRACT).exists():
        return False
    return read_contract(study.folder).device == "cpu"


def choose_threads(num_slots: int) -> int:
    """Return how many CPU threads a run has: OMP_NUM_THREADS, or its share of the cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else max(1, num_cores() // num_slots)


def run_study(
    study: Study, place: Place, num_slots: int, is_fail_fast: bool, tell: Callable[[str], None], only: str = ""
) -> Queue:
    """Make all runs that are not done, or `only` the one of this id, and return the queue, which says what failed.

    Raises: UsageError when another process works on the ablation; Preempted; what `Queue.run` raises.
    """
    queue = Queue(place, study.grid.settings.probe, num_slots, tell, is_fail_fast)
    hint = "wait for it, or give this one another name: --name NAME"
    busy = UsageError(f"ablation {study.name} is run by another process", hint=hint)
    # Jobs of a cluster run beside each other, each with a run of its own.
    with nullcontext() if only else hold_lock(study.folder / LOCK, busy):
        done = study.find_done()
        jobs = [study.find_job(only)] if only else study.jobs
        queue.run([job for job in jobs if job.run_id not in done])
    return queue


def collect(study: Study) -> Ablation:
    """Publish the table of what is done of an ablation that has begun, and return it. Raises: DataError, UsageError."""
    if not (study.folder / CONTRACT).exists():
        what = f"ablation {study.name} has not begun"
        raise DataError(what, study.folder, "begin it: cxrssl ablate GRID")
    contract = read_contract(study.folder)
    return publish_study(study, bind(study, contract.device, contract.num_threads))


def publish_study(study: Study, contract: Contract) -> Ablation:
    """Publish the table of what is done of an ablation and return it. Raises: UsageError when the code has changed."""
    check_code(contract)
    done = study.find_done()
    found = {(job.row.name, job.seed): done[job.run_id] for job in study.jobs if job.run_id in done}
    cohorts = {job.row.name: job.cohort.name for job in study.jobs}
    publish_table(study.folder, contract, make_table(study.grid, cohorts, found, _find_untrained(study, found)))
    return open_ablation(study.folder)


def _find_untrained(study: Study, found: Mapping[tuple[str, int], Evaluation]) -> dict[tuple[str, int], Evaluation]:
    """Return the evaluations of the encoders of the baseline before their first step, which its probes have made."""
    names = {row.name for row in study.grid.rows if row.base == study.grid.settings.baseline}
    published = list_evaluations(study.workspace)[0] if found else []
    untrained = {}
    for (name, seed), evaluation in found.items():
        alike = [each for each in published if each.settings.terms == evaluation.settings.terms]
        start = find_untrained(evaluation, alike) if name in names else None
        if start is not None:
            untrained[name, seed] = start
    return untrained


def find_devices(device: str) -> tuple[str, ...]:
    """Return the CUDA devices to run on, as CUDA_VISIBLE_DEVICES names them; none for the CPU.

    They are counted in a process of its own, so that torch is not loaded here. Raises: SetupError when `device` is cuda
    and there is none.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = _count_devices(named) if device != "cpu" and NVIDIA.exists() else ()
    if device == "cuda" and not found:
        raise SetupError("this machine has no CUDA device that torch can use", hint="leave --device out, or use cpu")
    return tuple(found)


def _count_devices(named: str | None) -> Sequence[str]:
    counted = subprocess.run([sys.executable, "-c", COUNT_DEVICES], capture_output=True, text=True, check=False)
    if counted.returncode or not counted.stdout.strip().isdecimal():
        raise SetupError(f"the devices cannot be counted: {plain(counted.stderr.strip()[-200:])}")
    num = int(counted.stdout)
    return named.split(",")[:num] if named else [str(number) for number in range(num)]
