"""An ablation killed or stopped at any moment, or its processes, ends with the table of an undisturbed one."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from cxrssl.core.errors import SetupError
from cxrssl.core.workspace import Workspace
from tests.ablate.conftest import Place, Server, make_place
from tests.cli.command import run
from tests.scale import scaled

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory, template: Workspace) -> Place:
    place = make_place(tmp_path_factory.mktemp("undisturbed"), template)
    code, text = server.run(*place.words())
    assert code == 0, text
    return place


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that have not ended."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def test_killed_at_random_with_its_processes_it_ends_with_the_same_table(
    server: Server, place: Place, undisturbed: Place
) -> None:
    draws = random.Random(0)
    num_disturbed, code = 0, -1
    while code != 0:
        started = server.start(*place.words("--machine", "checkpoint_every=1"))
        while num_disturbed < scaled(4, 20) and Path(f"/proc/{started.pid}").exists():
            time.sleep(draws.uniform(0.05, 0.8))
            victims = [started.pid] if draws.random() < 0.5 else children_of(started.pid)
            for pid in victims:
                kill(pid, signal.SIGKILL)
            num_disturbed += bool(victims)
        code = started.wait()
        assert code in (0, -signal.SIGKILL, SetupError.exit_code), started.text
    assert num_disturbed == scaled(4, 20)
    assert place.table == undisturbed.table


def test_a_signal_stops_its_processes_with_a_checkpoint_and_the_same_command_resumes(
    server: Server, place: Place, undisturbed: Place
) -> None:
    started = server.start(*place.words())
    deadline = time.monotonic() + 120
    while not list(place.workspace.root.glob("runs/*/metrics-0001.jsonl")):
        assert time.monotonic() < deadline, started.text
        time.sleep(0.02)
    kill(started.pid, signal.SIGTERM)
    assert started.wait() == 75, started.text
    assert children_of(started.pid) == []
    assert "stopped by SIGTERM" in started.text
    code, text = server.run(*place.words("--jobs", 2))
    assert code == 0, text
    assert place.table == undisturbed.table


def test_two_of_one_name_do_not_run_at_once(server: Server, place: Place) -> None:
    started = server.start(*place.words())
    deadline = time.monotonic() + 120
    while not children_of(started.pid):
        assert time.monotonic() < deadline, started.text
        time.sleep(0.02)
    refused = run(*place.words())
    assert refused.returncode == 2
    assert "ablation study is run by another process" in refused.stderr
    kill(started.pid, signal.SIGTERM)
    started.wait()
