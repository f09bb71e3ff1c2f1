"""Batches of films on all cores: decode, letterbox, write into the shard's temp file.

In: batches. Out: the same batches with a record of each film, in the order in which they end.
Never: a hang when a worker dies, a worker that outlives its parent or its limits. Processes are spawned, not forked:
torch or duckdb may have threads in the parent.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Generator, Iterable, Iterator, MutableSequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from multiprocessing.connection import wait as wait_for_handle
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.durable import kill_point
from cxrssl.core.errors import CxrsslError, DecodeError, SetupError
from cxrssl.core.filmfile import FilmFolder, read_film
from cxrssl.core.signals import signals_held
from cxrssl.core.text import count_noun, plain
from cxrssl.images.decode import DECODE_RULES, NO_CHOICES, Choices, decode_letterboxed, letterbox_film
from cxrssl.images.earlier import EarlierFilms
from cxrssl.images.fingerprint import hash_pixels, perceptual_hash
from cxrssl.images.shard import FILM_DTYPE, PACKED, FilmRecords, write_films

QUEUED_PER_WORKER = 32
"""Batches: enough to work on while the parent forces a shard to the disk."""
WORKER_ENVIRONMENT = {
    # There is a worker for each core, so threads within one would only compete.
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # Reuse the memory of one film for the next: returning it to the system took a third of the time.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 1024**2),
}
MAX_WORKER_BYTES = 2**30
MAX_FILM_S = 60.0
"""Processor time, because a film that waits for a slow disk is not a hanging decoder."""
NO_FILM = -1
DIED = "the decoder died"
_CONTEXT = multiprocessing.get_context("spawn")
# In a worker: its place in the table, shared with the parent, of the films that are being decoded.
_in_hand: MutableSequence[int] = [NO_FILM]
_my_place = 0
_film_s = 0.0


@dataclass(frozen=True)
class Batch:
    """Consecutive films of one shard."""

    shard: int
    temp: Path
    first: int
    """Index of the first film among all films."""
    first_slot: int
    """The same within the shard."""
    paths: tuple[str, ...]
    root: Path | FilmFolder
    size_px: int
    deadly: frozenset[int] = frozenset()
    """Indices of films that are not tried again."""
    choices: Choices = NO_CHOICES
    earlier: EarlierFilms | None = None
    """Those of its films that an earlier pack made of the same bytes."""


def run_batches(batches: Iterable[Batch], num_workers: int) -> Generator[tuple[Batch, FilmRecords], None, None]:
    """Yield each batch with its films' records as it is done; with no worker, in this process.

    When a worker dies, as decoders in C may, each film in hand is tried again in a process of its own. Those that end
    it are rejected, and the work continues.

    Raises: SetupError when a worker dies and none of the films in hand is to blame, naming them.
    """
    if num_workers == 0:
        for batch in batches:
            yield batch, pack_batch(batch)
        return
    waiting = iter(batches)
    while True:
        in_hand = _CONTEXT.RawArray("q", [NO_FILM] * num_workers)
        pending: dict[int, Batch] = {}
        try:
            yield from _run_pool(waiting, pending, in_hand, num_workers)
            return
        except BrokenProcessPool:
            deadly = _find_deadly(in_hand, pending.values())
            again = [replace(batch, deadly=batch.deadly | deadly) for batch in pending.values()]
            waiting = chain(again, waiting)


def _run_pool(
    waiting: Iterator[Batch], pending: dict[int, Batch], in_hand: MutableSequence[int], num_workers: int
) -> Generator[tuple[Batch, FilmRecords], None, None]:
    """Work through `waiting`; `pending` holds the batches in progress by their first film."""
    done = SimpleQueue[tuple[Batch, Future[FilmRecords]]]()
    pool = ProcessPoolExecutor(num_workers, _CONTEXT, _start_worker, (in_hand, _CONTEXT.Value("i", 0), MAX_FILM_S))
    try:
        while True:
            for batch in islice(waiting, QUEUED_PER_WORKER * num_workers - len(pending)):
                pending[batch.first] = batch
                with signals_held(), _environment_set():
                    future = pool.submit(pack_batch, batch)
                future.add_done_callback(partial(_report, done, batch))
            if not pending:
                return
            batch, future = done.get()
            films = future.result()
            del pending[batch.first]
            yield batch, films
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _report(done: SimpleQueue[tuple[Batch, Future[FilmRecords]]], batch: Batch, future: Future[FilmRecords]) -> None:
    done.put((batch, future))


def pack_batch(batch: Batch) -> FilmRecords:
    """Put the films of a batch into their slots, decoded or from an earlier pack, and return their records."""
    films = np.zeros(len(batch.paths), FILM_DTYPE)
    pixels_BSS = np.zeros((len(films), batch.size_px, batch.size_px), np.uint8)
    is_done = batch.earlier.copy_films(films, pixels_BSS) if batch.earlier else np.zeros(len(films), bool)
    for num in np.flatnonzero(~is_done).tolist():
        _in_hand[_my_place] = batch.first + num
        kill_point("pack-film")
        _decode_into(films[num : num + 1], pixels_BSS[num], batch, num)
    is_new = ~is_done & (films["rule"] == PACKED)
    films["phash"][is_new] = perceptual_hash(pixels_BSS[is_new], films["box"][is_new])
    with open(batch.temp, "r+b", buffering=0) as shard:
        write_films(shard, batch.first_slot, pixels_BSS)
    _in_hand[_my_place] = NO_FILM
    return films


def _decode_into(record: FilmRecords, pixels_SS: NDArray[np.uint8], batch: Batch, num: int) -> None:
    """Decode a film of the batch into `pixels_SS` and its record; a rejected one leaves the pixels zero."""
    path, where = Path(batch.paths[num]), plain(batch.paths[num])
    if _film_s:
        signal.setitimer(signal.ITIMER_PROF, _film_s)
    try:
        file = read_film(path, batch.root, where)
        record["sha256"], record["state"] = file.seen.sha256.encode(), file.seen.state
        if batch.first + num in batch.deadly:
            raise DecodeError(DIED, DIED, where)
        film = letterbox_film(file, batch.size_px, where, batch.choices)
    except DecodeError as error:
        record["rule"] = DECODE_RULES.index(error.rule)
        return
    pixels_SS[:] = film.pixels_SS
    record["rule"], record["box"], record["source_px"] = PACKED, film.box, film.source_px
    record["pixel_hash"], record["note"] = hash_pixels(film.pixels_SS), int(film.note)


def _start_worker(in_hand: MutableSequence[int], num_started: Any, film_s: float) -> None:
    global _in_hand, _my_place
    with num_started.get_lock():
        _my_place = num_started.value
        num_started.value += 1
    _in_hand = in_hand
    _limit_worker(film_s)


def _limit_worker(film_s: float) -> None:
    """End this process with its parent or when a film takes too long; fail a film that takes too much memory."""
    global _film_s
    _film_s = film_s
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_WORKER_BYTES, most))
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    wait_for_handle([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _environment_set() -> Iterator[None]:
    """Give the processes started here WORKER_ENVIRONMENT."""
    before = {name: os.environ.get(name) for name in WORKER_ENVIRONMENT}
    os.environ.update(WORKER_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _find_deadly(in_hand: Iterable[int], pending: Iterable[Batch]) -> frozenset[int]:
    """Return the indices of the films in hand that end the process that decodes them.

    Raises: SetupError when there is none.
    """
    films = {batch.first + num: (batch, path) for batch in pending for num, path in enumerate(batch.paths)}
    held = {index: films[index] for index in sorted(in_hand) if index in films}
    deadly = frozenset(index for index, (batch, path) in held.items() if _is_deadly(batch, path))
    if not deadly:
        rows = ", ".join(f"{index:,}" for index in held)
        what = f"a worker process died; {count_noun(len(held), 'film')} in hand" + (f": row {rows}" if held else "")
        raise SetupError(what, hint="run the same command to resume; with fewer workers if memory is short")
    return deadly


def _is_deadly(batch: Batch, path: str) -> bool:
    """Return whether decoding the film ends a process, unless something outside killed it."""
    film = (Path(path), batch.root, batch.size_px, MAX_FILM_S)
    process = _CONTEXT.Process(target=_decode_alone, args=film, daemon=True)
    with signals_held(), _environment_set():
        process.start()
    process.join()
    return (process.exitcode or 0) < 0 and process.exitcode != -signal.SIGKILL


def _decode_alone(path: Path, root: Path | FilmFolder, size_px: int, film_s: float) -> None:
    _limit_worker(film_s)
    signal.setitimer(signal.ITIMER_PROF, film_s)
    with contextlib.suppress(CxrsslError):
        decode_letterboxed(path, root, size_px)
