"""Numbers of a step brought from the device without stopping it.

In: a vector of scalars on the device for each step. Out: the same as floats, in order, at most LAG steps later.
Never: a number lost, or more than LAG steps in flight: the host does not run away from the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

LAG = 4
Note = TypeVar("Note")


class Meter(Generic[Note]):
    """Scalars under way, each with a note of the host about its step."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._under_way: deque[tuple[Note, Tensor, torch.cuda.Event | None]] = deque()

    def send(self, note: Note, values_P: Tensor) -> None:
        """Begin to bring `values_P` to the host."""
        # Reading a number now would wait for the whole step; its copy arrives while the next ones are launched.
        is_there = None
        if self._is_cuda:
            values_P = values_P.to("cpu", non_blocking=True)
            is_there = torch.cuda.current_stream().record_event()
        self._under_way.append((note, values_P, is_there))

    def arrived(self, wait: bool = False) -> Iterator[tuple[Note, list[float]]]:
        """Yield what has arrived, oldest first; with `wait` everything that is under way."""
        while self._under_way:
            note, values_P, is_there = self._under_way[0]
            if is_there is not None and not is_there.query():  # type: ignore[no-untyped-call]
                # Beyond LAG the host waits after all: it must not run away from the device.
                if not wait and len(self._under_way) <= LAG:
                    return
                is_there.synchronize()
            self._under_way.popleft()
            yield note, values_P.tolist()
