"""The layer that a run taught with labels has for findings, published beside its encoder.

In: `encoder/head.safetensors`: weight [L, D], bias [L], the names of the L findings in its header. Out: FindingHead.
Never: a finding whose labels taught nothing, or a head without the names of its findings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import plain
from cxrssl.records.encoder import HEAD

NAMES = "findings"


@dataclass(frozen=True, eq=False)
class FindingHead:
    """log odds [L] = weight_LD class_token_D + bias_L"""

    finding_names: tuple[str, ...]
    weight_LD: NDArray[np.float64]
    bias_L: NDArray[np.float64]
    sha256: str


def pack_head(head: nn.Linear, names: Sequence[str], is_taught_L: NDArray[np.bool_]) -> bytes:
    """Return the rows of a layer whose findings were taught, as a safetensors file; `names` are of all its rows."""
    rows = np.flatnonzero(is_taught_L).tolist()
    tensors: dict[str, Tensor] = {"weight": head.weight, "bias": head.bias}
    kept = {name: value.detach().float().cpu()[rows].contiguous() for name, value in tensors.items()}
    return save(kept, {NAMES: json.dumps([names[row] for row in rows])})


def open_head(folder: Path, sha256: str) -> FindingHead:
    """Return the head of a published encoder, whose files were verified. Raises: IntegrityError."""
    path = folder / HEAD
    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        names = json.loads(header["__metadata__"][NAMES])
        found = {name: value.double().numpy() for name, value in load(data).items()}
        head = FindingHead(tuple(map(str, names)), found["weight"], found["bias"], sha256)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise IntegrityError(f"{path.name} cannot be read: {plain(error, 120)}", path, "pretrain again") from None
    if head.weight_LD.ndim != 2 or not len(names) == len(head.weight_LD) == len(head.bias_L):
        raise IntegrityError(f"{path.name} has not one row for each of its {len(names)} findings", path)
    return head
