"""Which device a process computes on, and how its kernels repeat themselves."""

from __future__ import annotations

import os

import torch

from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.process import find_launch
from cxrssl.train.ranks import Ranks


def choose_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`; raises SetupError when there is none of that kind."""
    place = find_launch()
    if name == "auto" and place and place.world_size > 1 and not torch.cuda.is_available():
        what = f"{place.world_size} processes were started, and this machine has no CUDA device that torch can use"
        raise SetupError(what, hint="to train on the CPU: --device cpu")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise SetupError("this machine has no CUDA device that torch can use", hint="leave --device out, or use cpu")
    return torch.device(name)


Devices = torch.device | tuple[torch.device, ...]
"""Where frozen encoders work: one device, or several of a kind that share the films."""


def choose_devices(name: str, num: int = 1) -> tuple[torch.device, ...]:
    """Return as many devices of the kind that `choose_device` returns; the CPU is taken several times.

    Raises: SetupError when there are fewer.
    """
    kind = choose_device(name)
    if num == 1 or kind.type == "cpu":
        return (kind,) * num
    if (found := torch.cuda.device_count()) < num:
        what = f"--gpus asks for {num} CUDA devices, and this machine has {found} that torch can use"
        raise SetupError(what, hint="ask for fewer with --gpus")
    return tuple(torch.device("cuda", number) for number in range(num))


def list_devices(devices: Devices) -> tuple[torch.device, ...]:
    return devices if isinstance(devices, tuple) else (devices,)


def take_device(kind: torch.device, ranks: Ranks) -> torch.device:
    """Return this process's own device of a kind."""
    if kind.type == "cpu":
        return kind
    device = torch.device("cuda", number_device(ranks.rank, ranks.local_rank, torch.cuda.device_count()))
    torch.cuda.set_device(device)
    return device


def number_device(rank: int, local_rank: int, count: int) -> int:
    """Return which of its `count` GPUs a process takes: the one of its place, or the only one that SLURM shows it.

    Raises: SetupError where there are several, and too few.
    """
    if count == 1 or local_rank < count:
        return 0 if count == 1 else local_rank
    what = f"rank {rank} is process {local_rank + 1} of its machine and sees {count} GPUs"
    raise SetupError(what, hint="ask for as many processes a machine as it has GPUs: --gpus, --slurm gpus=")


def set_precision(precision: str, device: torch.device) -> None:
    """Let products of float32 be rounded to TF32, or not. Raises: UsageError for TF32 on a CPU, which has none."""
    if precision == "tf32" and device.type == "cpu":
        raise UsageError("tf32 is arithmetic of NVIDIA GPUs", hint="on a CPU: --set train.precision=fp32")
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def describe_precision(precision: str, device: torch.device) -> str:
    """Return a sentence about a precision that is seldom wanted on this device, or an empty one."""
    if device.type == "cpu" or precision != "fp32":
        return ""
    return "fp32 leaves most of this GPU idle; --set train.precision=bf16, or tf32, is several times as fast"


def fix_kernels() -> None:
    """Have every kernel of this process repeat itself bit for bit; call it before anything is put on a GPU.

    Source: PyTorch's notes on reproducibility: cuBLAS does so only with workspaces of fixed size.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # Every value is written before it is read.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
