"""The real loop watched from outside: its steps counted and timed, its parts named for the profiler, its waits found.

Nothing of the program knows of this: names that the loop looks up are laid over while a run is watched.
"""

import contextlib
import functools
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from cxrssl.core.process import peak_rss_bytes
from cxrssl.model.msn import MSN
from cxrssl.recipe.machine import Machine
from cxrssl.train import loop, step
from cxrssl.train.feed import Feed
from cxrssl.train.health import Health
from cxrssl.train.pace import PROBE_EVERY
from cxrssl.train.recorder import Recorder
from tests.gpu.trace import WINDOW

MODEL_SPANS = {"encode_targets": "target encoder", "encode": "anchor encoder", "compare": "head and loss"}
OPTIMISER = "Optimizer.step#AdamW.step"
"""How torch itself calls the optimiser's step in a trace."""
NAMES = (
    *("films", "views", *MODEL_SPANS.values(), "backward", "gradient norm", "guard", OPTIMISER),
    *("moving average", "numbers", "health"),
)


class StepWatch:
    """What is done at the beginning of each step, right after all that the one before tells and saves."""

    wait_s = 0.0
    """Time that steps have waited for their films so far."""
    health_s = 0.0
    """Time that the measurements beside the step have taken so far, without what they waited for the step."""

    def begin(self, step: int) -> None: ...


@contextlib.contextmanager
def watch_loop(watch: StepWatch) -> Iterator[None]:
    """Call `watch` at every step of the loop inside the block, and name the parts of the step."""
    open_feed = loop.open_feed
    clip, set_schedule, guard = step.clip_gradients, step.set_schedule, contextlib.ExitStack()
    timed_measure = _named(Health.measure, "health")

    def measure(health: Health, step: int, is_last: bool, *rest: Any) -> Any:
        if step % Machine.health_every == 0 or step % PROBE_EVERY == 0 or is_last:
            wait_for_device()
        started = time.perf_counter()
        found = timed_measure(health, step, is_last, *rest)
        watch.health_s += time.perf_counter() - started
        return found

    def clip_then_guard(*inputs: Any) -> Any:
        with record_function("gradient norm"):
            norm = clip(*inputs)
        guard.enter_context(record_function("guard"))
        return norm

    def leave_guard(*inputs: Any) -> None:
        guard.close()
        set_schedule(*inputs)

    laid_over = [
        (loop, "open_feed", lambda *inputs: _WatchedFeed(open_feed(*inputs), watch)),
        (loop, "_make_part", _named(loop._make_part, "views")),
        (step, "backward", _name_model(step.backward)),
        (step, "clip_gradients", clip_then_guard),
        (step, "set_schedule", leave_guard),
        (torch.autograd, "backward", _named(torch.autograd.backward, "backward")),
        (MSN, "move_target", _named(MSN.move_target, "moving average")),
        (Health, "measure", _outside(measure)),
        (loop, "flatten_state", _outside(loop.flatten_state)),
        (loop, "publish_run", _outside(loop.publish_run)),
        (Recorder, "send", _named(Recorder.send, "numbers")),
        (Recorder, "read", _named(Recorder.read, "numbers")),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, value in laid_over:
            stack.enter_context(patch.object(owner, name, value))
        yield


class _WatchedFeed:
    """A feed, which is what a step asks first."""

    def __init__(self, feed: Feed, watch: StepWatch) -> None:
        self._feed, self._watch = feed, watch

    def films(self, step: int) -> torch.Tensor:
        self._watch.begin(step)
        started = time.perf_counter()
        with record_function("films"):
            films = self._feed.films(step)
        self._watch.wait_s += time.perf_counter() - started
        return films

    def close(self) -> None:
        self._feed.close()


class _Named:
    """An object some of whose methods are spans."""

    def __init__(self, inner: Any, names: dict[str, str]) -> None:
        self._inner, self._names = inner, names

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return _named(value, self._names[name]) if name in self._names else value


def _named(function: Any, name: str) -> Any:
    @functools.wraps(function)
    def call(*inputs: Any, **options: Any) -> Any:
        with record_function(name):
            return function(*inputs, **options)

    return call


def _name_model(backward: Any) -> Any:
    return lambda model, *rest: backward(_Named(model, MODEL_SPANS), *rest)


def _outside(function: Any) -> Any:
    """Return the function as one that may wait for the device: it is no part of the step."""

    @functools.wraps(function)
    def call(*inputs: Any, **options: Any) -> Any:
        if not torch.cuda.is_available():
            return function(*inputs, **options)
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("default")
        try:
            return function(*inputs, **options)
        finally:
            torch.cuda.set_sync_debug_mode(mode)

    return call


@dataclass(frozen=True)
class Clock:
    """What was counted up to the beginning of a step."""

    wall_s: float
    wait_s: float
    health_s: float

    def since(self, earlier: "Clock") -> "Clock":
        return Clock(*(getattr(self, name) - getattr(earlier, name) for name in ("wall_s", "wait_s", "health_s")))


class Stages(StepWatch):
    """A run in stages: warm-up, steps searched for waits of the host, timed steps, profiled steps, one step more."""

    def __init__(
        self,
        num_warm: int,
        num_checked: int,
        num_timed: int,
        num_profiled: int,
        trace: Path,
        when_timed: Callable[["Stages"], None] = lambda stages: None,
    ) -> None:
        self.checked_from = num_warm
        self.timed_from = num_warm + num_checked
        self.profiled_from = self.timed_from + num_timed
        self.over_from = self.profiled_from + num_profiled
        self.num_steps = self.over_from + 1
        self.trace = trace
        self.syncs: Counter[str] = Counter()
        """Where a step held the host until the device was done."""
        self.clocks: dict[int, Clock] = {}
        self.peak_bytes = 0
        self._when_timed = when_timed
        self._stage = contextlib.ExitStack()

    def begin(self, step: int) -> None:
        if step not in (0, self.checked_from, self.timed_from, self.profiled_from, self.over_from):
            return
        self._stage.close()
        wait_for_device()
        self.clocks[step] = Clock(time.perf_counter(), self.wait_s, self.health_s)
        if self.checked_from <= step < self.timed_from:
            self._stage.enter_context(find_syncs(self.syncs))
        if step == self.profiled_from:
            self.peak_bytes = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_rss_bytes()
            self._when_timed(self)
            self._stage.enter_context(write_trace(self.trace))


@contextlib.contextmanager
def find_syncs(places: Counter[str]) -> Iterator[None]:
    """Count where the block makes the host wait for the device, by file and line."""
    if not torch.cuda.is_available():
        yield
        return
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
    here = [each for each in found if "called a synchronizing" in str(each.message)]
    places.update(f"{Path(each.filename).name}:{each.lineno}" for each in here)


@contextlib.contextmanager
def write_trace(path: Path) -> Iterator[None]:
    """Write what torch's profiler sees of the block, between two marks."""
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    with profile(activities=kinds) as profiler:
        with record_function(WINDOW):
            pass
        yield
        wait_for_device()
        with record_function(WINDOW):
            pass
    profiler.export_chrome_trace(str(path))


def wait_for_device() -> None:
    """Wait until the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
