"""The event that stops a run: seen after a step, once a second at most, and only if it came after the start."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from cxrssl.core.errors import Preempted
from cxrssl.core.journal import append_record, read_journal
from cxrssl.core.signals import StopRequest
from cxrssl.core.workspace import Workspace
from cxrssl.records.events import STOP_REQUEST, STOPPING, was_asked_to_stop
from cxrssl.train import stopping
from cxrssl.train.loop import pretrain
from cxrssl.train.stopping import StopWatch
from tests.small_runs import plan_in, read_run, two_layers, watched, weights_of
from tests.world import make_workspace

__all__ = ["two_layers"]
REQUEST = {"event": STOP_REQUEST, "by": "login-node"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"))


def test_a_request_stops_what_was_started_before_it_and_is_answered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "LOOK_S", 0.0)
    events = tmp_path / "events.jsonl"
    append_record(events, REQUEST)
    watch = StopWatch(StopRequest(), events)
    append_record(events, {"event": "start"})
    assert not watch
    with events.open("ab") as file:
        file.write(b'{"event":"stop req')
    assert not watch
    with events.open("ab") as file:
        file.write(b'uest"}\n')
    assert watch
    assert watch
    assert [each["event"] for each in read_journal(events)].count(STOPPING) == 1
    assert was_asked_to_stop(events)
    append_record(events, {"event": "start"})
    assert not was_asked_to_stop(events)


def test_the_events_are_looked_at_once_a_second_and_may_be_gone_or_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    events = tmp_path / "events.jsonl"
    append_record(events, {"event": "start", "what": "x" * 200})
    watch = StopWatch(StopRequest(), events)
    assert not watch
    append_record(events, REQUEST)
    now[0] += 0.9
    assert not watch
    now[0] += 0.2
    assert watch

    watch = StopWatch(StopRequest(), events)
    events.unlink()
    assert not watch
    append_record(events, {"event": "start"})
    now[0] += 1.1
    assert not watch
    append_record(events, REQUEST)
    now[0] += 1.1
    assert watch
    assert not StopWatch(StopRequest(), Path(os.devnull))


def test_a_run_that_is_asked_to_stop_saves_ends_and_resumes_to_the_same_weights(
    tmp_path: Path, template: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "LOOK_S", 0.0)
    plans = [plan_in(tmp_path / name, template, overrides=("train.num_epochs=1",)) for name in ("whole", "stopped")]
    whole, stopped = (dataclasses.replace(plan) for plan in plans)
    pretrain(whole)
    with watched(monkeypatch) as watch:
        watch.at[3] = lambda: append_record(stopped.files.events, REQUEST)
        with pytest.raises(
            Preempted, match=r"stopped by cxrssl runs stop after step 3; its checkpoint is written"
        ) as end:
            pretrain(stopped)
    assert (end.value.exit_code, end.value.is_final) == (75, True)
    assert read_run(stopped.folder).state == "stopped"
    assert pretrain(stopped).resumed_from == 3
    assert weights_of(stopped) == weights_of(whole)
