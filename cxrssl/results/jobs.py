"""Jobs of SLURM, by the scripts that lie in the workspace and by the queue.

In: the folder of the jobs of a run, or a workspace. Out: numbers of jobs. Never: a job that is submitted or cancelled.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from cxrssl.core.errors import SetupError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace


def newest_job(folder: Path) -> str:
    """Return the number of the job of a run that was submitted last; "" for none."""
    job_ids = (path.name.partition("_")[0] for path in folder.glob("*_submission.sh"))
    return max(job_ids, key=lambda text: int(text) if text.isdecimal() else 0, default="")


def list_not_begun(workspace: Workspace) -> list[tuple[str, str]]:
    """Return the runs that were submitted and have no folder yet, each with its newest job, which may be gone."""
    begun = set(workspace.run_ids())
    found = ((name, newest_job(workspace.jobs / name)) for name in workspace.job_names() if name not in begun)
    return [(name, job_id) for name, job_id in found if job_id]


def is_queued(job_id: str, folder: Path) -> bool:
    """Return whether SLURM's queue has a job. Raises: SetupError, at `folder`, when squeue does not say."""
    asked = subprocess.run(["squeue", "--noheader", "--job", job_id], capture_output=True, text=True, check=False)
    if asked.returncode and "invalid job id" not in asked.stderr.casefold():
        what = f"squeue does not say whether job {job_id} is in the queue: {plain(asked.stderr.strip(), 200)}"
        raise SetupError(what, folder, f"squeue --job {job_id}")
    return not asked.returncode and bool(asked.stdout.strip())
