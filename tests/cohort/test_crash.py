"""Killed ingests and exchanged cohorts: the old one or the new one, never half of one."""

from __future__ import annotations

import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import KIND, open_cohort
from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import CxrsslError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.images.pack import pack_images
from cxrssl.images.store import open_images
from tests.scale import scaled

SEED = int(os.environ.get("CXRSSL_SEED", "20240501"))
INGEST = """
import os
import sys
from pathlib import Path
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.core.workspace import Workspace
import cxrssl.cohort.sources.mimic
print("ready", flush=True)
while sys.stdin.readline():
    child = os.fork()
    if child == 0:
        build_cohort(Workspace(Path(sys.argv[1])), IngestOptions("mimic", Path(sys.argv[2])))
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@pytest.fixture
def ingester(workspace: Workspace, tmp_path: Path) -> Iterator[Callable[[float], int]]:
    """A function: ingest `tmp_path/data` in a process of its own, kill it after so many seconds, return its status."""
    words = [sys.executable, "-c", INGEST, str(workspace.root), str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    server = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stdin, stdout = server.stdin, server.stdout
    assert stdin is not None
    assert stdout is not None
    assert stdout.readline() == "ready\n"

    def ingest(kill_after_s: float = 600.0) -> int:
        stdin.write("\n")
        stdin.flush()
        child = int(stdout.readline())
        if not select.select([stdout], [], [], kill_after_s)[0]:
            os.kill(child, signal.SIGKILL)
        return int(stdout.readline())

    yield ingest
    stdin.close()
    server.wait()


def content_of(workspace: Workspace) -> tuple[str, tuple[str, ...]]:
    """Return a hash of the published arrays and the films of the published database, every file checked."""
    cohort = open_cohort(workspace.cohorts / "mimic")
    with open_database(cohort.folder / "cohort.duckdb", read_only=True) as database:
        films = tuple(row[0] for row in database.rows("SELECT image_id FROM image ORDER BY image_id"))
    assert films == tuple(sorted(cohort.image_id.tolist()))
    return cohort.content_sha256, films


def write_worlds(world: Any, tmp_path: Path) -> tuple[Path, Path]:
    """Write a hospital and the same with one film more."""
    first = world.write(tmp_path / "first")
    world.add_film(world.add_patient(3), 5, "21530101", "101500.0")
    return first, world.write(tmp_path / "second")


@pytest.mark.crash
def test_killed_ingest_leaves_the_old_cohort_or_the_new_one(
    world: Any, workspace: Workspace, tmp_path: Path, ingester: Callable[..., int]
) -> None:
    """Killed at its beginning and at random moments before its end, then run again."""
    first, second = write_worlds(world, tmp_path)
    root = tmp_path / "data"
    contents, kept = {}, tmp_path / "kept"
    for version in (second, first):
        point(root, version)
        build_cohort(workspace, IngestOptions("mimic", root))
        contents[version] = content_of(workspace)
    shutil.copytree(workspace.root, kept)
    assert [len(films) for _, films in contents.values()] == [5, 4]
    point(root, second)
    started = time.monotonic()
    assert ingester() == 0
    whole_s = time.monotonic() - started
    rng = random.Random(SEED)
    seen = set()
    for trial in range(scaled(10, 100)):
        shutil.rmtree(workspace.root)
        shutil.copytree(kept, workspace.root)
        started = time.monotonic()
        if ingester(rng.uniform(0, 1.2 * whole_s) if trial else 0.0) == 0:
            whole_s = time.monotonic() - started  # a busy machine that is idle now: the next kill comes earlier
        found = content_of(workspace)
        assert found in contents.values(), f"seed {SEED}, trial {trial}"
        seen.add(found)
        build_cohort(workspace, IngestOptions("mimic", root))
        assert content_of(workspace) == contents[second], f"seed {SEED}, trial {trial}"
        leftovers = [path.name for path in workspace.cohorts.iterdir() if path.name.startswith(".building")]
        assert leftovers == [], f"seed {SEED}, trial {trial}"
    assert contents[first] in seen, "no kill came early enough: the test showed nothing"


KILL_POINTS = ["publish-before-rename:1", "publish-after-rename:1", "write-before-fsync:1", "write-before-rename:2"]


@pytest.fixture(params=KILL_POINTS[: scaled(2, 4)])
def kill_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A point at which processes that start from now on die."""
    monkeypatch.setenv("CXRSSL_KILL_AT", request.param)
    return str(request.param)


@pytest.mark.crash
def test_ingest_killed_where_it_matters_leaves_the_old_cohort_or_the_new_one(
    world: Any, workspace: Workspace, tmp_path: Path, kill_at: str, ingester: Callable[..., int]
) -> None:
    first, second = write_worlds(world, tmp_path)
    root = tmp_path / "data"
    point(root, first)
    build_cohort(workspace, IngestOptions("mimic", root))
    old = content_of(workspace)
    point(root, second)
    assert ingester() == signal.SIGKILL
    assert (content_of(workspace) == old) == (kill_at != "publish-after-rename:1")
    build_cohort(workspace, IngestOptions("mimic", root))
    assert len(content_of(workspace)[1]) == 5


