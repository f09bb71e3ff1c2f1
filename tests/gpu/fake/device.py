"""A GPU that computes nothing: torch's fake tensors on `cuda`, and what each part of a step asks of it.

Dispatch, autocast and the choice of kernels are torch's own. Run in a process that has `stub.c` preloaded.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
NO_KERNEL = ("empty", "new_empty", "detach", "alias", "lift_fresh", "is_pinned", "_unsafe_view", "_local_scalar")
"""Operations that launch nothing, besides those that torch itself calls views."""
LISTED = ("aten._foreach", "aten._fused")
LIST_LENGTHS = (110, 64, 48, 36, 30)
"""How many tensors a launch over 1, 2 ... lists takes. Source: torch's MultiTensorApply.cuh."""
WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "item")
Result = TypeVar("Result")


@dataclass
class Part:
    """What a part of a step asked of the device."""

    num_kernels: int = 0
    num_launches: int = 0
    """Kernels, with those over long lists of tensors counted as often as torch divides the list."""
    num_bytes: int = 0
    """Read and written by the operations, each tensor once for each of them."""
    mixed: list[str] = field(default_factory=list)
    """Operations on tensors of two devices, but for copies that nobody waits for."""
    waits: list[str] = field(default_factory=list)
    """Operations that bring a value to the host at once."""
    names: Counter[str] = field(default_factory=Counter)


class Watch(TorchDispatchMode):
    """Writes down the operations on fake CUDA tensors."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, str(func).removeprefix("aten.")
        devices = _devices((args, kwargs))
        # Written down before it is tried: a fake tensor refuses what would need a value.
        if "cuda" in devices and name.startswith(WAITS):
            self.part.waits.append(name)
        if len(devices) > 1 and not name.startswith("_to_copy"):
            self.part.mixed.append(name)
        found = func(*args, **kwargs)
        devices |= _devices(found)
        if "cuda" not in devices or name.startswith("prim."):
            return found
        if len(devices) > 1 and name.startswith("_to_copy") and not kwargs.get("non_blocking"):
            self.part.waits.append(f"{name} that blocks")
        if not func.is_view and not name.startswith(NO_KERNEL):
            self.part.num_kernels += 1
            self.part.num_launches += _count_launches(func, args, found)
            self.part.num_bytes += _count_bytes(func, args, kwargs, found)
            self.part.names[name] += 1
        return found


def _count_launches(func: Any, args: Any, found: Any) -> int:
    """Return the launches of an operation: 1, or as many as a list of tensors is divided into."""
    lists = [each for each in (*args, found) if isinstance(each, list | tuple) and each and _tensors(each)]
    if not str(func).startswith(LISTED) or not lists:
        return 1
    return -(-max(map(len, lists)) // LIST_LENGTHS[min(len(lists), len(LIST_LENGTHS)) - 1])


def _count_bytes(func: Any, args: Any, kwargs: Any, found: Any) -> int:
    """Return what an operation reads and writes: its tensors, those that it changes twice, and what it makes."""
    named = zip(func._schema.arguments, args, strict=False)
    given = [*named, *((each, kwargs[each.name]) for each in func._schema.arguments if each.name in kwargs)]
    moved = sum(_num_bytes(value) * (2 if each.is_write else 1) for each, value in given)
    returns = func._schema.returns
    values = (found,) if len(returns) == 1 else found or ()
    return moved + sum(
        _num_bytes(value) for each, value in zip(returns, values, strict=True) if each.alias_info is None
    )


def _tensors(values: Any) -> list[torch.Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]


def _num_bytes(values: Any) -> int:
    return sum(each.numel() * each.element_size() for each in _tensors(values))


def _devices(values: Any) -> set[str]:
    """Return the devices of the tensors among these values; a kernel takes a number of the host as its argument."""
    return {each.device.type for each in _tensors(values) if each.ndim or each.device.type == "cuda"}


class Parts:
    """The parts of a step by name."""

    def __init__(self, plant: Callable[[str], None] = lambda name: None) -> None:
        self.found: dict[str, Part] = {}
        self._plant = plant
        self._is_inside = False

    def named(self, name: str, call: Callable[..., Result]) -> Callable[..., Result]:
        """Return a function whose operations are written down under a name; within another part they are that one's."""

        def watched(*args: Any, **kwargs: Any) -> Result:
            if self._is_inside:
                return call(*args, **kwargs)
            self._is_inside = True
            try:
                with Watch(self.found.setdefault(name, Part())):
                    found = call(*args, **kwargs)
                    self._plant(name)
                    return found
            finally:
                self._is_inside = False

        return watched


@contextlib.contextmanager
def fake_gpu() -> Iterator[FakeTensorMode]:
    """Make tensors on CUDA fake ones inside the block."""
    patches: list[tuple[Any, str, Any]] = [
        (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "is_bf16_supported", lambda *args, **kwargs: True),
        (torch.cuda, "_lazy_init", lambda: None),
        (torch.cuda, "is_current_stream_capturing", lambda: False),
        (torch.cuda, "get_device_name", lambda *args: "no device"),
        (fake_tensor, "init_gpu_context", lambda *args, **kwargs: None),
        (torch.Tensor, "pin_memory", lambda self, *args, **kwargs: self),
    ]
    with contextlib.ExitStack() as undo:
        for place, name, value in patches:
            before = getattr(place, name)
            setattr(place, name, value)
            undo.callback(setattr, place, name, before)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            yield mode


def on_host(call: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that computes real numbers of the host, as draws are."""

    def real(*args: Any, **kwargs: Any) -> Result:
        with unset_fake_temporarily():
            return call(*args, **kwargs)

    return real
