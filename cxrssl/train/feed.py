"""The films of each step where the device can read them: all of them in its memory when they fit, else sent ahead.

In: packed films, the rows of any step. Out: uint8 [B, S, S] on the device.
Never: a result that depends on the kind of feed, a wait without an end.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrssl.core.errors import SetupError
from cxrssl.core.text import format_bytes, plain
from cxrssl.images.store import ImageStore

FEEDS = ("resident", "ahead")
AHEAD = 3
"""Batches that are read before they are taken: enough for a disk that stutters, few enough to pin."""
SETTLING_STEPS = 2
CHUNK_FILMS = 256
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


def open_feed(plan: FilmPlan, device: torch.device, stall_s: float, kind: str = "") -> Feed:
    """Return a feed of one of FEEDS, which waits for films no longer than `stall_s`.

    Without a `kind`, a GPU holds the films if they fit beside what its first steps have taken, and a CPU reads ahead,
    as its page cache holds what fits and is shared with other runs.
    """
    if not kind:
        return (_Ahead if device.type == "cpu" else _Settling)(plan, device, stall_s)
    assert kind in FEEDS, "kinds are named in FEEDS"
    return (_Resident if kind == "resident" else _Ahead)(plan, device, stall_s)


def fits_beside(films_bytes: int, free_bytes: int, total_bytes: int) -> bool:
    """Return whether a device can hold the films in what its steps leave free, with a tenth of its memory to spare."""
    return films_bytes <= free_bytes - 0.1 * total_bytes


def read_films(images: ImageStore, rows: Rows, device: torch.device, stall_s: float, what: str) -> Tensor:
    """Return the films of these rows on the device; an error calls them `what`."""
    with contextlib.closing(FilmReader(images, [rows], device, stall_s)) as reader:
        return reader.take(what)


class _Resident:
    """All films of the run in the device's memory; a step costs one gather there."""

    def __init__(self, plan: FilmPlan, device: torch.device, stall_s: float) -> None:
        self._plan, self._device = plan, device
        rows, size = plan.rows, plan.images.size_px
        # Filled in chunks: the host never holds all films at once.
        self._films = torch.empty((len(rows), size, size), dtype=torch.uint8, device=device)
        chunks = [rows[first : first + CHUNK_FILMS] for first in range(0, len(rows), CHUNK_FILMS)]
        with contextlib.closing(FilmReader(plan.images, chunks, device, stall_s)) as reader:
            first = 0
            for chunk in chunks:
                self._films[first : first + len(chunk)].copy_(reader.take("the films to be held by the device"))
                first += len(chunk)
        # From a row of the cohort to its place among the films of the run, by a table rather than a search.
        self._place_of = np.full(int(rows.max()) + 1, -1, np.int64)
        self._place_of[rows] = np.arange(len(rows))

    def films(self, step: int) -> Tensor:
        places = torch.from_numpy(self._place_of[self._plan.rows_of(step)])
        return self._films.index_select(0, send(places, self._device))

    def close(self) -> None:
        del self._films


class _Ahead:
    """The films of the next few steps are read, and sent, while one is computed."""

    def __init__(self, plan: FilmPlan, device: torch.device, stall_s: float) -> None:
        batches = (plan.rows_of(step) for step in range(plan.first, plan.end))
        self._reader = FilmReader(plan.images, batches, device, stall_s)
        self._next = plan.first

    def films(self, step: int) -> Tensor:
        assert step == self._next, "steps are asked for in order"
        self._next += 1
        return self._reader.take(f"the films of step {step}")

    def close(self) -> None:
        self._reader.close()


