"""The kinds of feed give the same films; a reader that hangs or dies, and a shard that is cut, are named in time."""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from cxrssl.core.errors import CxrsslError, DataError, IntegrityError, SetupError
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.train import panel
from cxrssl.train.feed import AHEAD, FEEDS, FilmPlan, FilmReader, open_feed, read_films
from cxrssl.train.loop import pretrain
from cxrssl.train.order import batch_rows
from cxrssl.train.panel import Panel
from cxrssl.train.plan import plan_run
from tests.scale import scaled
from tests.small_runs import CPU, plan_in, read_run, two_layers, watched, weights_of, with_machine  # noqa: F401
from tests.world import TINY, make_workspace

DEVICE = torch.device("cpu")
STALL_S = 0.4
PATIENT_S = 300.0
"""The bound where the disk does not hang: no load of the machine lets a good film come later."""
SOON_S = 120.0
"""On a busy machine; without the bound a run would wait for ever."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("feed"), num_patients=24)


@pytest.fixture(scope="module")
def film_plan(template: Workspace) -> FilmPlan:
    plan = plan_run(template, "nih", load_recipe("demo", TINY), Machine())
    return FilmPlan(plan.images, plan.rows, lambda step: batch_rows(plan, step), 2, 9)


@pytest.mark.parametrize("kind", FEEDS)
def test_every_kind_gives_the_films_of_the_rows(film_plan: FilmPlan, kind: str) -> None:
    feed = open_feed(film_plan, DEVICE, 60, kind)
    for step in range(film_plan.first, film_plan.end):
        expected = film_plan.images.read_rows(film_plan.rows_of(step))
        np.testing.assert_array_equal(feed.films(step).numpy(), expected)
    feed.close()


class Disk:
    """Takes the place of the system's reads; from the `num_good`-th on it hangs or fails."""

    def __init__(self, num_good: int, error: BaseException | None = None) -> None:
        self._num_left, self._error, self.is_mended = num_good, error, threading.Event()
        self._read = os.preadv

    def __call__(self, descriptor: int, buffers: Any, offset: int) -> int:
        self._num_left -= 1
        if self._num_left < 0:
            if self._error:
                raise self._error
            if not self.is_mended.wait(SOON_S):
                self.is_mended.set()  # a test that fails shall end too
        return self._read(descriptor, buffers, offset)


@contextlib.contextmanager
def disk_that(monkeypatch: pytest.MonkeyPatch, num_good: int, error: BaseException | None = None) -> Iterator[None]:
    disk = Disk(num_good, error)
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", disk)
        yield
        disk.is_mended.set()


