"""The runs of an ablation made, each in processes of its own: one after the other, or beside each other.

In: jobs, their contract, places to run at. Out: all of them done, or named with what kept them from it.
Never: a job started twice at a time, or started with other code than the first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxrssl.ablate.child import explain_end, start_child
from cxrssl.ablate.contract import Job, check_code, check_job
from cxrssl.ablate.done import find_encoder, find_evaluation
from cxrssl.ablate.row import options_of
from cxrssl.core.durable import kill_point
from cxrssl.core.errors import CxrsslError, Preempted, UsageError
from cxrssl.core.journal import append_record
from cxrssl.core.lock import hold_lock
from cxrssl.core.process import describe_process
from cxrssl.core.progress import WIDTH, fit_between, format_seconds
from cxrssl.core.signals import StopRequest, catch_signals, note_saved, stop_name
from cxrssl.core.workspace import Workspace
from cxrssl.records.ablation import JOBS, LOGS
from cxrssl.records.contract import Contract
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.events import was_asked_to_stop
from cxrssl.records.run import LOCK as RUN_LOCK

POLL_S = 0.05
PATIENCE_S = 120.0
"""How long an earlier process may take to end with a checkpoint, after its parent has ended."""
PRETRAIN, PROBE = "pretrain", "probe"
STOPPED = (75, 130)
"""Exit codes of a command that was asked to stop."""


@dataclass(frozen=True)
class Failure:
    """A job that did not come to its end."""

    job: Job
    stage: str
    code: int
    what: str
    log: Path

    @property
    def sentence(self) -> str:
        return f"{self.job.name}: {self.stage}: {self.what}"


@dataclass(frozen=True)
class Place:
    """Where the jobs of a queue run."""

    workspace: Workspace
    folder: Path
    """Of the ablation."""
    contract: Contract
    devices: tuple[str, ...] = ()
    """CUDA devices, as CUDA_VISIBLE_DEVICES names them; none on the CPU."""

    def environment(self, slot: int) -> dict[str, str]:
        """Return what a child in a slot finds beside what this process has."""
        threads = {"OMP_NUM_THREADS": str(self.contract.num_threads)}
        if not self.devices:
            return threads
        return {**threads, "CUDA_VISIBLE_DEVICES": self.devices[slot % len(self.devices)]}


@dataclass
class _Running:
    job: Job
    stage: str
    process: subprocess.Popen[bytes]
    started: float
    log_began_at: int
    """Size of its log when it was started."""
    locks: contextlib.ExitStack


@dataclass
class Queue:
    """Jobs that are not done yet, and those that run."""

    place: Place
    probe: ProbeSettings
    num_slots: int
    tell: Callable[[str], None]
    """Says one line to the user."""
    is_fail_fast: bool = False
    failures: list[Failure] = field(default_factory=list)
    elsewhere: list[Job] = field(default_factory=list)
    """Jobs that another process has in hand."""
    _pending: deque[Job] = field(default_factory=deque)
    _running: dict[int, _Running] = field(default_factory=dict)
    _waiting_since: dict[str, float] = field(default_factory=dict)
    _num_jobs: int = 0
    _num_done: int = 0
    _began: float = 0.0

    def run(self, jobs: Sequence[Job]) -> None:
        """Make the runs of these jobs and probe them.

        Raises: Preempted when a signal asks to stop, once every run has saved its state; UsageError when the code
        changes on the way. What fails is kept in `failures`; with `is_fail_fast` the first failure stops the others.
        """
        self._pending, self._num_jobs, self._began = deque(jobs), len(jobs), time.monotonic()
        with catch_signals() as stop, self._ended_with_children():
            while self._pending or self._running:
                if stop:
                    raise self._stop(stop)
                self._fill_slots()
                self._reap()
                time.sleep(POLL_S)

    def _fill_slots(self) -> None:
        for slot in range(self.num_slots):
            if slot in self._running or not self._pending or (self.failures and self.is_fail_fast):
                continue
            job = self._pending.popleft()
            if self._is_held_by_another(job):
                self._pending.append(job)
                return
            self._start(slot, job)
        if self.failures and self.is_fail_fast:
            self._pending.clear()
            self._end_children(15)

    def _is_held_by_another(self, job: Job) -> bool:
        """Return whether a process of an earlier call still writes its last checkpoint; for so long a job waits."""
        since = self._waiting_since.setdefault(job.run_id, time.monotonic())
        return is_locked(job.plan.folder / RUN_LOCK) and time.monotonic() - since < PATIENCE_S

    def _start(self, slot: int, job: Job) -> None:
        locks = contextlib.ExitStack()
        busy = UsageError(f"{job.name} is run by another process")
        try:
            locks.enter_context(hold_lock(self.place.folder / LOGS / f"{job.run_id}.lock", busy))
        except UsageError:
            self.elsewhere.append(job)
            return
        try:
            stage = PROBE if find_encoder(job) else PRETRAIN
            number = self._num_jobs - len(self._pending)
            only = ", trained already" if stage == PROBE else ""
            head, end = f"{number}/{self._num_jobs} {job.name}", f"{only}{self._time_left()}"
            self.tell(fit_between(head, job.run_id, end, WIDTH - len("cxrssl: ")))
            self._start_stage(slot, job, stage, locks)
        except BaseException:
            locks.close()
            raise

    def _start_stage(self, slot: int, job: Job, stage: str, locks: contextlib.ExitStack) -> None:
        check_job(self.place.contract, job)
        append_record(self.place.folder / JOBS, {"event": "start", "stage": stage, **_name(job), **describe_process()})
        words = pretrain_words(self.place, job) if stage == PRETRAIN else probe_words(self.place, job, self.probe)
        log = self.log_of(job)
        began_at = log.stat().st_size if log.exists() else 0
        process = start_child(words, log, self.place.environment(slot))
        self._running[slot] = _Running(job, stage, process, time.monotonic(), began_at, locks)
        kill_point("ablate-after-start")

    def _reap(self) -> None:
        for slot, running in list(self._running.items()):
            code = running.process.poll()
            if code is not None:
                del self._running[slot]
                try:
                    self._finish(slot, running, code)
                finally:
                    if slot not in self._running:
                        running.locks.close()

    def _finish(self, slot: int, running: _Running, code: int) -> None:
        job, stage = running.job, running.stage
        wall_s = round(time.monotonic() - running.started, 1)
        append_record(
            self.place.folder / JOBS, {"event": "end", "stage": stage, "code": code, "wall_s": wall_s, **_name(job)}
        )
        kill_point("ablate-after-end")
        if code in STOPPED:
            is_final = was_asked_to_stop(job.plan.files.events)
            raise Preempted(f"{job.name} was stopped", hint="run the same command to resume", is_final=is_final)
        check_code(self.place.contract)
        is_made = find_encoder(job) if stage == PRETRAIN else find_evaluation(self.place.workspace, job, self.probe)
        if code or not is_made:
            log = self.log_of(job)
            nothing = "it ended, but published nothing that can be used"
            what = explain_end(code, log, running.log_began_at) if code else nothing
            failure = Failure(job, stage, code, what, log)
            self.failures.append(failure)
            self.tell(f"failed: {failure.sentence}")
        elif stage == PRETRAIN:
            self._start_stage(slot, job, PROBE, running.locks)
        else:
            self._num_done += 1
            note_saved(job.run_id)

    def _time_left(self) -> str:
        """Return how long the jobs that are left will take, at the pace until now; nothing before one is done."""
        if not self._num_done:
            return ""
        num_left = len(self._pending) + len(self._running)
        left_s = (time.monotonic() - self._began) / self._num_done * num_left
        return f", about {format_seconds(left_s)} left"

    def _stop(self, stop: StopRequest) -> Preempted:
        assert stop.signal is not None
        self.tell(f"{stop_name(stop.signal)}: {len(self._running)} running; each saves its state")
        self._end_children(stop.signal)
        return stop.error()

    @contextlib.contextmanager
    def _ended_with_children(self) -> Iterator[None]:
        """Leave no child behind, whatever ends the block."""
        try:
            yield
        except BaseException:
            self._end_children(15)
            raise

    def _end_children(self, number: int) -> None:
        for running in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                running.process.send_signal(number)
        for running in self._running.values():
            running.process.wait()
            running.locks.close()
        self._running.clear()

    def log_of(self, job: Job) -> Path:
        """Return where what the processes of a job print is kept."""
        return self.place.folder / LOGS / f"{job.run_id}.log"


def pretrain_words(place: Place, job: Job) -> list[str]:
    """Return the words of the command that makes the run of a job."""
    where = ["--workspace", str(place.workspace.root), "--device", place.contract.device]
    where += [word for setting in place.contract.machine for word in ("--machine", setting)]
    return ["pretrain", *job.row.words(job.seed), "--cohort", job.plan.cohort.name, "--name", job.plan.label, *where]


def probe_words(place: Place, job: Job, probe: ProbeSettings) -> list[str]:
    """Return the words of the command that probes it."""
    where = ["--workspace", str(place.workspace.root), "--device", place.contract.device]
    on = ["--on", job.cohort.name] if job.row.pretrain_on else []
    return ["probe", job.run_id, *on, *options_of(probe), *where]


def raise_failures(failures: Sequence[Failure], elsewhere: Sequence[Job] = ()) -> None:
    """Raise one error that names what failed, with the exit code of the first; else what others have in hand."""
    if not failures and elsewhere:
        more = f"; and {len(elsewhere) - 1:,} more" if len(elsewhere) > 1 else ""
        what = f"{elsewhere[0].name} is run by another process{more}"
        raise UsageError(what, hint="when that has ended, run the same command to take it in")
    if not failures:
        return
    first = failures[0]
    more = f"; and {len(failures) - 1:,} more" if len(failures) > 1 else ""
    error = CxrsslError(f"{first.sentence}{more}", first.log, "run the same command to try again what is not done")
    error.exit_code = first.code if first.code > 0 else 4
    raise error


def is_locked(path: Path) -> bool:
    """Return whether a process holds a lock file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _name(job: Job) -> dict[str, str | int]:
    return {"run_id": job.run_id, "arm": job.row.arm, "cohort": job.cohort.name, "seed": job.seed}
