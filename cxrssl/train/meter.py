"""Numbers of a step brought from the device without stopping it.

In: a vector of scalars on the device for each step. Out: the same as floats, in order, at most LAG steps later.
Never: a number lost, or more than LAG steps in flight: the host does not run away from the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

LAG = 4
Note = TypeVar("Note")


@dataclass(frozen=True)
class HostCopy:
    """A tensor on its way to the host."""

    values: Tensor
    is_there: torch.cuda.Event | None
    """Recorded behind the copy; None where the tensor lies on the host already."""

    def has_arrived(self) -> bool:
        return self.is_there is None or bool(self.is_there.query())  # type: ignore[no-untyped-call]

    def read(self) -> Tensor:
        """Return the tensor; wait for its copy, and for nothing that was asked of the device after it."""
        if self.is_there is not None:
            self.is_there.synchronize()
        return self.values


def bring(values: Tensor) -> HostCopy:
    """Begin to bring a tensor to the host.

    Reading it at once would wait for all that the device was asked to do; its copy arrives while more is asked.
    """
    if values.device.type == "cpu":
        return HostCopy(values, None)
    return HostCopy(values.to("cpu", non_blocking=True), torch.cuda.current_stream(values.device).record_event())


class Meter(Generic[Note]):
    """Scalars under way, each with a note of the host about its step."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[Note, HostCopy]] = deque()

    def send(self, note: Note, values_P: Tensor) -> None:
        """Begin to bring `values_P` to the host."""
        self._under_way.append((note, bring(values_P)))

    def arrived(self, wait: bool = False) -> Iterator[tuple[Note, list[float]]]:
        """Yield what has arrived, oldest first; with `wait` everything that is under way."""
        while self._under_way:
            note, copy = self._under_way[0]
            # Beyond LAG the host waits after all: it must not run away from the device.
            if not wait and len(self._under_way) <= LAG and not copy.has_arrived():
                return
            self._under_way.popleft()
            yield note, copy.read().tolist()
