"""The training loop: batch, views, forward, loss, guard, step, target, log, maybe save.

In: a RunPlan. Out: journals, checkpoints and the published encoder under the run's folder.
Never: a step whose loss or gradient is not finite, or a number that depends on where the run was interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxrssl.core.code import digest_code
from cxrssl.core.durable import kill_point
from cxrssl.core.errors import GuardStop, IntegrityError, SetupError, UsageError
from cxrssl.core.held import check_held, folder_held
from cxrssl.core.journal import Journal, append_record
from cxrssl.core.lock import hold_lock
from cxrssl.core.process import describe_process, is_first, keep_freed_memory
from cxrssl.core.progress import track
from cxrssl.core.signals import StopRequest, catch_signals
from cxrssl.core.text import format_bytes, plain
from cxrssl.recipe.machine import Machine
from cxrssl.records.imported import refuse_imported
from cxrssl.records.run import RunFiles
from cxrssl.records.steps import last_loss
from cxrssl.train.alarms import Alarm
from cxrssl.train.checkpoint import Checkpoints, newest_setting
from cxrssl.train.compiler import begin_graphs, choose_compile, compile_model, keep_compiled, uses_graphs
from cxrssl.train.device import choose_device, describe_precision, fix_kernels, set_precision, take_device
from cxrssl.train.feed import FilmPlan, open_feed
from cxrssl.train.folder import describe_end, describe_run, publish_run, record_finish, remove_leftovers
from cxrssl.train.guard import Guard
from cxrssl.train.health import NOTHING_MEASURED, Health
from cxrssl.train.order import batch_rows
from cxrssl.train.pace import CHECKPOINT_EVERY, Pace
from cxrssl.train.plan import RunPlan
from cxrssl.train.ranks import Ranks, StopVote, check_same_step, join_ranks, wait_for_all
from cxrssl.train.record import RunRecord, load_record
from cxrssl.train.recorder import Recorder
from cxrssl.train.schedule import settings_at
from cxrssl.train.start import begin_from
from cxrssl.train.state import TrainState, flatten_state, init_state, restore_state, state_bytes
from cxrssl.train.step import Batch, split_batch, take_step
from cxrssl.train.stopping import StopWatch
from cxrssl.train.threads import set_threads
from cxrssl.views.draw import Views, make_views


@dataclass(frozen=True)
class RunResult:
    run_id: str
    num_steps: int
    resumed_from: int
    was_finished: bool
    final_loss: float | None
    """Loss of the last step, None if it was not logged."""
    wall_s: float


AfterStep = Callable[[TrainState], None]


def _do_nothing(state: TrainState) -> None:
    """Look at nothing after a step."""


def pretrain(plan: RunPlan, after_step: AfterStep = _do_nothing) -> RunResult:
    """Train to the last step, resuming from the newest valid checkpoint of the same run.

    `after_step` looks at the state after each step and changes nothing; it is done before a checkpoint of that step is.

    Raises: GuardStop for a loss or gradient that is not finite; Preempted after a signal of core.signals or
    `cxrssl runs stop`, with a checkpoint written; SetupError when the disk refuses a write or has no
    room for the checkpoints; IntegrityError when there are checkpoints and none is whole; UsageError when another
    process is at this run.
    """
    encoder_path = plan.files.encoder
    # The published encoder is the proof that a run is done: it is written last, and whole or not at all.
    if plan.files.is_published:
        record_finish(plan.files, plan.num_steps)
        return RunResult(plan.run_id, plan.num_steps, plan.num_steps, True, last_loss(plan.files), 0.0)
    refuse_imported(plan.files.folder, "trained further: pretrain in another workspace")
    kind = choose_device(plan.machine.device)
    made_with = newest_setting(plan.files.checkpoints, "num_threads") if kind.type == "cpu" else None
    set_threads(plan.machine.num_threads, made_with)
    if kind.type == "cpu":
        keep_freed_memory()
    elif plan.machine.deterministic:
        fix_kernels()
    with join_ranks(kind.type) as ranks, catch_signals() as stop:
        device = take_device(kind, ranks)
        # The lock is the first process's: the others would wait for themselves.
        if ranks.is_first:
            with hold_lock(plan.files.lock, _make_busy(plan)), folder_held(plan.folder):
                return _pretrain(plan, device, ranks, stop, encoder_path, after_step)
        return _pretrain(plan, device, ranks, stop, encoder_path, _do_nothing)


def _pretrain(
    plan: RunPlan, device: torch.device, ranks: Ranks, stop: StopRequest, encoder_path: Path, after_step: AfterStep
) -> RunResult:
    started = time.monotonic()
    # Only the first process writes: the others would write the same.
    events = plan.files.events if ranks.is_first else Path(os.devnull)
    set_precision(plan.recipe.train.precision, device)
    if ranks.is_first and (note := describe_precision(plan.recipe.train.precision, device)):
        sys.stderr.write(f"cxrssl: note: {note}\n")
    keep_compiled(plan.workspace / "compiled")
    is_compiled = choose_compile(plan.machine.compile, device, ranks)
    if ranks.is_first:
        describe_run(plan, device)
    record = load_record(plan)
    state = init_state(plan.recipe, record.columns, device)
    with_graphs = is_compiled and uses_graphs(plan.machine.compile, device, len(_split(plan, ranks)), ranks)
    if is_compiled:
        compile_model(state.model, with_graphs=with_graphs)
    settings = checkpoint_settings(plan, device, ranks, is_compiled)
    checkpoints = Checkpoints(plan.files.checkpoints, settings, plan.machine.keep_checkpoints, note_gpu(plan, device))
    if ranks.is_first:
        remove_leftovers(plan.folder, events)
    # Every process reads the checkpoint itself; they must agree on which, or they would train apart.
    resumed_from = _restore_newest(checkpoints, state, ranks, events)
    if plan.start is not None and not resumed_from:
        begin_from(plan.start, plan.recipe, list(plan.origin), state)
    check_same_step(state.step, ranks, device)
    asked = StopWatch(stop, events)
    place = {"device": device.type, "num_threads": torch.get_num_threads(), "num_processes": ranks.world_size}
    made_by = {"is_compiled": is_compiled, "code_sha256": digest_code(), **place, **describe_process()}
    append_record(events, {"event": "start", "step": state.step, **made_by})
    try:
        if ranks.is_first:
            # Before the first step, since a disk that is too small would cost the work up to the first save.
            checkpoints.check_space(state_bytes(state))
        _train(plan, record, state, device, ranks, asked, events, checkpoints, with_graphs, after_step)
        if ranks.is_first:
            publish_run(plan, state, encoder_path)
            kill_point("run-before-finish")
    except BaseException as error:
        # On a full disk this record fails too; the error that ended the run is the one to report.
        with contextlib.suppress(SetupError):
            append_record(events, describe_end(error, state.step))
        if isinstance(error, torch.OutOfMemoryError):
            hint = "encode fewer films at a time: --machine micro_batch=N, which leaves the numbers as they are"
            if plan.machine.feed == "resident":
                hint = (
                    f"--machine feed=ahead leaves its films, {format_bytes(plan.films_bytes)}, on the disk; or {hint}"
                )
            raise SetupError("the device has not enough memory for this batch", plan.folder, hint) from error
        raise
    append_record(events, {"event": "finish", "step": state.step})
    return RunResult(
        plan.run_id, plan.num_steps, resumed_from, False, last_loss(plan.files), time.monotonic() - started
    )


def _train(
    plan: RunPlan,
    record: RunRecord,
    state: TrainState,
    device: torch.device,
    ranks: Ranks,
    stop: StopWatch,
    events: Path,
    checkpoints: Checkpoints,
    with_graphs: bool,
    after_step: AfterStep,
) -> None:
    recipe, machine = plan.recipe, plan.machine
    valid_N4 = torch.from_numpy(plan.images.box_N4.astype(np.float32))
    size = recipe.train.batch_size
    parts = _split(plan, ranks)
    own = slice(parts[0].start, parts[-1].stop)
    # The reader may run ahead of the loop: which films a step needs is a function of the step alone.
    film_plan = FilmPlan(plan.images, plan.rows, lambda step: batch_rows(plan, step)[own], state.step, plan.num_steps)
    vote = StopVote(ranks, device)
    guard = Guard(state.optimizer, device)
    with (
        contextlib.closing(open_feed(film_plan, device, machine.stall_s, machine.feed)) as feed,
        contextlib.closing(_open_journal(plan.files, ranks)) as journal,
        track(f"pretrain {plan.run_id}", plan.num_steps * size, "films", done=state.step * size) as progress,
    ):
        recorder = Recorder(plan, state.model, journal, events, progress, state.step)
        health = Health(plan, device)
        pace = Pace(CHECKPOINT_EVERY, machine.checkpoint_every)
        while state.step < plan.num_steps:
            step = state.step
            now = settings_at(step, plan.num_steps, plan.steps_per_epoch, recipe.train, plan.first_step)

            # ---- batch and views: functions of (seed, step) alone
            started = time.perf_counter()
            films = feed.films(step)
            recorder.wait_s += time.perf_counter() - started
            rows = batch_rows(plan, step)
            views_of = functools.partial(_make_part, plan, state, films, own.start, valid_N4[rows])

            # ---- forward, backward, guard, optimiser, target
            if with_graphs:
                begin_graphs()
            batch = Batch(views_of, record.batch(rows, step, device), parts)
            loss, numbers_P = take_step(state, batch, now, guard, recipe.train, ranks.group)
            is_last = state.step == plan.num_steps
            kill_point("train-after-step")
            check_held(plan.folder)
            after_step(state)

            # ---- report and save
            # All processes stop after the same step, and a run that is done is not stopped.
            is_stopped = vote.is_stop(bool(stop)) and not is_last
            extra = health.measure(step, is_last, loss, state.model) if ranks.is_first else NOTHING_MEASURED
            recorder.send(step, rows, now, numbers_P, guard.is_bad, extra)
            # Before a save the host waits for all numbers: no checkpoint of a step that the guard may yet call bad.
            is_saved = is_stopped or is_last or pace.is_due(state.step)
            _report_alarms(recorder.read(wait=is_saved), machine, events, ranks)
            if is_saved and ranks.is_first:
                # The journal first: a checkpoint never knows of steps that the journal has lost.
                journal.sync()
                with pace.spend():
                    checkpoints.save(state.step, flatten_state(state))
                kill_point("save-before-event")
                append_record(events, {"event": "checkpoint", "step": state.step})
            if is_stopped:
                wait_for_all(ranks)
                raise stop.error(state.step)


def _split(plan: RunPlan, ranks: Ranks) -> list[slice]:
    """Return the films of this process, in the parts that are encoded one after the other."""
    size = plan.recipe.train.batch_size
    if size % ranks.world_size:
        raise UsageError(f"a batch of {size} films cannot be shared evenly by {ranks.world_size} processes")
    return split_batch(size, ranks.rank, ranks.world_size, plan.machine.micro_batch)


def _make_part(plan: RunPlan, state: TrainState, films: Tensor, first: int, valid_B4: Tensor, part: slice) -> Views:
    """Return the views of a part of the batch; `films` are those of this process, which begin at `first`."""
    here, model = films[part.start - first : part.stop - first], state.model
    return make_views(here, valid_B4, model.view_plan, plan.recipe.train.seed, state.step, part, model.cut_kinds)


def _report_alarms(alarms: list[tuple[int, Alarm]], machine: Machine, events: Path, ranks: Ranks) -> None:
    for step, alarm in alarms:
        if ranks.is_first:
            sys.stderr.write(f"cxrssl: alarm at step {step}: {alarm.what}\n")
        if machine.on_alarm == "stop":
            raise GuardStop(f"{alarm.what} (at step {step})", events, "to continue regardless: --machine on_alarm=warn")


def checkpoint_settings(plan: RunPlan, device: torch.device, ranks: Ranks, is_compiled: bool) -> dict[str, str]:
    """Return what a resume must find unchanged for exact arithmetic."""
    shares = {"micro_batch": str(plan.machine.micro_batch), "num_processes": str(ranks.world_size)}
    place = {"device": device.type, "compile": "on" if is_compiled else "off"}
    if device.type == "cuda":
        place["deterministic"] = str(plan.machine.deterministic).lower()
        if plan.machine.deterministic:
            place["gpu"] = torch.cuda.get_device_name(device)
    else:
        place["num_threads"] = str(torch.get_num_threads())
    return {"precision": plan.recipe.train.precision, **plan.origin, **place, **shares}


def note_gpu(plan: RunPlan, device: torch.device) -> dict[str, str]:
    """Return the GPU for the checkpoints; say so where the newest one is of another, whose kernels round otherwise."""
    if device.type == "cpu":
        return {}
    name, was = torch.cuda.get_device_name(device), newest_setting(plan.files.checkpoints, "gpu")
    if was is not None and was != name and is_first():
        sys.stderr.write(f"cxrssl: note: the run goes on with {name}, its last checkpoint is of {was}\n")
    return {"gpu": name}


def _restore_newest(checkpoints: Checkpoints, state: TrainState, ranks: Ranks, events: Path) -> int:
    def report(error: IntegrityError) -> None:
        where = Path(error.where).relative_to(checkpoints.folder).as_posix()
        append_record(events, {"event": "damage", "what": error.what, "where": where})
        if ranks.is_first:
            sys.stderr.write(f"cxrssl: checkpoint skipped: {plain(error.what)} ({plain(where)})\n")

    tensors = checkpoints.load_newest(report)
    if tensors is not None:
        restore_state(state, tensors)
    return state.step


def _open_journal(files: RunFiles, ranks: Ranks) -> Journal:
    return Journal(files.next_journal() if ranks.is_first else Path(os.devnull))


def _make_busy(plan: RunPlan) -> UsageError:
    what = f"run {plan.run_id} is in progress in another process"
    return UsageError(what, plan.folder, "watch it with cxrssl dashboard")
