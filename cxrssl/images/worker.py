"""Batches of films on all cores: decode, letterbox, write into the shard's temp file.

In: batches. Out: the same batches with what was learnt of each film, in whatever order they end.
Never: a hang when a worker dies, a worker that outlives its parent. Processes are spawned, not forked: torch or duckdb
may have threads in the parent.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator, MutableSequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait as wait_for_handle
from pathlib import Path
from typing import Any

import numpy as np

from cxrssl.core.artefact import kill_point
from cxrssl.core.errors import DecodeError, SetupError
from cxrssl.core.text import count_noun, plain
from cxrssl.images.decode import DECODE_RULES, decode_letterboxed
from cxrssl.images.shard import FILM_DTYPE, PACKED, FilmRecords, film_offset

QUEUED_PER_WORKER = 4
NO_FILM = -1
# In a worker: its place in the table, shared with the parent, of the films that are being decoded.
_in_hand: MutableSequence[int] = [NO_FILM]
_my_place = 0


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
    root: Path
    size_px: int


def run_batches(batches: Iterable[Batch], num_workers: int) -> Generator[tuple[Batch, FilmRecords], None, None]:
    """Yield each batch with its films' records as it is done; with one worker, in this process.

    Raises: SetupError when a worker process dies, naming the films that were being decoded.
    """
    if num_workers == 1:
        for batch in batches:
            yield batch, pack_batch(batch)
        return
    context = multiprocessing.get_context("spawn")
    in_hand = context.RawArray("q", [NO_FILM] * num_workers)
    setup = (in_hand, context.Value("i", 0))
    pool = ProcessPoolExecutor(num_workers, context, _start_worker, setup)
    waiting, pending = iter(batches), dict[Future[FilmRecords], Batch]()
    try:
        while True:
            for batch in islice(waiting, QUEUED_PER_WORKER * num_workers - len(pending)):
                with _interrupts_held():
                    pending[pool.submit(pack_batch, batch)] = batch
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                films = future.result()
                yield pending.pop(future), films
    except BrokenProcessPool:
        raise _name_films(in_hand, pending.values()) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def pack_batch(batch: Batch) -> FilmRecords:
    """Decode the films of a batch into their slots and return what was learnt of each."""
    films = np.zeros(len(batch.paths), FILM_DTYPE)
    with open(batch.temp, "r+b") as file:
        for num, path in enumerate(batch.paths):
            _in_hand[_my_place] = batch.first + num
            kill_point("pack-film")
            try:
                film = decode_letterboxed(Path(path), batch.root, batch.size_px)
            except DecodeError as error:
                films[num] = (DECODE_RULES.index(error.rule), (0, 0, 0, 0), (0, 0))
                continue
            file.seek(film_offset(batch.first_slot + num, batch.size_px))
            file.write(film.pixels_SS.data)
            films[num] = (PACKED, film.box, film.source_px)
    _in_hand[_my_place] = NO_FILM
    return films


def _start_worker(in_hand: MutableSequence[int], num_started: Any) -> None:
    global _in_hand, _my_place
    with num_started.get_lock():
        _my_place = num_started.value
        num_started.value += 1
    _in_hand = in_hand
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    wait_for_handle([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while processes are started: they inherit the mask, so it reaches the parent alone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _name_films(in_hand: Iterable[int], pending: Iterable[Batch]) -> SetupError:
    paths = {batch.first + num: path for batch in pending for num, path in enumerate(batch.paths)}
    held = [plain(paths[index], 120) for index in sorted(in_hand) if index in paths]
    what = f"a worker process died; {count_noun(len(held), 'film')} in hand" + (f": {', '.join(held)}" if held else "")
    return SetupError(what, hint="run the same command to go on; with fewer workers if memory is short")
