"""The kinds of feed give the same films; a stalled one says so."""

import threading

import numpy as np
import pytest
import torch

from cxrssl.core.errors import DataError, SetupError
from cxrssl.core.recipe import Machine, load_recipe
from cxrssl.train import feed as feeds
from cxrssl.train.feed import FEEDS, FilmPlan, open_feed
from cxrssl.train.loop import batch_rows
from cxrssl.train.plan import plan_run
from tests.world import TINY, make_workspace

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def film_plan(tmp_path_factory):
    plan = plan_run(make_workspace(tmp_path_factory.mktemp("feed")), "nih", load_recipe("demo", TINY), Machine())
    return FilmPlan(plan.images, plan.rows, lambda step: batch_rows(plan, step), 2, 9)


@pytest.mark.parametrize("kind", FEEDS)
def test_every_kind_gives_the_films_of_the_rows(film_plan, kind):
    feed = open_feed(film_plan, CPU, kind=kind)
    for step in range(film_plan.first, film_plan.end):
        expected = film_plan.images.read_rows(film_plan.rows_of(step))
        np.testing.assert_array_equal(feed.films(step).numpy(), expected)
    feed.close()


class Stalled:
    """Images whose disk never answers, or answers with an error."""

    path, size_px = "films", 8

    def __init__(self, error=None):
        self.error, self.is_over = error, threading.Event()

    def read_rows(self, rows):
        if self.error:
            raise self.error
        self.is_over.wait(20)
        return np.zeros((len(rows), 8, 8), np.uint8)


def test_a_stalled_disk_is_named_and_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(feeds, "STALL_S", 0.2)
    images = Stalled()
    feed = open_feed(FilmPlan(images, np.arange(4), lambda step: np.arange(4), 0, 3), CPU, kind="ahead")
    with pytest.raises(SetupError, match=r"the films of step 0 did not arrive within 0\.2 s"):
        feed.films(0)
    images.is_over.set()
    feed.close()


def test_an_error_of_the_reading_thread_reaches_the_step():
    images = Stalled(DataError("film 3 is not packed"))
    feed = open_feed(FilmPlan(images, np.arange(4), lambda step: np.arange(4), 0, 3), CPU, kind="ahead")
    with pytest.raises(DataError, match="film 3"):
        feed.films(0)
    feed.close()


def test_a_feed_that_is_closed_early_leaves_no_thread(film_plan):
    before = threading.active_count()
    feed = open_feed(film_plan, CPU, kind="ahead")
    feed.films(film_plan.first)
    feed.close()
    assert threading.active_count() == before
