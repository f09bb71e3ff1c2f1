"""Encoders and loss as compiled graphs: whether this machine can, and the model whose methods run that way.

In: the machine's word, its device, a model. Out: the same model under the same weight names.
Never: a run that fails because no compiler is there, or processes of one run of which some compile and others do not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._inductor
import torch.distributed as dist
from torch import Tensor

from cxrssl.core.text import plain
from cxrssl.model.objective import Objective
from cxrssl.train.ranks import Ranks

CODE_OPTIONS: dict[str, Any] = {"deterministic": True, "combo_kernels": True, "combo_kernels_autotune": 0}
"""Of inductor: kernels are not chosen by timing them, else another process, or the same one resumed, may round
differently; and small kernels that do not need each other are launched as one."""
GRAPHS = {"triton.cudagraphs": True}
COMPILED = ("encode", "encode_targets", "compare")
"""What runs once or more a step: all views of one film, and all that looks at the whole batch."""
INDUCTOR = "inductor"


def choose_compile(word: str, device: torch.device, ranks: Ranks) -> bool:
    """Return whether the run compiles: `on`, `graphs`, `off`, or `auto`, which is on for CUDA; not where a trial fails.

    All processes decide alike. A trial that fails is reported in one sentence.
    """
    if word == "off" or (word == "auto" and device.type == "cpu"):
        return False
    # A small graph of its own, since a compiler that is missing shows itself only when the first step is under way.
    reason = _try_compiler(device)
    # One process that cannot is enough: compiled and plain steps round differently, and ranks must agree to the bit.
    failed = torch.full((), float(bool(reason)), device=device)
    if ranks.group is not None:
        dist.all_reduce(failed, dist.ReduceOp.MAX, group=ranks.group)
    if not failed.item():
        return True
    if reason or ranks.is_first:
        why = reason or "another process has none that works"
        sys.stderr.write(f"cxrssl: note: the steps run uncompiled, as no compiler works here: {why}\n")
    return False


def compile_model(model: Objective, backend: str | Callable[..., Any] = INDUCTOR, with_graphs: bool = False) -> None:
    """Let the model's methods run as whole graphs of fixed shapes; modules stay as they are, and so do weight names.

    On a GPU its views are cut by one kernel a kind besides.
    `with_graphs` replays all launches of a method as one CUDA graph; call `begin_graphs` before each step then.
    """
    options = list_options(with_graphs) if backend == INDUCTOR else None
    for name in COMPILED:
        method = torch.compile(getattr(model, name), fullgraph=True, dynamic=False, backend=backend, options=options)
        setattr(model, name, method)
    if model.device.type == "cuda" and not model.view_plan.settings.rotation_deg:  # a turned view has no such kernel
        from cxrssl.views.fused import cut_kinds_fused  # needs Triton, with which inductor compiles for a GPU

        model.cut_kinds = cut_kinds_fused


def list_options(with_graphs: bool) -> dict[str, Any]:
    """Return the options of inductor that this version of torch has."""
    known = set(torch._inductor.list_options())
    return {name: value for name, value in (CODE_OPTIONS | (GRAPHS if with_graphs else {})).items() if name in known}


def uses_graphs(word: str, device: torch.device, num_parts: int, ranks: Ranks) -> bool:
    """Return whether steps are recorded as CUDA graphs.

    Never where a batch is in parts, or shared by processes: what one call gave is then still needed when the next runs
    in the same memory.
    """
    return word == "graphs" and device.type == "cuda" and num_parts == 1 and ranks.group is None


def begin_graphs() -> None:
    """Say that a new step begins, which may overwrite what the last one gave."""
    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]


def keep_compiled(folder: Path) -> None:
    """Keep what is compiled in a folder, where it outlives the job, unless TORCHINDUCTOR_CACHE_DIR says another."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def _try_compiler(device: torch.device) -> str:
    """Return why a small graph cannot be compiled for `device`, forward and backward; empty when it can."""

    def graph(values: Tensor) -> Tensor:
        return values.sin().softmax(dim=0).square().sum()

    values = torch.ones(64, device=device, requires_grad=True)
    try:
        torch.autograd.backward(torch.compile(graph, fullgraph=True, dynamic=False)(values))
        if device.type == "cuda":
            from cxrssl.views.fused import cut_boxes

            film, box = values.new_zeros((1, 8, 8), dtype=torch.uint8), values.new_ones((8, 1, 1))
            cut_boxes(film, values.detach()[:4].view(1, 4), box, 8, 2, 0.0, 1.0)
    except Exception as error:  # whatever a missing or broken tool chain makes it raise
        return plain(f"{type(error).__name__}: {error}".splitlines()[0], 120)
    return ""