def point(link: Path, target: Path) -> None:
    """Let the dataset folder be another one: the same path, other files."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)


@pytest.mark.crash
def test_readers_see_no_error_while_cohorts_are_exchanged(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    first, second = write_worlds(world, tmp_path)
    root = tmp_path / "data"
    contents = {}
    for version in (first, second):
        point(root, version)
        build_cohort(workspace, IngestOptions("mimic", root))
        contents[version] = open_cohort(workspace.cohorts / "mimic").content_sha256
    stop = threading.Event()
    failures: list[BaseException] = []
    num_swaps = 0

    def exchange() -> None:
        nonlocal num_swaps
        try:
            while not stop.is_set():
                for version in (first, second):
                    point(root, version)
                    build_cohort(workspace, IngestOptions("mimic", root))
                    num_swaps += 1
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        num_reads = 0
        while num_reads < scaled(60, 1000) or num_swaps < scaled(4, 60):
            cohort = open_cohort(workspace.cohorts / "mimic")
            assert cohort.content_sha256 in contents.values()
            assert cohort.summary["films"]["accepted"] == len(cohort)
            num_reads += 1
            assert not failures, failures
    finally:
        stop.set()
        thread.join()
    assert open_artefact(workspace.cohorts / "mimic", KIND)


def try_ingest(workspace: Workspace, root: Path) -> int:
    """Ingest and pack as the command does, and return the exit code."""
    try:
        summary = build_cohort(workspace, IngestOptions("mimic", root))
        cohort = open_cohort(summary.path)
        packed = pack_images(
            workspace.images / "mimic",
            cohort.root,
            cohort.image_id.tolist(),
            cohort.path.tolist(),
            size_px=64,
            cohort_sha256=cohort.content_sha256,
        )
    except CxrsslError as error:
        return error.exit_code
    assert packed.num_films == summary.values["films"]["accepted"] == len(cohort)
    assert packed.num_packed == len(open_images(workspace.images / "mimic").read_all()) == len(cohort)
    return 0


def check_full_disks(workspaces: Iterator[Workspace], world: Any, tmp_path: Path) -> None:
    """Each workspace holds the first world, with room for the second or not: exit 4 or success, and nothing by halves.

    They are copies of the workspace `old`, which is made before the first is asked for.
    """
    first, second = write_worlds(world, tmp_path)
    for root in (first, second):
        for num, path in enumerate(sorted(root.rglob("*.jpg"))):
            Image.effect_noise((80, 64 + num), 50).save(path)
    root, codes = tmp_path / "data", []
    old = Workspace(tmp_path / "old")
    point(root, first)
    assert try_ingest(old, root) == 0
    wanted = content_of(old)
    for workspace in workspaces:
        point(root, second)
        codes.append(try_ingest(workspace, root))
        if codes[-1] == 0:
            assert len(open_images(workspace.images / "mimic").image_id) == len(content_of(workspace)[1]) == 5
        else:
            assert codes[-1] == 4, codes
            found, images = content_of(workspace), open_images(workspace.images / "mimic")
            assert found == wanted or len(found[1]) == 5
            assert len(images.image_id) == len(images.read_all()) == 4
    assert {0, 4} == set(codes), f"sizes that show nothing: {codes}"


@pytest.mark.crash
def test_ingest_and_pack_under_a_limit_on_files_end_with_code_4_or_whole(world: Any, tmp_path: Path) -> None:
    """A limit on the size of a file stops every writer in the middle, DuckDB's and Polars' too, as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def workspaces() -> Iterator[Workspace]:
        for limit in np.geomspace(500, 20_000_000, scaled(4, 20)).astype(int).tolist():
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            workspace = Workspace(tmp_path / f"limit-{limit}")
            shutil.copytree(tmp_path / "old", workspace.root)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            yield workspace

    try:
        check_full_disks(workspaces(), world, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.crash
def test_ingest_and_pack_on_full_disks_end_with_code_4_or_whole(world: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()

    def workspaces() -> Iterator[Workspace]:
        for kib in np.geomspace(5_300, 16_000, scaled(4, 20)).astype(int).tolist():
            mount(disk, f"{kib}k")
            shutil.copytree(tmp_path / "old", disk / "workspace")
            yield Workspace(disk / "workspace")
            subprocess.run(["umount", "--lazy", str(disk)], check=True)

    mount(disk, "100k")
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
    try:
        check_full_disks(workspaces(), world, tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False, capture_output=True)


def mount(disk: Path, size: str) -> None:
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(words, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk may not be mounted here")
