"""What one process measures of a run: rates, waits, memory and the profile, through the real loop."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.features import extract_features
from cxrssl.model.encoder import Encoder
from cxrssl.model.vit import build_encoder
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.records.encoder import NOWHERE
from cxrssl.train import loop
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, plan_run
from tests.benchmarks.gpu.cases import SMALL_SETTINGS, Case
from tests.benchmarks.gpu.machine import read_clocks
from tests.gpu.runs import hash_weights, read_losses
from tests.gpu.trace import profile_trace
from tests.gpu.watch import NAMES, OPTIMISER, Stages, StepWatch, wait_for_device, watch_loop
from tests.gpu.world import NAME

Found = dict[str, Any]
Tell = Callable[[Found], None]
"""Says what is known so far, so that it outlives whatever comes after."""
NUM_WARM, NUM_CHECKED, NUM_PROFILED = 10, 20, 5
ATTENTION = re.compile("attention|flash|fmha|cudnn|sdpa", re.IGNORECASE)
NUM_KERNEL_NAMES, NAME_WIDTH = 3, 70
MEETING_S = 180.0


def measure_run(case: Case, workspace: Path, tell: Tell) -> None:
    """Train and tell rates and waits, then the profile."""
    warm, checked, profiled = (1, 0, 1) if case.is_rehearsal else (NUM_WARM, NUM_CHECKED, NUM_PROFILED)
    with tempfile.TemporaryDirectory() as temp:

        def when_timed(stages: Stages) -> None:
            tell(_rates(case, stages) | {"films_bytes": plan.films_bytes})

        stages = Stages(warm, checked, case.num_steps, profiled, Path(temp) / "trace.json", when_timed)
        plan = make_plan(case, workspace, Path(temp).name, stages.num_steps)
        with count_compiled_bytes() as num_bytes:
            run_plan(case, plan, stages)
        events = json.loads(stages.trace.read_text())["traceEvents"]
        tell({"last_loss": read_losses(plan.folder)[-1], **_profile(events, profiled)})
        if case.is_compiled and not case.is_rehearsal:  # which generates no code
            tell({"step_bytes": num_bytes()})


def _rates(case: Case, stages: Stages) -> Found:
    start = stages.clocks[stages.timed_from].since(stages.clocks[0])
    timed = stages.clocks[stages.profiled_from].since(stages.clocks[stages.timed_from])
    step_s = timed.wall_s / case.num_steps
    return {
        "films_per_s": case.batch_size / step_s,
        "step_ms": step_s * 1000,
        "wait_frac": timed.wait_s / timed.wall_s,
        "health_frac": timed.health_s / timed.wall_s,
        "start_s": start.wall_s - start.health_s - stages.timed_from * step_s,
        "peak_bytes": stages.peak_bytes,
        "syncs": dict(stages.syncs),
        "clocks": read_clocks(),
    }


def _profile(events: list[dict[str, Any]], num_steps: int) -> Found:
    trace = profile_trace(events, NAMES, num_steps)
    attention: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "kernel" and ATTENTION.search(event["name"]):
            attention[event["name"][:NAME_WIDTH]] += event["dur"]

    def plain(counts: dict[str, float]) -> dict[str, float]:
        return {"optimiser" if name == OPTIMISER else name: value for name, value in counts.items()}

    return {
        "profile": {
            "step_ms": trace.step_ms,
            "blocked_ms": trace.blocked_ms,
            "shares": plain(trace.shares()),
            "kernels": plain(dict(trace.num_kernels)),
            "syncs": dict(trace.syncs),
        },
        "attention_kernels": [name for name, _ in attention.most_common(NUM_KERNEL_NAMES)],
    }


def measure_training(case: Case, workspace: Path, tell: Tell) -> None:
    """Train to the last step and tell losses, hash of the weights, and films/s after the first steps."""
    warm = 1 if case.is_rehearsal else NUM_WARM
    plan = make_plan(case, workspace, case.run_name, case.num_steps + warm + 1)
    clock = _Clock(case, warm, plan.num_steps - 1)
    run_plan(case, plan, clock)
    if clock.started and clock.ended:
        films = (plan.num_steps - 1 - warm) * case.batch_size
        tell({"films_per_s": films / (clock.ended - clock.started)})
    if (plan.folder / "encoder").exists():
        tell({"losses": read_losses(plan.folder), "weights": hash_weights(plan.folder)})


class _Clock(StepWatch):
    """The time between the beginnings of two steps; the first waits for the other processes of its meeting."""

    def __init__(self, case: Case, first: int, last: int) -> None:
        self._case, self._first, self._last = case, first, last
        self.started = self.ended = 0.0

    def begin(self, step: int) -> None:
        if step not in (self._first, self._last):
            return
        wait_for_device()
        if step == self._first and self._case.meeting:
            meet(Path(self._case.meeting), self._case.run_name, self._case.num_meeting)
        now = time.perf_counter()
        if step == self._first:
            self.started = now
        else:
            self.ended = now


def meet(folder: Path, name: str, number: int) -> None:
    """Wait until as many processes are here."""
    (folder / name).touch()
    deadline = time.monotonic() + MEETING_S
    while len(list(folder.iterdir())) < number:
        if time.monotonic() > deadline:
            raise TimeoutError("the other process did not come")
        time.sleep(0.001)


def measure_bytes(case: Case, workspace: Path, tell: Tell) -> None:
    """Tell the bytes that the operations of one uncompiled step read and write, as if nothing stayed in a cache."""
    plan = make_plan(case, workspace, "bytes", 3)
    watch = _CountBytes()
    run_plan(case, plan, watch)
    tell({"step_bytes": watch.mode.num_bytes})


def measure_features(case: Case, workspace: Path, tell: Tell) -> None:
    """Tell how fast all films are encoded by a frozen encoder, with the first batches."""
    plan = make_plan(case, workspace, "features", 1)
    recipe = plan.recipe
    module = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
    encoder = Encoder(module.eval().requires_grad_(False), recipe, "0" * 64, NOWHERE)
    started = time.perf_counter()
    values = extract_features(Workspace(workspace), encoder, plan.images, torch.device(case.device))
    tell({"films_per_s": len(values) / (time.perf_counter() - started)})


class _CountBytes(StepWatch):
    def __init__(self) -> None:
        self.mode = _Bytes()
        self._stack = contextlib.ExitStack()

    def begin(self, step: int) -> None:
        self._stack.close()
        if step == 1:
            self._stack.enter_context(self.mode)


class _Bytes(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            tensors = [each for each in tree_leaves((args, kwargs, found)) if isinstance(each, torch.Tensor)]
            self.num_bytes += sum(each.numel() * each.element_size() for each in tensors)
        return found


@contextlib.contextmanager
def count_compiled_bytes() -> Iterator[Callable[[], int]]:
    """Yield what returns inductor's own count of bytes of all that it has compiled, or taken from its cache."""
    from torch._inductor import metrics
    from torch._inductor.graph import GraphLowering

    plain = GraphLowering.codegen

    def codegen(graph: Any) -> Any:
        code = plain(graph)
        with contextlib.suppress(Exception):  # a count is worth no run
            metrics.num_bytes_accessed += sum(node.get_read_write_buffers_sizes() for node in graph.scheduler.nodes)
        return code

    with patch.object(GraphLowering, "codegen", codegen):
        yield lambda: metrics.num_bytes_accessed


