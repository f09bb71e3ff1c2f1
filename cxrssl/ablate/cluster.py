"""The runs of an ablation as jobs of SLURM: one job a run, which the cluster may stop, queue again and resume.

In: a study, options of sbatch. Out: submitted jobs. Never: a job for a run that is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cxrssl.ablate.contract import Job
from cxrssl.ablate.run import Study, bind
from cxrssl.launch.slurm import Submitted, make_executor, submit


@dataclass(frozen=True)
class Cluster:
    """Where jobs are submitted to, and as what."""

    study: Study
    words: tuple[str, ...]
    """Of the command, without options of the cluster; each job adds its run."""
    entry: str
    """What runs words, as `launch.slurm.Job` takes it."""
    options: Mapping[str, str | bool]
    is_cpu: bool

    def submit(self, jobs: Sequence[Job]) -> list[tuple[Job, Submitted]]:
        """Bind the ablation, and submit a job for each of these runs.

        Raises: UsageError when the contract is broken; SetupError when SLURM is not there or takes a job not.
        """
        cpus = str(self.options.get("cpus_per_task", "1"))
        bind(self.study, "cpu" if self.is_cpu else "cuda", int(cpus) if cpus.isdecimal() else 1)
        return [(job, self._submit(job)) for job in jobs]

    def _submit(self, job: Job) -> Submitted:
        folder = self.study.workspace.jobs / job.run_id
        executor = make_executor(folder, job.run_id, 1, 1, not self.is_cpu, self.options)
        return submit(executor, [*self.words, "--run", job.run_id], self.entry)