def test_a_reader_that_hangs_is_named_and_not_waited_for_without_end(
    film_plan: FilmPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = r"film reader hangs: the films of step 2 did not arrive within 0\.4 s"
    with disk_that(monkeypatch, 0), pytest.raises(SetupError, match=words):
        open_feed(film_plan, DEVICE, STALL_S, "ahead").films(2)
    with disk_that(monkeypatch, 0), pytest.raises(SetupError, match="film reader hangs: the films to be held"):
        open_feed(film_plan, DEVICE, STALL_S, "resident")
    with disk_that(monkeypatch, 0), pytest.raises(SetupError, match="film reader hangs: the panel's films"):
        read_films(film_plan.images, film_plan.rows, DEVICE, STALL_S, "the panel's films")


def test_a_reader_that_dies_is_named_at_once(film_plan: FilmPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    class Films:
        path = film_plan.images.path

        def __init__(self, error: BaseException) -> None:
            self.error = error

        def read_rows(self, rows: Any) -> NoReturn:
            raise self.error

    for error, kind, words in (
        (MemoryError(), SetupError, "the film reader died before the films: MemoryError"),
        (OSError(errno.ESTALE, "Stale file handle"), SetupError, "the film reader died before the films: OSError"),
        (DataError("film 3 is not packed"), DataError, "film 3"),
    ):
        films: Any = Films(error)
        started = time.monotonic()
        with pytest.raises(kind, match=words):
            FilmReader(films, [np.arange(4)], DEVICE, 60).take("the films")
        assert time.monotonic() - started < SOON_S


def test_a_feed_that_is_closed_early_leaves_no_thread(film_plan: FilmPlan) -> None:
    before = set(threading.enumerate())
    feed = open_feed(film_plan, DEVICE, 60, "ahead")
    feed.films(film_plan.first)
    (reader,) = set(threading.enumerate()) - before
    feed.close()
    reader.join(SOON_S)
    assert not reader.is_alive()


TROUBLES = {
    "hangs": (SetupError, "film reader hangs: the (films of step|films to be held|panel's films)"),
    "fails": (SetupError, r"shard-0000\.npy cannot be read: input/output error"),
    "cut": (IntegrityError, r"shard-0000\.npy was cut short while it was in use"),
    "emptied": (IntegrityError, r"shard-0000\.npy was cut short while it was in use"),
}
TRIALS = [
    (trouble, feed, at)
    for feed, at in (("ahead", 0), ("ahead", 5), ("ahead", 11), ("resident", 0), ("panel", 2))
    for trouble in TROUBLES
]


@pytest.mark.crash
@pytest.mark.parametrize(
    ("trouble", "feed", "at"), TRIALS if scaled(0, 1) else [TRIALS[k] for k in (0, 2, 7, 9, 12, 14, 16)]
)
def test_a_run_whose_films_fail_it_ends_in_time_and_says_what_it_waits_for(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, feed: str, at: int
) -> None:
    """After `at` steps; those of the panel strike while it reads."""
    kind = "resident" if feed == "resident" else "ahead"
    stall_s = STALL_S if trouble == "hangs" else PATIENT_S
    machine = {"feed": kind, "stall_s": stall_s, "probe_every": 2 if feed == "panel" else 0}
    # So many steps that the reader cannot be done before the films go.
    plan = with_machine(plan_in(tmp_path, template, CPU, ("train.num_epochs=6",), copies=True), **machine)
    assert plan.num_steps > at + AHEAD + 4
    shard = plan.images.path / "shard-0000.npy"
    expected, words = TROUBLES[trouble]

    def strike() -> None:
        if trouble == "hangs":
            patch.setattr(os, "preadv", disk)
        elif trouble == "fails":
            patch.setattr(os, "preadv", Disk(0, OSError(errno.EIO, os.strerror(errno.EIO))))
        else:
            os.truncate(shard, 128 if trouble == "emptied" else 128 + 48 * 48 + 7)

    def struck(*args: Any) -> Any:
        strike()
        return encode(*args)

    disk, encode = Disk(0), Panel._encode
    with monkeypatch.context() as patch, watched(patch) as watch:
        if at == 0:
            strike()
        elif feed == "panel":
            patch.setattr(panel, "MIN_OF_EACH", 0)
            patch.setattr(panel, "BATCH_FILMS", 8)
            watch.at[at] = lambda: patch.setattr(Panel, "_encode", struck)
        else:
            watch.at[at] = strike
        started = time.monotonic()
        with pytest.raises(expected, match=words) as error:
            pretrain(plan)
        taken_s = time.monotonic() - started
        disk.is_mended.set()
    assert taken_s < SOON_S
    assert str(plan.images.path) in error.value.where
    assert read_run(plan.folder).state == "failed"
    assert isinstance(error.value, CxrsslError)


def test_a_shard_that_is_removed_while_it_is_open_changes_nothing(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan_in(tmp_path / "whole", template)
    pretrain(whole)
    plan = plan_in(tmp_path / "removed", template, copies=True)
    with watched(monkeypatch) as watch:
        watch.at[1] = (plan.images.path / "shard-0000.npy").unlink
        pretrain(plan)
    assert weights_of(plan) == weights_of(whole)
