"""Signals to probe, report and training, and within calls of Polars: one sentence, one code, and nothing is lost."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.cohort import export
from cxrssl.core.artefact import open_artefact
from cxrssl.core.durable import find_leftovers, sha256_file
from cxrssl.core.journal import read_journal
from cxrssl.core.process import start_ticks
from cxrssl.core.workspace import Workspace
from tests.cli.command import run
from tests.small_runs import MINUTE
from tests.world import make_workspace

pytestmark = pytest.mark.crash
PREEMPTED, CTRL_C = 75, 130
NUMBERS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)
PRETRAIN = "pretrain --recipe demo --machine device=cpu --machine num_threads=1 --machine checkpoint_every=100000"
TRAIN = [*PRETRAIN.split(), *(word for change in MINUTE for word in ("--set", change))]
COMMANDS = {"probe": ["probe", "nih", "--resamples", "20", "--device", "cpu"], "report": ["report"]}
PAUSES = {"probe": "publish-before-rename:2", "report": "store-before-rename:1"}
"""Where something is saved, and something is not."""
Order = Callable[..., "Command"]


class Command:
    """A command in a process that can be signalled, and that may wait at a kill point for it."""

    def __init__(self, runner: subprocess.Popen[str], folder: Path, argv: list[str], **more: str) -> None:
        self.folder, self.paused = folder, folder / "paused.txt"
        files = {name: str(folder / f"{name}.txt") for name in ("stderr", "calls", "paused")}
        assert runner.stdin is not None
        assert runner.stdout is not None
        words = [*argv, "--workspace", str(folder / "workspace")]
        runner.stdin.write(json.dumps({"argv": words, **files, **more}) + "\n")
        runner.stdin.flush()
        self.pid, self._answers = int(runner.stdout.readline()), runner.stdout

    def wait_for_pause(self) -> None:
        while not self.paused.exists():
            assert start_ticks(self.pid) is not None, self.said
            time.sleep(0.01)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(int(self._answers.readline()))

    @property
    def said(self) -> str:
        return (self.folder / "stderr.txt").read_text()


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Order]:
    """Return what starts a command on the workspace in a folder: a copy of one with a run and its probe."""
    path = Path(__file__).parents[1] / "train" / "runner.py"
    environment = {**os.environ, "PYTHONPATH": str(path.parents[2]), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    runner = subprocess.Popen([sys.executable, str(path)], env=environment, text=True, **pipes)
    template = tmp_path_factory.mktemp("template")
    make_workspace(template, num_patients=24)
    for words in (TRAIN, COMMANDS["probe"]):
        done = Command(runner, template, words)
        assert done.wait() == 0, done.said
    for name in ("comparisons", "features", "reports"):
        shutil.rmtree(template / "workspace" / name, ignore_errors=True)

    def start(folder: Path, words: list[str], **more: str) -> Command:
        if not (folder / "workspace").exists():
            shutil.copytree(template / "workspace", folder / "workspace")
            if words[0] == "probe":
                shutil.rmtree(folder / "workspace" / "evals")
            if words[0] == "pretrain":
                shutil.rmtree(folder / "workspace" / "runs")
        return Command(runner, folder, words, **more)

    yield start
    assert runner.stdin is not None
    runner.stdin.close()
    runner.wait()


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every published artefact in a folder, by name."""
    return {path.parent.name: json.loads(path.read_text())["content_sha256"] for path in folder.glob("*/manifest.json")}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_ends_probe_and_report_with_a_sentence_and_the_same_command_goes_on(
    order: Order, tmp_path: Path, name: str, number: signal.Signals
) -> None:
    kind = {"probe": "evals", "report": "reports"}[name]
    command = order(tmp_path, COMMANDS[name], pause_at=PAUSES[name])
    command.wait_for_pause()
    os.kill(command.pid, number)
    assert command.wait() == (CTRL_C if number == signal.SIGINT else PREEMPTED), command.said
    errors = [line for line in command.said.splitlines() if line.startswith("cxrssl: error:")]
    by = "Ctrl-C" if number == signal.SIGINT else number.name
    assert [line.partition(";")[0] for line in errors] == [f"cxrssl: error: stopped by {by}"], command.said
    assert "; saved: " in errors[0]
    assert "Traceback" not in command.said
    workspace = Workspace(tmp_path / "workspace")
    for place in workspace.root.rglob("*"):
        assert not place.is_dir() or not find_leftovers(place), place
    for path in (workspace.root / kind).glob("*/manifest.json"):
        open_artefact(path.parent, json.loads(path.read_text())["kind"])
    command.paused.unlink()
    again = order(tmp_path, COMMANDS[name])
    assert again.wait() == 0, again.said
    whole = order(tmp_path / "whole", COMMANDS[name])
    assert whole.wait() == 0, whole.said
    assert contents(workspace.root / kind) == contents(tmp_path / "whole" / "workspace" / kind)


def test_a_closed_terminal_leaves_a_checkpoint_and_the_run_resumes_to_the_weights_of_an_undisturbed_one(
    order: Order, tmp_path: Path
) -> None:
    master, slave = pty.openpty()
    command = order(tmp_path / "closed", TRAIN, terminal=os.ttyname(slave), pause_at="train-after-step:3")
    command.wait_for_pause()
    os.close(slave)
    os.close(master)
    command.paused.unlink()
    assert command.wait() == PREEMPTED, command.said
    (folder,) = Workspace(tmp_path / "closed" / "workspace").runs.iterdir()
    assert [event["event"] for event in read_journal(folder / "events.jsonl")[-2:]] == ["checkpoint", "stop"]
    (checkpoint,) = (folder / "checkpoints").glob("step-*")
    assert checkpoint.name == "step-00000003"
    weights = []
    for place in ("closed", "whole"):
        done = order(tmp_path / place, TRAIN)
        assert done.wait() == 0, done.said
        (folder,) = Workspace(tmp_path / place / "workspace").runs.iterdir()
        weights.append(sha256_file(folder / "encoder" / "encoder.safetensors"))
    assert weights[0] == weights[1]


def interrupt_by_a_function_of_the_user(_: pl.DataFrame) -> bytes:
    return bytes(pl.select(pl.lit(1).map_elements(_interrupt, return_dtype=pl.Int64)).item())


def _interrupt(_: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return 0


def interrupt_meanwhile(_: pl.DataFrame) -> bytes:
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    for seed in range(10_000):
        pl.int_range(100_000, eager=True).shuffle(seed).sort()
    return b"never"


@pytest.mark.parametrize("call", [interrupt_by_a_function_of_the_user, interrupt_meanwhile])
def test_ctrl_c_within_a_call_of_polars_is_an_interruption_and_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[pl.DataFrame], bytes]
) -> None:
    workspace = make_workspace(tmp_path, num_patients=3)
    with monkeypatch.context() as patch:
        patch.setattr(export, "frame_csv", call)
        done = run("cohort", "export", "nih", "--to", "csv", workspace=workspace.root)
    assert (done.returncode, done.stdout) == (CTRL_C, "")
    assert done.stderr.splitlines()[0] == "cxrssl: error: stopped by Ctrl-C before anything was saved"
    assert not list(workspace.exports.iterdir())
    assert run("cohort", "export", "nih", "--to", "csv", workspace=workspace.root).returncode == 0
