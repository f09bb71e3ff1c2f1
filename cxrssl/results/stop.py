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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.journal import append_record, read_journal
from cxrssl.core.process import describe_process, is_alive
from cxrssl.core.text import plain
from cxrssl.records.events import STOP_REQUEST, STOPPING, TURNS, last_turn
from cxrssl.records.reader import read_run
from cxrssl.records.run import RunFiles
from cxrssl.results.jobs import is_queued, newest_job

POLL_S = 0.2
ANSWER_S = 10.0
"""How long a process of this machine has to answer the event, before it is signalled."""
FAR_ANSWER_S = 60.0
"""How long one elsewhere has, which may see a shared file late, before its job is cancelled."""
SCANCEL_S = 60.0


def stop_run(folder: Path, jobs: Path, wait_s: float, may_kill: bool) -> Iterator[str]:
    """Stop a run and yield what was confirmed, sentence by sentence.

    The event asks the run, wherever it is, to write a checkpoint and end. On this machine SIGTERM follows where it is
    not answered, and SIGKILL, where allowed, after `wait_s`; elsewhere its job of SLURM is cancelled.

    Raises: UsageError when the run does not run; SetupError when it runs on, as far as one can tell from here.
    """
    files = RunFiles(folder)
    record = read_run(folder)
    start = last_turn(record.events) if record else None
    if record is not None and start is None:
        raise UsageError(f"nothing says which process trains run {folder.name}", folder, "its events have no start")
    job_id = _find_job(jobs, folder)
    if record is None or start is None or record.state not in ("running", "unseen"):
        if job_id:  # it waits to be started again
            yield from _cancel_job(files, job_id)
            if not folder.is_dir():  # the run never began: its job leaves nothing behind
                shutil.rmtree(jobs, ignore_errors=True)
            return
        state = record.state if record else "not begun"
        raise UsageError(f"run {folder.name} does not run: it is {state}", folder)
    if start["host"] and is_alive(start):
        yield from _stop_here(files, start, wait_s, may_kill)
    else:
        yield from _stop_elsewhere(files, start, job_id, wait_s)


def _stop_here(files: RunFiles, start: dict[str, Any], wait_s: float, may_kill: bool) -> Iterator[str]:
    with _process(start) as handle:
        if handle is None:
            raise UsageError(f"run {files.folder.name} has just ended", files.folder)

        def has_ended() -> bool:
            return bool(select.select([handle], [], [], 0)[0])

        answers, pid = _ask(files), start["pid"]
        yield f"run {files.folder.name} was asked to stop; it looks once a second, after a step"
        if not _wait(lambda: has_ended() or STOPPING in answers(), min(wait_s, ANSWER_S)):
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            yield f"SIGTERM sent to process {pid}, which has not answered; waiting up to {wait_s:g} s"
        elif not has_ended():
            yield f"it stops; waiting up to {wait_s:g} s for its checkpoint"
        if _wait(has_ended, wait_s):
            yield _describe_end(files.folder)
            return
        if not may_kill:
            what = f"process {pid} still runs after {wait_s:g} s"
            raise SetupError(what, files.folder, "wait longer with --wait, or end it without a checkpoint: --kill")
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not _wait(has_ended, wait_s):
            raise SetupError(f"process {pid} does not end, not even by SIGKILL", files.folder)
        append_record(files.events, {"event": "stop", "what": "killed, because it did not end after SIGTERM"})
        yield f"process {pid} was killed; its last checkpoint is the one before"


def _stop_elsewhere(files: RunFiles, start: dict[str, Any], job_id: str, wait_s: float) -> Iterator[str]:
    """Ask a run whose process is not one of this machine and its container; it can be seen by its events alone."""
    answers = _ask(files)
    where = f"on {plain(start['host'], 60)}" if start["host"] else "on an unknown machine"
    yield f"run {files.folder.name} was asked to stop; its process is {where}, and no signal can be sent from here"
    ended = frozenset(event for event, state in TURNS.items() if state)
    if _wait(lambda: bool({STOPPING, *ended} & answers()), min(wait_s, FAR_ANSWER_S) if job_id else wait_s):
        if not ended & answers():
            yield f"it stops; waiting up to {wait_s:g} s for its checkpoint"
        if _wait(lambda: bool(ended & answers()), wait_s):
            yield _describe_end(files.folder)
            return
    if job_id and is_queued(job_id, files.folder):
        yield from _cancel_job(files, job_id)
        return
    what = f"run {files.folder.name} has not said within {wait_s:g} s that it ended: it is {where}"
    hint = "it still ends when it sees the request; see there whether its process runs"
    raise SetupError(what, files.folder, hint)


def _ask(files: RunFiles) -> Callable[[], set[str]]:
    """Write the event that asks a run to stop; return what tells the events that came after it."""
    num_before = len(read_journal(files.events))
    append_record(files.events, {"event": STOP_REQUEST, "by": describe_process()["host"]})
    return lambda: {str(each.get("event")) for each in read_journal(files.events)[num_before:]}


def _wait(is_done: Callable[[], bool], wait_s: float) -> bool:
    """Return whether something comes true within a time."""
    ends_at = time.monotonic() + wait_s
    while not is_done():
        if time.monotonic() >= ends_at:
            return False
        time.sleep(POLL_S)
    return True


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


def _describe_end(folder: Path) -> str:
    record = read_run(folder)
    last = last_turn(record.events) if record else None
    if not folder.is_dir():
        return "the run had not begun; the same pretrain command submits it again"
    if record is None or last is None or last["event"] == "start":
        return "its process ended without a word; what it saved before is there"
    step = f" at step {last['step']:,}" if isinstance(last.get("step"), int) else ""
    return f"the run is {record.state}{step}; the same pretrain command resumes it"


def _find_job(jobs: Path, folder: Path) -> str:
    """Return the newest SLURM job of a run if it is in the queue, else "". Raises: SetupError when squeue fails."""
    job_id = newest_job(jobs)
    if not job_id or any(shutil.which(tool) is None for tool in ("scancel", "squeue")):
        return ""
    return job_id if is_queued(job_id, folder) else ""


def _cancel_job(files: RunFiles, job_id: str) -> Iterator[str]:
    """Cancel a SLURM job and see it leave the queue."""
    if files.folder.is_dir():  # else it has not begun
        append_record(files.events, {"event": STOP_REQUEST, "by": describe_process()["host"], "job": job_id})
    done = subprocess.run(["scancel", job_id], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"scancel refused job {job_id}: {plain(done.stderr.strip(), 200)}", files.folder)
    yield f"scancel sent to job {job_id}"
    if not _wait(lambda: not is_queued(job_id, files.folder), SCANCEL_S):
        what = f"job {job_id} is still in the queue after {SCANCEL_S:g} s"
        raise SetupError(what, files.folder, f"squeue --job {job_id}")
    yield f"job {job_id} has left the queue"
    yield _describe_end(files.folder)
