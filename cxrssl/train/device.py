"""Which device a process computes on, and how its kernels repeat themselves."""

from __future__ import annotations

import os

import torch

from cxrssl.core.errors import SetupError
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


def take_device(kind: torch.device, ranks: Ranks) -> torch.device:
    """Return this process's own device of a kind."""
    if kind.type == "cpu":
        return kind
    if ranks.local_rank >= torch.cuda.device_count():
        raise SetupError(
            f"rank {ranks.rank} finds {torch.cuda.device_count()} CUDA devices and would be number "
            f"{ranks.local_rank + 1}",
            hint="ask for fewer with --gpus",
        )
    device = torch.device("cuda", ranks.local_rank)
    torch.cuda.set_device(device)
    return device


def fix_kernels() -> None:
    """Have every kernel of this process repeat itself bit for bit; call it before anything is put on a GPU.

    Source: PyTorch's notes on reproducibility: cuBLAS does so only with workspaces of fixed size.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    # Every value is written before it is read.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
