"""Journals as crashes, clocks and full disks leave them: the dashboard shows each run with its right state."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.once import read_once
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.text.snapshot import render
from cxrssl.dashboard.view import View
from tests.dashboard.screen import drive, press, text_of
from tests.records.folders import ALIVE, DEAD, make_run
from tests.scale import scaled

STEPS = 40


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def interleave(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join(lines[at] for at in rng.choices(range(len(lines)), k=len(lines)))


def not_finite(data: bytes, rng: random.Random) -> bytes:
    return data.replace(
        b'"loss":', rng.choice([b'"loss":NaN,"was":', b'"loss":1e999,"was":', b'"loss":null,"was":']), 5
    )


def clock_back(data: bytes, rng: random.Random) -> bytes:
    return b'"ts":0'.join(data.rsplit(b'"ts":1', rng.randrange(1, STEPS)))


def newer(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b'{"ts"', b'{"format":99,"unheard_of":[{"a":1}],"ts"', rng.randrange(1, STEPS))


def noise(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.randrange(1, 200)) + data[at:]


CHANGES: list[Callable[[bytes, random.Random], bytes]] = [cut, interleave, not_finite, clock_back, newer, noise]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws").create()


@pytest.mark.fuzz
def test_whatever_is_in_a_journal_the_run_is_shown_with_its_state(workspace: Workspace) -> None:
    states = {}
    for number in range(scaled(30, 200)):
        rng = random.Random(number)
        run_id, end, process = f"run-{number}", rng.choice(["", "finish"]), rng.choice([ALIVE, DEAD])
        folder = make_run(workspace, run_id, range(STEPS), process=process, end=end)
        path = folder / "metrics-0001.jsonl"
        for change in rng.choices(CHANGES, k=rng.randrange(1, 3)):
            path.write_bytes(change(path.read_bytes() or b" ", rng) if path.stat().st_size > 2000 else b"")
        states[run_id] = "finished" if end else ("died" if process is DEAD else ("running", "stalled"))
    state = Reader(workspace).read_state()
    text = render(state)
    found = {run.run_id: run.state for run in state.runs}
    assert found.keys() == states.keys()
    for name in ("curves", "run"):
        assert read_once(workspace, name, View(grid=("loss", "lr"))).text(80)
    for run_id, wanted in states.items():
        assert found[run_id] in (wanted if isinstance(wanted, tuple) else (wanted,)), run_id
        assert run_id in text

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "a", "2")
        assert "marked runs" in text_of(pilot)
        for _ in range(6):
            await press(pilot, screen, "1", "down", "4")
            assert "State" in text_of(pilot)

    drive(workspace, steps, (80, 24))
