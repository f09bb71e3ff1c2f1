"""A command as a job of SLURM, through submitit: submitted, stopped with a checkpoint, queued again, resumed.

In: the words of a command, the name of the function that runs them, options of sbatch. Out: a batch script, a job, its
log; in the job one task a device.
Never: submitit imported by a command that submits nothing, or a job queued again that the user has cancelled.
"""

from __future__ import annotations

import math
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from cxrssl.core.errors import Preempted, SetupError, UsageError
from cxrssl.core.process import is_first
from cxrssl.core.text import plain

if TYPE_CHECKING:
    from submitit import SlurmExecutor
    from submitit.helpers import DelayedSubmission

WARNING_S = 180
"""How long before the time limit SLURM warns the tasks: longer than a step and a checkpoint."""
MAX_TIMEOUTS = 1000
"""How often a job may run into its time limit before it is not queued again."""
OURS = {
    "nodes": "--nodes",
    "ntasks": "--nodes and --gpus",
    "ntasks_per_node": "--gpus",
    "gpus_per_task": "--gpus",
    "array": "a command for each run",
    "output": "the log that the command names",
    "error": "the log that the command names",
}
"""Options of sbatch that follow from others, and what to use in their place."""
GPU_OPTIONS = {"gres", "gpus", "gpus_per_node", "gpus_per_socket"}


@dataclass(frozen=True)
class Job:
    """What each task of a job does: one process of the command."""

    words: tuple[str, ...]
    entry: str
    """The function that runs words, as "module:function". It reports errors and returns the exit code; Preempted it
    raises."""

    def __call__(self) -> None:
        """Run the command. A task that does not come to its end leaves with the documented exit code."""
        from submitit.helpers import TorchDistributedEnvironment

        # Every task sees all devices of its node and takes its own by its local rank.
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        try:
            code = resolve_name(self.entry)(self.words)
        except Preempted as stop:
            _queue_again(stop)
            code = stop.exit_code
        if code:
            sys.exit(code)

    def checkpoint(self) -> DelayedSubmission:
        """Return what the job does when it is queued again: the same command, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _queue_again(stop: Preempted) -> None:
    """Let submitit queue this job again, on its own signal. After SIGTERM wait: only SLURM knows what it meant."""
    from submitit import JobEnvironment

    if not is_first():
        # The first task speaks for all; an exit code of another would end it before it has spoken.
        sys.exit(0)
    if stop.is_final:
        return  # a person has stopped the run itself
    if stop.asked_by is signal.SIGTERM:
        # SLURM sends it for scancel, which is to end the job, and before it requeues a preempted job.
        sys.stderr.write("cxrssl: waiting for SLURM to end this job or to queue it again\n")
        while True:
            signal.pause()
    try:
        signal.raise_signal(signal.Signals[f"SIG{JobEnvironment.USR_SIG}"])
    except (subprocess.SubprocessError, OSError, RuntimeError) as error:
        sys.stderr.write(f"cxrssl: the job was not queued again: {plain(error, 300)}\n")


def parse_options(words: Sequence[str]) -> dict[str, str | bool]:
    """Return options of sbatch, by name with underscores, from words such as "partition=gpu" and "exclusive".

    Raises: UsageError for a word that is no option, one that follows from others, and when there is not a time limit.
    """
    options: dict[str, str | bool] = {}
    for word in words:
        name, equals, value = word.partition("=")
        key = name.strip().removeprefix("--").replace("-", "_")
        if not re.fullmatch(r"[a-z][a-z_]*", key) or (equals and not value.strip()) or plain(value) != value:
            raise UsageError(f'"{plain(word, 80)}" is not an sbatch option', hint="write --slurm name=value")
        if key in OURS:
            raise UsageError(f'"{name}" is not for --slurm', hint=f"use {OURS[key]}")
        options[key] = value.strip() if equals else True
    if "time" not in options:
        raise UsageError("a SLURM job needs a time limit", hint="--slurm time=24:00:00")
    return options


def parse_minutes(text: str) -> int:
    """Return the minutes of a time as sbatch takes it: 90, 90:00, 1:30:00, 2-12, 2-12:30 or 2-12:30:00."""
    if not re.fullmatch(r"([0-9]+-)?[0-9]+(:[0-9]+){0,2}", text):
        raise UsageError(f'"{plain(text, 40)}" is not a time limit', hint="minutes, or 24:00:00, or 2-00:00:00")
    days, dash, clock = text.rpartition("-")
    numbers = [int(number) for number in clock.split(":")]
    hours, minutes, seconds = ([*numbers, 0, 0] if dash or len(numbers) == 3 else [0, *numbers, 0])[:3]
    return max(1, math.ceil((int(days or 0) * 24 + hours) * 60 + minutes + seconds / 60))


def make_executor(
    folder: Path, name: str, nodes: int, tasks_per_node: int, needs_gpus: bool, options: Mapping[str, str | bool]
) -> SlurmExecutor:
    """Return submitit's executor for jobs of one run, whose scripts and logs lie in `folder`.

    Raises: SetupError when submitit or SLURM is not there.
    """
    try:
        from submitit import SlurmExecutor
    except ImportError:
        hint = "install it: pip install 'cxrssl[slurm]'"
        raise SetupError("jobs of SLURM need the package submitit, which is not installed", hint=hint) from None
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            raise SetupError(f"this machine has no SLURM: there is no {program}", hint="go to the cluster's login node")
    if not str(folder).isprintable():
        raise UsageError("a batch script cannot name this folder", folder, "rename it without control characters")
    extra = {key: value for key, value in options.items() if key != "time"}
    cpus = extra.get("cpus_per_task")
    executor = SlurmExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
    executor.update_parameters(
        job_name=name,
        time=parse_minutes(str(options["time"])),
        nodes=nodes,
        ntasks_per_node=tasks_per_node,
        gpus_per_node=tasks_per_node if needs_gpus and not GPU_OPTIONS & set(extra) else None,
        signal_delay_s=WARNING_S,
        stderr_to_stdout=True,
        wckey=None,
        # srun does not take over sbatch's --cpus-per-task (SLURM 22.05 and later).
        srun_args=["--kill-on-bad-exit=1", *([f"--cpus-per-task={cpus}"] if cpus else [])],
        additional_parameters={"requeue": True, **extra},
    )
    return executor


def make_script(executor: SlurmExecutor) -> str:
    """Return the batch script that a submission would hand to sbatch."""
    return executor._make_submission_file_text(executor._submitit_command_str, "")


@dataclass(frozen=True)
class Submitted:
    """A job that SLURM has taken."""

    job_id: str
    log: Path
    """What the first task prints; the other tasks have their own log beside it."""
    script: Path


def submit(executor: SlurmExecutor, words: Sequence[str], entry: str) -> Submitted:
    """Submit a command that the function `entry` runs, or raise SetupError with what SLURM says against it."""
    try:
        job = executor.submit(Job(tuple(words), entry))
    except (RuntimeError, OSError) as error:
        raise SetupError(f"SLURM did not take the job: {plain(error, 300)}", executor.folder) from error
    return Submitted(job.job_id, job.paths.stdout, job.paths.submission_file)
