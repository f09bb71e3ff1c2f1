"""Inductor itself, for a GPU that computes nothing: code is generated for sm_90 and never assembled or run.

Out: what each graph launches and moves, by inductor's own count. Run in a process that has `stub.c` preloaded.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import torch
import torch._inductor.async_compile
import torch._inductor.compile_fx
import torch._inductor.config
import torch._inductor.scheduler
import torch.utils._triton
from torch._dynamo.device_interface import CudaInterface
from torch._functorch._aot_autograd.utils import make_boxed_func
from torch._inductor.fx_passes.joint_graph import UniformValueConstantFolder
from torch._inductor.graph import GraphLowering
from torch.fx import GraphModule
from torch.utils._python_dispatch import TorchDispatchMode

H100 = SimpleNamespace(
    name="a GPU that computes nothing",
    major=9,
    minor=0,
    multi_processor_count=132,
    total_memory=80 * 2**30,
    warp_size=32,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    shared_memory_per_block=49152,
    shared_memory_per_block_optin=232448,
    shared_memory_per_multiprocessor=233472,
    L2_cache_size=50 * 2**20,
    gcnArchName="",
)
Result = TypeVar("Result")
LAUNCH = re.compile(r"^\s*(?:\w+ = )?(\w+)\.run\(", re.MULTILINE)
EXTERN = re.compile(r"^\s*(?:\w+ = )?(?:extern_kernels\.(\w+)|torch\.ops\.(\w+\.\w+)(?:\.\w+)?)\(", re.MULTILINE)
"""Calls of generated kernels, and of those of libraries, in the code that inductor writes."""


@dataclass
class Graph:
    """One graph that inductor compiled."""

    name: str
    is_backward: bool
    num_generated: int
    """Launches of kernels that inductor wrote."""
    externs: dict[str, int] = field(default_factory=dict)
    """Calls of kernels of libraries, each counted as one launch."""
    num_bytes: int = 0
    """Read and written, by inductor's count of its kernels' buffers."""
    kept_bytes: int = 0
    """What a backward graph is given: it was kept since the forward one."""


class Compiler:
    """A backend of `torch.compile` that writes down what inductor makes and computes fake tensors in its place."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.graphs: list[Graph] = []
        self.name = ""
        """What is being called: the name of the graphs that begin now."""
        self._options = options

    def named(self, name: str, call: Callable[..., Result]) -> Callable[..., Result]:
        """Return a function whose graphs have a name."""

        def called(*args: Any, **kwargs: Any) -> Result:
            self.name = name
            return call(*args, **kwargs)

        return called

    def __call__(self, module: GraphModule, inputs: Sequence[Any]) -> Any:
        name = self.name

        def compile_graph(module: GraphModule, inputs: Sequence[Any], **about: Any) -> Any:
            return self._compile(name, module, inputs, about)

        return torch._inductor.compile_fx.compile_fx(
            module, inputs, inner_compile=compile_graph, config_patches=self._options
        )

    def _compile(self, name: str, module: GraphModule, inputs: Sequence[Any], about: dict[str, Any]) -> Any:
        plain = copy.deepcopy(module)
        written: list[tuple[str, int]] = []
        write = GraphLowering.codegen

        def watched(lowering: GraphLowering) -> Any:
            found = write(lowering)
            written.append((found[0].value, lowering.count_bytes()[0]))
            return found

        with patch.object(GraphLowering, "codegen", watched):
            torch._inductor.compile_fx.compile_fx_inner(module, inputs, **about)
        code, num_bytes = "".join(code for code, _ in written), sum(each for _, each in written)
        body = code[code.index("def call(") :]
        externs = dict(Counter(first or second for first, second in EXTERN.findall(body)))
        is_backward = bool(about.get("is_backward"))
        kept_bytes = _kept(plain) if is_backward else 0
        self.graphs.append(Graph(name, is_backward, len(LAUNCH.findall(body)), externs, num_bytes, kept_bytes))
        if folder := os.environ.get("STEP_CODE"):
            (Path(folder) / f"{name}{'-backward' * is_backward}.py").write_text(code)
        return make_boxed_func(plain.forward)


def _kept(module: GraphModule) -> int:
    """Return the size of a graph's inputs."""
    values = [node.meta.get("val") for node in module.graph.find_nodes(op="placeholder")]
    return sum(value.untyped_storage().nbytes() for value in values if isinstance(value, torch.Tensor))


class _ConstantsOnHost(TorchDispatchMode):
    """Makes constants of the device on the host, where inductor looks at their values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "cpu"} if "device" in kwargs else kwargs))


def _fold_on_host(fold: Callable[..., Any]) -> Callable[..., Any]:
    def folded(*args: Any, **kwargs: Any) -> Any:
        with _ConstantsOnHost():
            return fold(*args, **kwargs)

    return folded


class _Nothing:
    """Whatever a driver is asked for."""

    def __getattr__(self, name: str) -> Any:
        return _Nothing()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _Nothing()


@contextlib.contextmanager
def fake_compiler() -> Iterator[None]:
    """Let inductor believe in an H100, and leave out what only a real one could do: assembling and timing."""
    import triton
    from triton.backends.compiler import GPUTarget

    class Driver:
        utils = SimpleNamespace(get_device_properties=lambda device: {"max_shared_mem": 232448})

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", 90, 32)

        def get_active_torch_device(self) -> torch.device:
            return torch.device("cuda", 0)

        def __getattr__(self, name: str) -> Any:
            return lambda *args, **kwargs: 0

    def give(value: Any) -> Callable[..., Any]:
        return lambda *args, **kwargs: value

    worker = CudaInterface.Worker
    patches: list[tuple[Any, str, Any]] = [
        *[(torch.cuda, name, give(value)) for name, value in _CUDA.items()],
        *[(CudaInterface, name, staticmethod(give(value))) for name, value in _INTERFACE.items()],
        (UniformValueConstantFolder, "run_node", _fold_on_host(UniformValueConstantFolder.run_node)),
        (worker, "get_device_properties", staticmethod(give(H100))),
        (worker, "current_device", staticmethod(give(0))),
        (torch.utils._triton, "has_triton", give(True)),
        (torch._inductor.async_compile.AsyncCompile, "triton", lambda self, *args, **kwargs: _Nothing()),
        (torch._inductor.async_compile.AsyncCompile, "wait", lambda self, *args, **kwargs: None),
    ]
    triton.runtime.driver.set_active(Driver())
    settings = {"compile_threads": 1, "fx_graph_cache": False, "max_autotune": False}
    with contextlib.ExitStack() as undo:
        undo.enter_context(torch._inductor.config.patch(settings))
        undo.enter_context(torch._functorch.config.patch(enable_autograd_cache=False))
        # A constant made on the device is first one of the host: so torch itself does where there is no GPU.
        undo.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        for place, name, value in patches:
            undo.enter_context(patch.object(place, name, value))
        yield


_CUDA = {
    "device_count": 1,
    "current_device": 0,
    "synchronize": None,
    "is_initialized": False,
    "get_rng_state": torch.zeros(16, dtype=torch.uint8),
    "set_rng_state": None,
    "get_device_properties": H100,
    "get_device_capability": (9, 0),
    "is_available": True,
}
_INTERFACE = {
    "is_available": True,
    "current_device": 0,
    "get_compute_capability": 90,
    "get_device_properties": H100,
    "is_triton_capable": True,
    "raise_if_triton_unavailable": None,
    "get_raw_stream": 0,
    "device_count": 1,
    "synchronize": None,
}
