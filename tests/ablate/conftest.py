"""A tiny grid, a cohort to run it on, and processes that run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from cxrssl.core.workspace import Workspace
from tests.world import make_workspace

ROOT = Path(__file__).parents[2]
TINY = """
model.patch_px = 8
model.head_hidden_mult = 1
views.global_px = 16
views.focal_px = 16
views.num_focal = 1
objective.num_prototypes = 8
train.batch_size = 8
train.num_epochs = 2
"""
GRID = f"""
question = "Does it run?"
recipe = "demo"
seeds = [0, 1]
[primary]
arm = "record"
against = "vanilla"
[probe]
num_resamples = 20
[arms.vanilla]
ehr.features = []
{TINY}
[arms.record]
ehr.features = ["sex", "view"]
{TINY}
"""


@dataclass
class Started:
    """A command that runs, and what it prints."""

    server: Server
    pid: int
    output: Path

    def wait(self) -> int:
        """Return its exit code, negative if a signal ended it."""
        return os.waitstatus_to_exitcode(self.server.read())

    @property
    def text(self) -> str:
        return self.output.read_text()


@dataclass
class Server:
    """Processes forked from one that has loaded torch; one command at a time."""

    process: subprocess.Popen[str]
    folder: Path
    num: int = field(default=0)

    def start(self, *words: object) -> Started:
        self.num += 1
        output = self.folder / f"output-{self.num}"
        output.touch()
        self._stdin.write(json.dumps({"argv": [str(word) for word in words], "output": str(output)}) + "\n")
        self._stdin.flush()
        return Started(self, self.read(), output)

    def run(self, *words: object) -> tuple[int, str]:
        """Return exit code and output of a command."""
        started = self.start(*words)
        return started.wait(), started.text

    def read(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    @property
    def _stdin(self) -> IO[str]:
        assert self.process.stdin is not None
        return self.process.stdin


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ablate.forked"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    yield Server(process, tmp_path_factory.mktemp("output"))
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("ablate"), num_patients=60)


@dataclass(frozen=True)
class Place:
    """A workspace with the cohort `nih`, and a grid to run in it."""

    workspace: Workspace
    grid: Path

    def words(self, *more: object) -> list[object]:
        return ["ablate", self.grid, "--workspace", self.workspace.root, "--device", "cpu", *more]

    @property
    def folder(self) -> Path:
        return self.workspace.ablations / self.grid.stem

    @property
    def table(self) -> bytes:
        return (self.folder / "table" / "table.json").read_bytes()


def make_place(folder: Path, template: Workspace, grid: str = GRID) -> Place:
    workspace = Workspace(folder / "ws").create()
    for part in ("cohorts", "images"):
        (workspace.root / part).symlink_to(template.root / part)
    (folder / "study.toml").write_text(grid)
    return Place(workspace, folder / "study.toml")


@pytest.fixture
def place(tmp_path: Path, template: Workspace) -> Place:
    return make_place(tmp_path, template)
