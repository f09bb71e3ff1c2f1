"""Signals: the first lets the step end and saves, the same again ends at once; either way the run goes on later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.artefact import open_artefact
from cxrssl.core.journal import read_journal
from cxrssl.core.process import start_ticks
from cxrssl.core.workspace import Workspace
from cxrssl.train.checkpoint import KIND
from tests.scale import scaled
from tests.small_runs import MINUTE, read_run
from tests.world import make_workspace

pytestmark = pytest.mark.crash
PREEMPTED, CTRL_C = 75, 130


class Command:
    """`cxrssl pretrain` on a workspace of its own, in a process that can be signalled."""

    def __init__(self, runner: subprocess.Popen[str], folder: Path, template: Workspace, pause_at: str) -> None:
        self.folder = folder
        for part in ("cohorts", "images"):
            if not (folder / part).exists():
                (folder / part).symlink_to(template.root / part)
        self.paused = folder / "paused.txt"
        self.paused.unlink(missing_ok=True)
        argv = ["pretrain", "--recipe", "demo", "--workspace", str(folder)]
        for key in ("device=cpu", "num_threads=1", "checkpoint_every=100000"):
            argv += ["--machine", key]
        for change in [*MINUTE[:-1], "train.num_epochs=50000"]:
            argv += ["--set", change]
        files = {"stderr": str(folder / "stderr.txt"), "calls": str(folder / "calls.txt")}
        files |= {"pause_at": pause_at, "paused": str(self.paused)}
        assert runner.stdin is not None
        assert runner.stdout is not None
        runner.stdin.write(json.dumps({"argv": argv, **files}) + "\n")
        runner.stdin.flush()
        self.pid, self._answers = int(runner.stdout.readline()), runner.stdout

    def wait_for_step(self, step: int) -> None:
        runs = self.folder / "runs"
        while not any(r["step"] >= step for path in runs.glob("*/metrics-*.jsonl") for r in read_journal(path)[-1:]):
            assert start_ticks(self.pid) is not None, self.wait()
            time.sleep(0.01)

    def wait_for_pause(self) -> None:
        while not self.paused.exists():
            assert start_ticks(self.pid) is not None, self.wait()
            time.sleep(0.01)

    def send(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        """Return how it ended, minus the signal or the exit code, and what it said."""
        status = int(self._answers.readline())
        return os.waitstatus_to_exitcode(status), (self.folder / "stderr.txt").read_text()

    @property
    def run(self) -> Path:
        (run,) = (self.folder / "runs").iterdir()
        return run

    @property
    def checkpoints(self) -> list[Path]:
        return sorted((self.run / "checkpoints").glob("step-*"))


Start = Callable[..., Command]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Return what starts a command in a folder."""
    path = Path(__file__).with_name("runner.py")
    environment = {**os.environ, "PYTHONPATH": str(path.parents[2]), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    runner = subprocess.Popen([sys.executable, str(path)], env=environment, text=True, **pipes)
    assert runner.stdin is not None
    template = make_workspace(tmp_path_factory.mktemp("signals"), num_patients=24)
    yield lambda folder, pause_at="": Command(runner, folder, template, pause_at)
    runner.stdin.close()
    runner.wait()


@pytest.mark.parametrize(
    ("signals", "code", "words"),
    [
        ((signal.SIGTERM,), PREEMPTED, "stopped by SIGTERM after step"),
        ((signal.SIGUSR1,), PREEMPTED, "stopped by SIGUSR1 after step"),
        ((signal.SIGUSR2,), PREEMPTED, "stopped by SIGUSR2 after step"),
        ((signal.SIGHUP,), PREEMPTED, "stopped by SIGHUP after step"),
        ((signal.SIGINT,), CTRL_C, "stopped by Ctrl-C after step"),
        ((signal.SIGCONT, signal.SIGTERM), PREEMPTED, "stopped by SIGTERM after step"),
        ((signal.SIGSTOP, signal.SIGCONT, signal.SIGTERM), PREEMPTED, "stopped by SIGTERM after step"),
    ],
)
def test_a_signal_lets_the_step_end_saves_and_leaves_with_its_code(
    start: Start, tmp_path: Path, signals: tuple[signal.Signals, ...], code: int, words: str
) -> None:
    command = start(tmp_path)
    command.wait_for_step(2)
    command.send(*signals)
    found, said = command.wait()
    assert (found, words in said) == (code, True), said
    record = read_run(command.run)
    assert record.state == "stopped"
    assert [event["event"] for event in read_journal(command.run / "events.jsonl")[-2:]] == ["checkpoint", "stop"]
    (path,) = command.checkpoints
    assert path.name == f"step-{record.step:08d}"
    open_artefact(path, KIND)
    if signals != (signal.SIGTERM,):
        return
    again = start(tmp_path)
    again.wait_for_step(record.step + 1)
    again.send(signal.SIGTERM)
    assert again.wait()[0] == PREEMPTED
    assert read_journal(again.run / "metrics-0002.jsonl")[0]["step"] == record.step


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT][: scaled(1, 2)])
def test_the_same_signal_again_ends_at_once_and_leaves_the_last_checkpoint_as_it_was(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """In a step that comes to no end, so that its end is not what the second signal meets."""
    command = start(tmp_path)
    command.wait_for_step(0)
    command.send(signal.SIGUSR1)
    assert command.wait()[0] == PREEMPTED
    (path,) = command.checkpoints
    before = {file: file.read_bytes() for file in path.iterdir()}
    again = start(tmp_path, pause_at="train-after-step:1")
    again.wait_for_pause()
    while start_ticks(again.pid) is not None:
        again.send(number)  # two that follow on each other may arrive as one
        time.sleep(0.05)
    assert again.wait()[0] == 128 + number
    assert again.checkpoints == [path]
    assert {file: file.read_bytes() for file in path.iterdir()} == before
    assert read_run(again.run).state == "died"