class _Settling:
    """Films are read ahead until two steps have shown what memory they take; then the device holds them if they fit."""

    def __init__(self, plan: FilmPlan, device: torch.device, stall_s: float) -> None:
        self._plan, self._device, self._stall_s = plan, device, stall_s
        self._feed: Feed = _Ahead(plan, device, stall_s)

    def films(self, step: int) -> Tensor:
        if step == self._plan.first + SETTLING_STEPS:
            size = len(self._plan.rows) * self._plan.images.size_px**2
            if fits_beside(size, *torch.cuda.mem_get_info(self._device)):
                self._feed.close()
                self._feed = _Resident(self._plan, self._device, self._stall_s)
        return self._feed.films(step)

    def close(self) -> None:
        self._feed.close()


class FilmReader:
    """A thread that reads one batch of films after the other, on a GPU into pinned memory and from there on a stream of
    its own, up to AHEAD batches before they are taken.

    The caller gets an error within `stall_s` if the disk hangs, and at once if the thread has died.
    """

    def __init__(self, images: ImageStore, batches: Iterable[Rows], device: torch.device, stall_s: float) -> None:
        self._images, self._batches, self._device, self._stall_s = images, batches, device, stall_s
        self._ready: queue.Queue[_Sent | BaseException] = queue.Queue(AHEAD)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="film reader", daemon=True)
        self._thread.start()

    def take(self, what: str) -> Tensor:
        """Return the next batch, uint8 [B, S, S] on the device.

        Raises: SetupError when it does not come, or the error that ended the thread.
        """
        hint = "is the disk with the packed films mounted?"
        try:
            sent = self._ready.get(timeout=self._stall_s)
        except queue.Empty:
            error = f"the film reader hangs: {what} did not arrive within {self._stall_s:g} s"
            raise SetupError(error, self._images.path, hint) from None
        if isinstance(sent, OSError | MemoryError):
            died_of = plain(f"{type(sent).__name__} {sent}".strip(), 200)
            raise SetupError(f"the film reader died before {what}: {died_of}", self._images.path, hint) from sent
        if isinstance(sent, BaseException):
            raise sent
        if sent.is_there is not None:
            # The device waits for the copy, the host does not; and the memory is not reused while the step reads it.
            current = torch.cuda.current_stream(self._device)
            current.wait_event(sent.is_there)
            sent.films.record_stream(current)
        return sent.films

    def close(self) -> None:
        """End the thread, or leave it behind when it hangs."""
        # A thread inside a hanging read cannot be ended; it is a daemon and goes with the process.
        self._is_closed.set()
        self._thread.join(timeout=1.0)

    def _read(self) -> None:
        try:
            stream = _copy_stream(self._device) if self._device.type == "cuda" else None
            for rows in self._batches:
                # Copies overlap with the step because they have a stream of their own.
                films = torch.from_numpy(self._images.read_rows(rows))
                is_there = None
                with torch.cuda.stream(stream) if stream else contextlib.nullcontext():
                    films = send(films, self._device)
                    if stream:
                        is_there = stream.record_event()
                if not self._hand_over(_Sent(films, is_there)):
                    return
        except BaseException as error:  # raised where the films are waited for
            self._hand_over(error)

    def _hand_over(self, sent: _Sent | BaseException) -> bool:
        while not self._is_closed.is_set():
            # Short waits, so that a feed that is closed early does not keep its thread.
            with contextlib.suppress(queue.Full):
                self._ready.put(sent, timeout=0.1)
                return True
        return False


@dataclass(frozen=True)
class _Sent:
    films: Tensor
    is_there: torch.cuda.Event | None


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream of this process on which films are sent: each stream keeps memory of its own."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on the device; on a GPU without waiting for it.

    Raises: SetupError where the host gives no memory that a GPU can read.
    """
    if device.type == "cpu":
        return tensor
    try:
        pinned = tensor.pin_memory()
    except RuntimeError as error:
        what = f"the system gives no {format_bytes(tensor.nbytes)} of page-locked memory, from which a GPU reads"
        hint = "ulimit -l, or the memory of the SLURM job, may be too small"
        raise SetupError(f"{what}: {plain(str(error).splitlines()[0], 120)}", hint=hint) from error
    return pinned.to(device, non_blocking=True)
