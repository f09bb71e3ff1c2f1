"""Real runs of the command line, a process each, that tests kill: `cxrssl pretrain` on a few small films."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from cxrssl.records.steps import USAGE, iter_metrics

EVERY = 5
MINUTE = {
    "model.patch_px": 8, "model.head_hidden_mult": 1, "ehr.embed_dim": 8, "views.global_px": 16, "views.focal_px": 16,
    "views.num_focal": 1, "objective.num_prototypes": 8, "objective.queue_size": 8, "train.batch_size": 4,
}  # fmt: skip
# Inside a save, in the order in which it passes them; a process passes the first two at other writes as well.
SAVE_POINTS = (
    "write-before-fsync", "write-before-rename", "publish-before-rename", "publish-after-rename", "remove-after-rename",
    "save-before-event",
)  # fmt: skip
KILL_POINTS = (*SAVE_POINTS, "train-after-step", "run-before-finish")
MEASURED = {"ts", "films_per_s", "data_frac", "memory_mb", "health_frac", *USAGE}


class Trainer:
    """The command `cxrssl pretrain ...`, run in a process of its own each time, in any of many workspaces."""

    def __init__(self, root: Path, template: Path) -> None:
        runner = Path(__file__).with_name("runner.py")
        environment = {**os.environ, "PYTHONPATH": str(runner.parents[2]), "OMP_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._server = subprocess.Popen([sys.executable, str(runner)], env=environment, text=True, **pipes)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._stdin, self._stdout = self._server.stdin, self._server.stdout
        self._root, self._template = root, template
        self._num_workspaces = 0

    def new_workspace(self) -> Path:
        """Return a workspace with the films of the template and no run."""
        self._num_workspaces += 1
        folder = self._root / str(self._num_workspaces)
        folder.mkdir()
        for part in ("cohorts", "images"):
            (folder / part).symlink_to(self._template / part)
        return folder

    def pretrain(
        self, workspace: Path, num_epochs: int = 9, kill_after_s: float = 300.0, seed: int = 0, **order: Any
    ) -> tuple[int, str]:
        """Return how the process ended, minus the signal or the exit code, and what it wrote to stderr."""
        argv = ["pretrain", "--recipe", "demo", "--ehr", "sex,view", "--device", "cpu", "--machine", "num_threads=1"]
        argv += ["--workspace", str(workspace), "--machine", f"checkpoint_every={EVERY}"]
        for key, value in {**MINUTE, "train.num_epochs": num_epochs, "train.seed": seed}.items():
            argv += ["--set", f"{key}={value}"]
        stderr = workspace / "stderr.txt"
        files = {"stderr": str(stderr), "calls": str(workspace / "calls.txt")}
        self._stdin.write(json.dumps({"argv": argv, **files, **order}) + "\n")
        self._stdin.flush()
        child = int(self._stdout.readline())
        if not select.select([self._stdout], [], [], kill_after_s)[0]:
            os.kill(child, signal.SIGKILL)
        status = int(self._stdout.readline())
        return os.waitstatus_to_exitcode(status), stderr.read_text()

    def close(self) -> None:
        self._stdin.close()
        self._server.wait()


def run_in(workspace: Path) -> Path:
    (folder,) = (workspace / "runs").iterdir()
    return folder


def numbers(folder: Path) -> list[dict[str, Any]]:
    """What was told of each step, without what a clock or the operating system measured."""
    return [{key: record[key] for key in record.keys() - MEASURED} for record in iter_metrics(folder)]


def draw_kills(rng: random.Random, num: int) -> list[dict[str, Any]]:
    """Return orders to kill: a bit more than half of them at a point by name, each as often, the rest at random."""
    orders: list[dict[str, Any]] = []
    for number in range(num * 5 // 8):
        point = KILL_POINTS[number % len(KILL_POINTS)]
        most = {"train-after-step": 20, "run-before-finish": 1}.get(point, 4)
        orders.append({"kill_at": f"{point}:{rng.randint(1, most)}"})
    orders += [{"moment": rng.random()} for _ in range(num - len(orders))]
    rng.shuffle(orders)
    return orders
