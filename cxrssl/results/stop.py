"""A run stopped from outside, each step confirmed; only a process that is certainly the run's own is ever signalled.

In: the folder of a run, its events. Out: what was done, in words. Never: a signal to a process whose host, start of the
machine, PID namespace and start time are not those of the run's last start.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.journal import append_record
from cxrssl.core.process import describe_process, is_alive
from cxrssl.core.text import plain
from cxrssl.records.events import last_turn
from cxrssl.records.reader import read_run
from cxrssl.records.run import RunFiles

REQUEST = "stop request"
POLL_S = 0.2
SCANCEL_S = 60.0


def stop_run(folder: Path, jobs: Path, wait_s: float, may_kill: bool) -> Iterator[str]:
    """Stop a run and yield what was confirmed, sentence by sentence.

    The request is an event; SIGTERM lets the run write a checkpoint; SIGKILL, where allowed, comes after `wait_s`.

    Raises: UsageError when the run does not run, or its process is not certain; SetupError when it runs on.
    """
    files = RunFiles(folder)
    record = read_run(folder)
    start = last_turn(record.events) if record else None
    if record is not None and start is None:
        raise UsageError(f"nothing says which process trains run {folder.name}", folder, "its events have no start")
    if record is None or start is None or record.state not in ("running", "unseen"):
        state = record.state if record else "not begun"
        raise UsageError(f"run {folder.name} does not run: it is {state}", folder)
    alive = is_alive(start) if start["host"] else None
    if not alive:
        yield from _cancel_job(files, jobs, str(start["host"]))
        return
    with _process(start) as handle:
        if handle is None:
            raise UsageError(f"run {folder.name} has just ended", folder)
        append_record(files.events, {"event": REQUEST, "by": describe_process()["pid"], "signal": "SIGTERM"})
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        yield f"SIGTERM sent to process {start['pid']}; waiting up to {wait_s:g} s for its checkpoint"
        if _has_ended(handle, wait_s):
            yield _describe_end(folder)
            return
        if not may_kill:
            what = f"process {start['pid']} still runs after {wait_s:g} s"
            raise SetupError(what, folder, "wait longer with --wait, or end it without a checkpoint: --kill")
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not _has_ended(handle, wait_s):
            raise SetupError(f"process {start['pid']} does not end, not even by SIGKILL", folder)
        append_record(files.events, {"event": "stop", "what": "killed, because it did not end after SIGTERM"})
        yield f"process {start['pid']} was killed; its last checkpoint is the one before"


@contextlib.contextmanager
def _process(start: dict[str, Any]) -> Iterator[int | None]:
    """Yield a handle of the process of a start event, which no other process can take; None when it has ended."""
    try:
        handle = os.pidfd_open(int(start["pid"]))
    except OSError:
        yield None
        return
    try:
        yield handle if is_alive(start) else None  # looked at after the handle was taken
    finally:
        os.close(handle)


def _has_ended(handle: int, wait_s: float) -> bool:
    return bool(select.select([handle], [], [], wait_s)[0])


def _describe_end(folder: Path) -> str:
    record = read_run(folder)
    last = last_turn(record.events) if record else None
    if record is None or last is None or last["event"] == "start":
        return "its process ended without a word; what it saved before is there"
    step = f" at step {last['step']:,}" if isinstance(last.get("step"), int) else ""
    return f"the run is {record.state}{step}; the same pretrain command resumes it"


def _cancel_job(files: RunFiles, jobs: Path, host: str) -> Iterator[str]:
    """Cancel the SLURM job of a run whose process is not one of this machine, if the queue still has it."""
    job_ids = sorted((path.name.partition("_")[0] for path in jobs.glob("*_submission.sh")), key=_number)
    for tool in ("scancel", "squeue") if job_ids else ():
        if shutil.which(tool) is None:
            raise SetupError(f"this machine has no SLURM: there is no {tool}", hint="go to the cluster's login node")
    if not job_ids or not _is_queued(job_ids[-1], files.folder):
        where = f"on {plain(host, 60)}" if host else "on an unknown machine"
        what = f"the process of run {files.folder.name} is not one of this machine and its container: it is {where}"
        raise UsageError(what, files.folder, "run the same command there")
    job_id = job_ids[-1]
    append_record(files.events, {"event": REQUEST, "by": describe_process()["pid"], "job": job_id})
    done = subprocess.run(["scancel", job_id], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"scancel refused job {job_id}: {plain(done.stderr.strip(), 200)}", files.folder)
    yield f"scancel sent to job {job_id}"
    ends_at = time.monotonic() + SCANCEL_S
    while time.monotonic() < ends_at:
        if not _is_queued(job_id, files.folder):
            yield f"job {job_id} has left the queue"
            yield _describe_end(files.folder)
            return
        time.sleep(POLL_S)
    raise SetupError(
        f"job {job_id} is still in the queue after {SCANCEL_S:g} s", files.folder, f"squeue --job {job_id}"
    )


def _is_queued(job_id: str, folder: Path) -> bool:
    """Return whether SLURM's queue has a job. Raises: SetupError when squeue does not say."""
    asked = subprocess.run(["squeue", "--noheader", "--job", job_id], capture_output=True, text=True, check=False)
    if asked.returncode and "invalid job id" not in asked.stderr.casefold():
        what = f"squeue does not say whether job {job_id} is in the queue: {plain(asked.stderr.strip(), 200)}"
        raise SetupError(what, folder, f"squeue --job {job_id}")
    return not asked.returncode and bool(asked.stdout.strip())


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
