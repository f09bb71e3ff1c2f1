"""Two containers race on one workspace: nothing is damaged, nothing is lost, and who loses is told."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrssl.cohort.read import open_cohort
from cxrssl.core.artefact import open_artefact
from cxrssl.core.durable import find_leftovers
from cxrssl.core.manifest import MANIFEST
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import open_images
from cxrssl.records.encoder import open_record
from tests.flow.containers import Container, Ended, Pair, can_unshare, race
from tests.records.folders import make_evaluation
from tests.scale import scaled
from tests.world import TINY, write_nih

pytestmark = [pytest.mark.crash, pytest.mark.skipif(not can_unshare(), reason="needs the right to make PID namespaces")]
SEED = int(os.environ.get("CXRSSL_SEED", "20261130"))
PRETRAIN = " ".join(["pretrain", "--recipe", "demo", "--device", "cpu", *(f"--set {change}" for change in TINY)])
INGEST = "ingest nih {data} --size 48 --workers 1"
ANOTHER = "ingest nih {other} --size 48 --workers 1"
RENEW = f"{ANOTHER} --replace"
EXPORT = "cohort export nih --to csv"
PROBE = "probe nih-msn --resamples 20 --device cpu"
RACES = {
    "ingest, ingest": (INGEST, INGEST),
    "ingest, ingest of another dataset": (INGEST, ANOTHER),
    "replace, replace": (RENEW, RENEW),
    "export, export": (EXPORT, EXPORT),
    "export anew, export anew": (f"{EXPORT} --force",) * 2,
    "export, replace": (EXPORT, RENEW),
    "report, report": ("report", "report"),
    "report, replace": ("report", RENEW),
    "report, sql": ("report", "sql --results 'FROM eval_result'"),
    "probe, probe": (PROBE, PROBE),
    "probe, report": (PROBE, "report"),
    "probe, replace": (PROBE, RENEW),
    "pretrain, pretrain": (f"{PRETRAIN} --name race",) * 2,
    "pretrain, report": (f"{PRETRAIN} --name race", "report"),
    "pretrain, replace": (f"{PRETRAIN} --name race", RENEW),
    "pretrain, probe": (f"{PRETRAIN} --name race", PROBE),
}
IN_CI = (
    "ingest, ingest of another dataset", "replace, replace", "export anew, export anew", "export, replace",
    "report, replace",
)  # fmt: skip
"""None of them needs torch."""
ON_EMPTY = ("ingest, ingest", "ingest, ingest of another dataset")
NUM_FILMS = 48
"""Of the cohort before it is replaced."""
SPREAD_S = 0.8
"""The second command begins up to so much earlier or later than the first."""
TOLD = ("another process", "is of dataset nih in", "are of an older cohort")
"""What tells the loser of a race, who changed nothing."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("containers")
    pair = (Container(folder / "1", has_torch()), Container(folder / "2", has_torch()))
    yield pair
    for container in pair:
        container.close()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> dict[str, Path]:
    """Two datasets, an empty workspace, and one with a cohort, a run and four evaluations."""
    folder = tmp_path_factory.mktemp("races")
    places = {
        "data": write_nih(folder / "data", num_patients=NUM_FILMS // 2),
        "other": write_nih(folder / "other", 20, seed=5),
    }
    places |= {name: Workspace(folder / name).create().root for name in ("empty", "prepared")}
    prepared = places["prepared"]
    for words in (INGEST, PRETRAIN, PROBE) if has_torch() else (INGEST,):
        done = pair[0].run(words.format(**places), prepared)
        assert done.code == 0, done.text
    for name in ("comparisons", "features"):
        shutil.rmtree(prepared / name, ignore_errors=True)
    if not has_torch():
        hashes = {"cohort_sha256": open_cohort(prepared / "cohorts" / "nih").content_sha256}
        hashes |= {"images_sha256": open_images(prepared / "images" / "nih").content_sha256}
        for kind in ("view-only", "features-only"):
            make_evaluation(Workspace(prepared), kind, kind, 0.7, cohort="nih", dataset="nih", split="hash", **hashes)
    return places


def has_torch() -> bool:
    return bool(scaled(0, 1))


@pytest.mark.parametrize("name", RACES if scaled(0, 1) else IN_CI)
def test_two_containers_at_once_damage_and_lose_nothing_and_tell_who_loses(
    pair: Pair, places: dict[str, Path], tmp_path: Path, name: str
) -> None:
    draw = random.Random(f"{SEED} {name}")
    first, second = (words.format(**places) for words in RACES[name])
    outcomes: Counter[str] = Counter()
    for trial in range(scaled(1, 13)):
        workspace = shutil.copytree(places["empty" if name in ON_EMPTY else "prepared"], tmp_path / "ws")
        if PROBE in (first, second):
            leave_one_evaluation(workspace)
        before, delay_s = list_published(workspace), draw.uniform(-SPREAD_S, SPREAD_S) * draw.random()
        ended = race(pair, (first, second), workspace, delay_s)
        about = f"seed {SEED}, {name}, race {trial}, {delay_s:.3f} s: {ended}"
        assert_told(ended, about)
        assert_whole(workspace, before, about)
        for words, each in zip((first, second), ended, strict=True):
            if each.code == 0:
                assert_done(words, workspace, about)
        if "evals" in {path.parts[0] for path in before}:
            done = pair[0].run("report", workspace)
            assert done.code == 0, f"{about}, then {done}"
        outcomes[say(ended)] += 1
        shutil.rmtree(workspace)
    sys.stderr.write(f"{name}: {dict(outcomes)}\n")


def leave_one_evaluation(workspace: Path) -> None:
    """Give a probe something to do, and a report something to show."""
    for path in (workspace / "evals").iterdir():
        if not path.name.startswith("view-only"):
            shutil.rmtree(path)


def say(ended: list[Ended]) -> str:
    """Return the first line of the loser's error, and what stands for a race without one."""
    lines = [line for each in ended for line in each.text.splitlines() if line.startswith("cxrssl: error:")]
    return lines[0].partition("error: ")[2].partition(" in /")[0] if lines else "both done"


def list_published(workspace: Path) -> set[Path]:
    found = (path.parent.relative_to(workspace) for path in workspace.rglob(MANIFEST))
    return {path for path in found if ".building" not in str(path)}


def assert_told(ended: list[Ended], about: str) -> None:
    assert 0 in [each.code for each in ended], about
    for each in ended:
        assert each.code in (0, 2, 3), about
        assert each.code == 0 or any(word in each.text for word in TOLD), about


def assert_whole(workspace: Path, before: set[Path], about: str) -> None:
    """Every artefact is whole, none is gone, the cohort has its own films, and nothing half-built is left."""
    after = list_published(workspace)
    assert before <= after, about
    for path in after:
        open_artefact(workspace / path, json.loads((workspace / path / MANIFEST).read_text())["kind"])
    for place in [workspace, *(path for path in workspace.rglob("*") if path.is_dir())]:
        assert not find_leftovers(place), about
        assert not list(place.glob(".lock-*")), about
    cohort, images = open_cohort(workspace / "cohorts" / "nih"), open_images(workspace / "images" / "nih")
    assert images.image_id.tolist() == cohort.image_id.tolist(), about
    assert images.cohort_sha256 == cohort.content_sha256, about


def assert_done(words: str, workspace: Path, about: str) -> None:
    """What a command calls done is there."""
    if words.startswith("ingest"):
        assert open_cohort(workspace / "cohorts" / "nih").root == Path(words.split()[2]), about
    if words.startswith("cohort export"):
        rows = (workspace / "exports" / "nih-csv" / "films.csv").read_text().count("\n") - 1
        of = open_artefact(workspace / "exports" / "nih-csv", "cohort-export").settings["cohort_sha256"]
        cohort = open_cohort(workspace / "cohorts" / "nih")
        assert rows == (len(cohort) if of == cohort.content_sha256 else NUM_FILMS), about
    if words == PROBE:
        assert len(list((workspace / "evals").iterdir())) >= 4, about
    if words.startswith("pretrain"):
        (run,) = (workspace / "runs").glob("nih-race-*")
        open_record(run / "encoder")
    if words == "report":
        assert (workspace / "reports" / "latest" / "report.md").is_file(), about
    if words.startswith(("report", "sql")):
        assert (workspace / "experiments.duckdb").stat().st_size > 0, about
