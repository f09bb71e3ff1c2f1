"""How much memory and time a run will take, from two short trials with few films, in a process of their own.

In: a plan. Out: an Estimate. Never: a file of the run, or a guess from a table of devices.
Memory and time of a step grow linearly with the films encoded at a time: weights and moments are there whatever their
number, activations belong to one film each. So two sizes give the slope, and the size asked for is read off the line.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from cxrssl.core.errors import CxrsslError, SetupError
from cxrssl.core.process import keep_freed_memory, peak_rss_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.settings import Recipe
from cxrssl.train.checkpoint import serialise
from cxrssl.train.compiler import choose_compile, compile_model, keep_compiled
from cxrssl.train.device import fix_kernels, set_precision
from cxrssl.train.feed import fits_beside
from cxrssl.train.guard import Guard
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.pooled import FindFilms
from cxrssl.train.ranks import Ranks
from cxrssl.train.record import load_record
from cxrssl.train.schedule import settings_at
from cxrssl.train.start import Start
from cxrssl.train.state import TrainState, flatten_state, init_state
from cxrssl.train.step import Batch, take_step
from cxrssl.train.threads import set_threads
from cxrssl.views.draw import Views, make_views

TRIAL_SIZES = (4, 12)
TRIAL_STEPS = 3


@dataclass(frozen=True)
class Estimate:
    """What a run will take on this machine. Memory is peak resident memory on the CPU, peak allocated on a GPU."""

    memory_bytes: int
    step_s: float
    run_s: float
    films_bytes: int
    """All films of the run as they are packed."""
    holds_films: bool
    """Whether the device will hold all films of the run."""
    free_bytes: int
    """Memory of the device that is free now; 0 on the CPU, where nobody can say."""


@dataclass(frozen=True)
class _Trial:
    peak_bytes: int
    step_s: float


@dataclass(frozen=True)
class _Trials:
    low: _Trial
    high: _Trial
    save_bytes: int
    """Peak of writing a checkpoint, which does not depend on the batch; 0 on a GPU, which does not feel it."""
    free_bytes: int
    total_bytes: int


def estimate_run(plan: RunPlan, device: torch.device) -> Estimate:
    """Return what the run of `plan` will take on `device`; it takes a few small steps and writes nothing."""
    size = plan.machine.micro_batch or plan.recipe.train.batch_size
    (least, most), trials = _try_sizes(plan, device, size)
    low, high = trials.low, trials.high
    span = most - least

    # A straight line through two sizes, read off at the size asked for.
    def at_size(first: float, second: float) -> float:
        return second + (second - first) / span * (size - most) if span else second

    # The smaller trial ran first in the same process, so its peak is its own and the larger one's is the process's.
    peak_bytes = max(at_size(low.peak_bytes, high.peak_bytes), trials.save_bytes)
    # A batch in parts is encoded twice, but for the backward pass: about four thirds of the work.
    num_parts = -(-plan.recipe.train.batch_size // size)
    step_s = (
        step_at(at_size(low.step_s, high.step_s), high.step_s, size / most)
        * num_parts
        * (4 / 3 if num_parts > 1 else 1)
    )
    left_bytes = trials.free_bytes - int(peak_bytes)
    holds_films = device.type == "cuda" and fits_beside(plan.films_bytes, left_bytes, trials.total_bytes)
    return Estimate(
        memory_bytes=int(peak_bytes) + plan.films_bytes * holds_films,
        step_s=step_s,
        run_s=step_s * (plan.num_steps - plan.first_step),
        films_bytes=plan.films_bytes,
        holds_films=holds_films,
        free_bytes=trials.free_bytes,
    )


def trial_sizes(size: int, is_cuda: bool) -> list[tuple[int, int]]:
    """Return pairs of sizes to try for a batch of `size`, each only where the one before has not the memory.

    A GPU spends on a few films what launching costs, whatever their number: only sizes near the batch show what it
    takes. A CPU shows it with few.
    """
    if not is_cuda:
        return [(min(TRIAL_SIZES[0], size), min(TRIAL_SIZES[1], size))]
    tops = [size]
    while tops[-1] > TRIAL_SIZES[1]:
        tops.append(tops[-1] // 2)
    return [(max(1, top // 2), top) for top in tops]


def _try_sizes(plan: RunPlan, device: torch.device, size: int) -> tuple[tuple[int, int], _Trials]:
    """Return the largest sizes that the device has the memory for, and what they took."""
    pairs = trial_sizes(size, device.type == "cuda")
    for number, sizes in enumerate(pairs, start=1):
        try:
            return sizes, _try(plan, device, sizes)
        except MemoryFull:
            if number == len(pairs):
                raise
    raise AssertionError("one pair at least is tried")


class MemoryFull(SetupError):
    """The device has not the memory for a trial."""


def step_at(line_s: float, trial_s: float, times_larger: float) -> float:
    """Return the time of a step, read off a line, within what it can be: more films never take less time than the
    trial's, nor more than as many times as much. A busy machine can bend the line beyond both.
    """
    return min(max(line_s, trial_s), trial_s * times_larger)


def _clock_s(device: torch.device) -> float:
    """Return the time that this process has had: on the CPU what it computed, since others may hold the cores too."""
    return time.perf_counter() if device.type == "cuda" else time.process_time() / torch.get_num_threads()


def _try(plan: RunPlan, device: torch.device, sizes: tuple[int, int]) -> _Trials:
    context = multiprocessing.get_context("spawn")
    root = plan.folder.parent.parent
    ours, theirs = context.Pipe(duplex=False)
    # The weights of a start change no time, and what they have seen is long.
    start = dataclasses.replace(plan.start, lineage=((), {})) if plan.start else None
    inputs = (theirs, root, plan.cohort.name, plan.recipe, plan.machine, device.type, sizes, start, plan.find_films)
    child = context.Process(target=_run_trials, args=inputs, daemon=True)
    child.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        child.join()
        what = f"a trial step with up to {sizes[1]} films died (exit {child.exitcode})"
        raise SetupError(what, hint="is there enough memory?") from None
    child.join()
    if isinstance(found, CxrsslError):
        raise found
    assert isinstance(found, _Trials), "the trials report themselves"
    return found


def _run_trials(
    pipe: Connection,
    root: Path,
    cohort: str,
    recipe: Recipe,
    machine: Machine,
    device_type: str,
    sizes: tuple[int, int],
    start: Start | None,
    find_films: FindFilms | None,
) -> None:
    device = torch.device(device_type)
    if device.type == "cpu":
        keep_freed_memory()  # as the run does
    try:
        if device.type == "cuda" and machine.deterministic:
            fix_kernels()
        set_precision(recipe.train.precision, device)
        free_bytes, total_bytes = torch.cuda.mem_get_info() if device.type == "cuda" else (0, 0)
        keep_compiled(root / "compiled")
        is_compiled = choose_compile(machine.compile, device, Ranks())
        # The smaller first, and nothing of it kept: each is the peak of the process so far.
        take = functools.partial(_take_steps, root, cohort, recipe, machine, device, start, find_films)
        low = take(sizes[0], is_compiled)[0]
        gc.collect()
        high, state = take(sizes[1], is_compiled)
        pipe.send(_Trials(low, high, _save_bytes(state, device), free_bytes, total_bytes))
    except torch.OutOfMemoryError:
        pipe.send(MemoryFull(f"the device has not enough memory for {sizes[1]} films at a time"))
    except CxrsslError as error:
        pipe.send(error)


def _take_steps(
    root: Path,
    cohort: str,
    recipe: Recipe,
    machine: Machine,
    device: torch.device,
    start: Start | None,
    find_films: FindFilms | None,
    size: int,
    is_compiled: bool,
) -> tuple[_Trial, TrainState]:
    set_threads(machine.num_threads)
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, batch_size=size))
    plan = plan_run(Workspace(root), cohort, recipe, machine, start=start, find_films=find_films)
    record = load_record(plan)
    state = init_state(recipe, record.columns, device)
    if is_compiled:
        compile_model(state.model)
    rows = plan.rows[:size]
    films = torch.from_numpy(plan.images.read_rows(rows)).to(device)
    valid = torch.from_numpy(plan.images.box_N4[rows].astype(np.float32))
    guard, now = Guard(state.optimizer, device), settings_at(0, TRIAL_STEPS, 1, recipe.train)
    times: list[float] = []
    for _ in range(TRIAL_STEPS):
        started = _clock_s(device)

        def views_of(part: slice) -> Views:
            model, seed = state.model, recipe.train.seed
            return make_views(films[part], valid, model.view_plan, seed, state.step, part, model.cut_kinds)

        batch = Batch(views_of, record.batch(rows, 0, device), [slice(0, size)])
        take_step(state, batch, now, guard, recipe.train)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(_clock_s(device) - started)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_rss_bytes()
    return _Trial(peak, min(times[1:])), state  # the first step allocates


def _save_bytes(state: TrainState, device: torch.device) -> int:
    if device.type == "cuda":
        return 0
    serialise(flatten_state(state))
    return peak_rss_bytes()
