"""How often a run saves and probes by itself."""

from __future__ import annotations

import time

import pytest

from cxrssl.train.pace import MAX_SHARE, Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def run(clock: list[float], asked: int | None, step_s: float, cost_s: float, num_steps: int) -> list[int]:
    """Return the steps at which it was done."""
    each, done = Pace(100, asked), []
    for step in range(1, num_steps + 1):
        clock[0] += step_s
        if each.is_due(step):
            with each.spend():
                clock[0] += cost_s
            done.append(step)
    return done


def test_what_is_cheap_is_done_at_every_usual_step(clock: list[float]) -> None:
    assert run(clock, None, step_s=1.0, cost_s=0.9, num_steps=500) == [100, 200, 300, 400, 500]


def test_what_is_dear_is_done_so_rarely_that_it_takes_its_share(clock: list[float]) -> None:
    began = clock[0]
    done = run(clock, None, step_s=0.01, cost_s=1.0, num_steps=100_000)
    assert all(step % 100 == 0 for step in done)
    assert 0.8 * MAX_SHARE < len(done) / (clock[0] - began) <= 1.1 * MAX_SHARE


def test_what_is_asked_for_is_done_whatever_it_takes(clock: list[float]) -> None:
    assert run(clock, 5, step_s=0.01, cost_s=1.0, num_steps=20) == [5, 10, 15, 20]
