"""The films of each step where the device can read them: all of them in its memory when they fit, else sent ahead.

In: packed films, the rows of any step. Out: uint8 [B, S, S] on the device, and how long the step had to wait for them.
Never: a result that depends on the kind of feed, a wait without an end.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrssl.core.errors import SetupError
from cxrssl.images.store import ImageStore

FEEDS = ("mapped", "resident", "ahead")
STALL_S = 60.0
AHEAD = 3
MAX_FILMS_FRAC = 0.5
CHUNK_FILMS = 1024
Rows = NDArray[np.int64]


class Feed(Protocol):
    """Films of any step, asked for in order."""

    def films(self, step: int) -> Tensor:
        """Return the films of `step`, uint8 [B, S, S] on the device."""

    def close(self) -> None:
        """Let go of threads and memory."""


@dataclass(frozen=True)
class FilmPlan:
    """Which films a run reads, in which order."""

    images: ImageStore
    rows: Rows
    """All rows of the cohort that the run is trained on."""
    rows_of: Callable[[int], Rows]
    """The rows of a step."""
    first: int
    end: int
    """Steps [first, end) will be asked for."""


def open_feed(plan: FilmPlan, device: torch.device, kind: str = "") -> Feed:
    """Return a feed of one of FEEDS.

    Left to itself, a GPU holds the films when they take at most half of its free memory: the rest is for the model.
    On the CPU films are read from the mapped shards as they are needed: the page cache is the memory.
    """
    kind = kind or _choose_kind(plan, device)
    assert kind in FEEDS, "kinds are named in FEEDS"
    makers: dict[str, Callable[[FilmPlan, torch.device], Feed]] = {
        "mapped": _Mapped,
        "resident": _Resident,
        "ahead": _Ahead,
    }
    return makers[kind](plan, device)


def _choose_kind(plan: FilmPlan, device: torch.device) -> str:
    if device.type == "cpu":
        return "mapped"
    free, _ = torch.cuda.mem_get_info(device)
    return "resident" if len(plan.rows) * plan.images.size_px**2 <= free * MAX_FILMS_FRAC else "ahead"


class _Mapped:
    """Films read when they are needed."""

    def __init__(self, plan: FilmPlan, device: torch.device) -> None:
        self._plan, self._device = plan, device

    def films(self, step: int) -> Tensor:
        return torch.from_numpy(self._plan.images.read_rows(self._plan.rows_of(step))).to(self._device)

    def close(self) -> None:
        """Nothing is held."""


class _Resident:
    """All films of the run in the device's memory; a step costs one gather there."""

    def __init__(self, plan: FilmPlan, device: torch.device) -> None:
        self._plan, self._device = plan, device
        rows, size = plan.rows, plan.images.size_px
        self._films = torch.empty((len(rows), size, size), dtype=torch.uint8, device=device)
        for first in range(0, len(rows), CHUNK_FILMS):
            part = plan.images.read_rows(rows[first : first + CHUNK_FILMS])
            self._films[first : first + len(part)].copy_(torch.from_numpy(part))
        self._place_of = np.full(int(rows.max()) + 1, -1, np.int64)
        self._place_of[rows] = np.arange(len(rows))

    def films(self, step: int) -> Tensor:
        places = torch.from_numpy(self._place_of[self._plan.rows_of(step)])
        return self._films.index_select(0, _send(places, self._device))

    def close(self) -> None:
        del self._films


class _Ahead:
    """A thread reads films into pinned memory and sends them on a stream of their own, a few steps ahead."""

    def __init__(self, plan: FilmPlan, device: torch.device) -> None:
        self._plan, self._device = plan, device
        self._ready: queue.Queue[_Sent | BaseException] = queue.Queue(AHEAD)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def films(self, step: int) -> Tensor:
        try:
            sent = self._ready.get(timeout=STALL_S)
        except queue.Empty:
            what = f"the films of step {step} did not arrive within {STALL_S:g} s"
            raise SetupError(what, self._plan.images.path, "is the disk that holds them still there?") from None
        if isinstance(sent, BaseException):
            raise sent
        assert sent.step == step, "steps are asked for in order"
        if sent.is_there is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(sent.is_there)
            sent.films.record_stream(current)
        return sent.films

    def close(self) -> None:
        self._is_closed.set()
        self._thread.join(timeout=1.0)

    def _read(self) -> None:
        try:
            stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None  # type: ignore[no-untyped-call]
            for step in range(self._plan.first, self._plan.end):
                films = torch.from_numpy(self._plan.images.read_rows(self._plan.rows_of(step)))
                is_there = None
                with torch.cuda.stream(stream) if stream else contextlib.nullcontext():
                    films = _send(films, self._device)
                    if stream:
                        is_there = stream.record_event()
                if not self._hand_over(_Sent(step, films, is_there)):
                    return
        except BaseException as error:  # raised where the step waits for its films
            self._hand_over(error)

    def _hand_over(self, sent: _Sent | BaseException) -> bool:
        while not self._is_closed.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put(sent, timeout=0.1)
                return True
        return False


@dataclass(frozen=True)
class _Sent:
    step: int
    films: Tensor
    is_there: torch.cuda.Event | None


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on the device; on a GPU without waiting for it."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
