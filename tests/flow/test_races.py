"""Two containers on one workspace: each has a process 1 of its own, and neither sees the other's processes.

Nothing is damaged, nothing is lost, and who loses is told.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cxrssl.cohort.read import open_cohort
from cxrssl.core.artefact import open_artefact
from cxrssl.core.building import MANIFEST
from cxrssl.core.durable import find_leftovers
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import open_images
from tests.scale import scaled
from tests.world import TINY, write_nih

pytestmark = pytest.mark.crash
SEED = int(os.environ.get("CXRSSL_SEED", "20261130"))
APART = ["unshare", "--pid", "--fork", "--mount-proc"]
TOLD = ("another process", "is of dataset nih in")
SERVER = """
import os, sys, json
import cxrssl.cli.app, cxrssl.cohort.export, cxrssl.ingest, cxrssl.cohort.sources.nih
if sys.argv[1:]:
    import cxrssl.evaluate.run, cxrssl.report.write
print("ready", flush=True)
for line in sys.stdin:
    words, log = json.loads(line)
    child = os.fork()
    if child == 0:
        out = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.argv = ["cxrssl", *words]
        code = 99
        try:
            cxrssl.cli.app.main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def can_unshare() -> bool:
    try:
        return subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Container:
    """A process 1 that runs commands, each in a child with a process id that the other container has too."""

    def __init__(self, has_torch: bool) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [*APART, sys.executable, "-c", SERVER, *["torch"] * has_torch]
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.orders, self.answers = self.process.stdin, self.process.stdout
        assert self.answers.readline() == "ready\n"

    def begin(self, words: list[str], log: Path) -> None:
        self.orders.write(json.dumps([words, str(log)]) + "\n")
        self.orders.flush()

    def end(self) -> int:
        return int(self.answers.readline())

    def close(self) -> None:
        self.orders.close()
        self.process.wait()


CHANGES = [word for change in TINY for word in ("--set", change)]
PRETRAIN = " ".join(["pretrain", "--recipe", "demo", "--device", "cpu", *CHANGES])
INGEST = "ingest nih {data} --size 48 --workers 1"
EXPORT = "cohort export nih --to csv"
PROBE = "probe nih --resamples 20 --device cpu"
RACES = {
    "ingest": (INGEST, INGEST),
    "names": (INGEST, "ingest nih {other} --size 48 --workers 1"),
    "export": (EXPORT, EXPORT),
    "replace": (f"{EXPORT} --force",) * 2,
    "probe": (PROBE, PROBE),
    "report": ("report", "report"),
    "pretrain": (f"{PRETRAIN} --name race",) * 2,
}
IN_CI = ("ingest", "names", "export", "replace")
"""Those that need no torch."""


@pytest.mark.skipif(not can_unshare(), reason="needs the right to make PID namespaces")
def test_two_containers_that_do_the_same_at_once_damage_and_lose_nothing(tmp_path: Path) -> None:
    names = list(RACES) if scaled(0, 1) else list(IN_CI)
    data = {"data": write_nih(tmp_path / "data", num_patients=24), "other": write_nih(tmp_path / "other", 20, seed=5)}
    pair = (Container("probe" in names), Container("probe" in names))
    draw = random.Random(SEED)
    empty, prepared = (Workspace(tmp_path / name).create().root for name in ("empty", "prepared"))
    prepare(pair[0], prepared, data, tmp_path, PRETRAIN if "probe" in names else "", PROBE if "probe" in names else "")
    for trial in range(scaled(4, 200)):
        name = names[trial % len(names)]
        workspace = shutil.copytree(empty if name in ("ingest", "names") else prepared, tmp_path / "ws")
        if name == "probe":
            shutil.rmtree(workspace / "evals")
        codes, said = race(pair, [words.format(**data) for words in RACES[name]], workspace, tmp_path, draw)
        about = f"seed {SEED}, race {trial}, {name}: {codes} {said}"
        assert 0 in codes, about
        assert set(codes) <= {0, 2}, about
        for code, text in zip(codes, said, strict=True):
            assert code == 0 or any(word in text for word in TOLD), about
        assert_whole(workspace, name, about)
        shutil.rmtree(workspace)
    for container in pair:
        container.close()


def prepare(container: Container, workspace: Path, data: dict[str, Path], folder: Path, *more: str) -> None:
    """Make a workspace in which there is something to export, with `more` commands to report."""
    log = folder / "prepare.log"
    for words in filter(None, (INGEST, *more)):
        container.begin([*words.format(**data).split(), "--workspace", str(workspace)], log)
        assert container.end() == 0, log.read_text()
    for name in ("comparisons", "features"):
        shutil.rmtree(workspace / name, ignore_errors=True)


def race(
    pair: tuple[Container, Container], commands: list[str], workspace: Path, folder: Path, draw: random.Random
) -> tuple[list[int], list[str]]:
    logs = [folder / f"race-{number}.log" for number in range(2)]
    for log in logs:
        log.unlink(missing_ok=True)
    order = draw.sample(range(2), 2)
    for number in order:
        pair[number].begin([*commands[number].split(), "--workspace", str(workspace)], logs[number])
    codes = [container.end() for container in pair]
    return codes, [log.read_text() for log in logs]


def assert_whole(workspace: Path, name: str, about: str) -> None:
    """Every artefact is whole, its cohort has its own films, and nothing half-built is left."""
    found = [path.parent for path in workspace.rglob(MANIFEST) if ".building" not in str(path)]
    for folder in found:
        open_artefact(folder, json.loads((folder / MANIFEST).read_text())["kind"])
    for place in [workspace, *(path for path in workspace.iterdir() if path.is_dir())]:
        assert not find_leftovers(place), about
        assert not list(place.glob(".lock-*")), about
    cohort, images = open_cohort(workspace / "cohorts" / "nih"), open_images(workspace / "images" / "nih")
    assert images.image_id.tolist() == cohort.image_id.tolist(), about
    if name == "probe":
        assert len(list((workspace / "evals").iterdir())) == 4, about
    if name == "report":
        assert (workspace / "experiments.duckdb").stat().st_size > 0, about
        assert (workspace / "reports" / "latest" / "report.md").is_file(), about