def make_plan(case: Case, workspace: Path, name: str, num_steps: int) -> RunPlan:
    """Return a plan of at least `num_steps` steps, with as many epochs as it takes."""
    changes = [
        f"model.backbone={case.backbone}",
        f"train.batch_size={case.batch_size}",
        f"train.precision={case.precision}",
        *(SMALL_SETTINGS if case.is_rehearsal else ()),
    ]
    recipe = load_recipe(case.recipe, changes, {"ehr": {"features": ["sex", "age", "view", "position"]}})
    machine = Machine(
        device=case.device,
        compile=case.compile,
        deterministic=case.is_deterministic,
        feed=case.feed,
        checkpoint_every=case.checkpoint_every,
    )
    plan = plan_run(Workspace(workspace), NAME, recipe, machine, name)
    train = dataclasses.replace(plan.recipe.train, num_epochs=-(-num_steps // plan.steps_per_epoch))
    return dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, train=train))


def run_plan(case: Case, plan: RunPlan, watch: StepWatch) -> None:
    """Train with the kernels of the case; what a CPU would spend minutes on compiling it only traces."""
    if case.attention == "flash":
        torch.backends.cuda.enable_cudnn_sdp(False)
    with contextlib.ExitStack() as stack:
        stack.enter_context(watch_loop(watch))
        if case.is_rehearsal:
            traced = functools.partial(loop.compile_model, backend="aot_eager")
            stack.enter_context(patch.object(loop, "compile_model", traced))
        # NCCL refuses two processes on one device.
        join = functools.partial(_join_by_gloo, dist.init_process_group)
        stack.enter_context(patch.object(dist, "init_process_group", join))
        pretrain(plan)


def _join_by_gloo(join: Callable[..., None], backend: str, **settings: Any) -> None:
    join("gloo", **settings)
