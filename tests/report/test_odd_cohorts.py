"""One cohort that is damaged, odd or gone: every view says so, and the others have their report all the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrssl.cohort import read
from cxrssl.cohort.read import open_cohort
from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import open_images
from cxrssl.records import cohorts
from tests.cli.command import run
from tests.records.breaking import flip_middle
from tests.records.folders import make_comparison, make_evaluation
from tests.world import make_workspace

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two cohorts, one a copy of the other, and an evaluation on each."""
    workspace = make_workspace(tmp_path_factory.mktemp("clean"), num_patients=12)
    again(workspace, "odd", dict, {})
    for name in ("nih", "odd"):
        cohort = open_cohort(workspace.cohorts / name)
        packed = {"images_sha256": open_images(workspace.images / name).content_sha256} if name == "nih" else {}
        packed |= {"cohort_sha256": cohort.content_sha256}
        make_evaluation(workspace, "view-only", "view-only", 0.7, cohort=name, dataset="nih", split="hash", **packed)
    return workspace


@pytest.fixture
def workspace(clean: Workspace, tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(clean.root, workspace.root)
    return workspace


def again(workspace: Workspace, name: str, settings: Callable[[dict[str, Any]], Any], files: dict[str, bytes]) -> None:
    """Publish cohort nih under `name` with other settings, and other bytes under right hashes."""
    source = workspace.cohorts / "nih"
    manifest = json.loads((source / "manifest.json").read_text())
    shutil.rmtree(workspace.cohorts / name, ignore_errors=True)
    about = settings({**manifest["settings"], "name": name})
    with publish(workspace.cohorts / name, read.KIND, about, manifest["inputs"]) as building:
        for path in source.iterdir():
            if path.name != "manifest.json":
                write_bytes(building / path.name, files.get(path.name, path.read_bytes()))


def with_summary(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Return a change that publishes another summary."""

    def do(folder: Path) -> None:
        summary = json.loads((folder / "summary.json").read_text())
        again(Workspace(folder.parents[1]), "odd", dict, {"summary.json": json.dumps(change(summary)).encode()})

    return do


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


ODD: dict[str, Change] = {
    "summary-flipped": lambda folder: flip_middle(folder / "summary.json"),
    "summary-missing": lambda folder: (folder / "summary.json").unlink(),
    "summary-a-list": with_summary(lambda summary: []),
    "summary-without-flow": with_summary(lambda summary: {**summary, "flow": None}),
    "flow-of-text": with_summary(lambda summary: {**summary, "flow": [["rows", "many"], ["films", "few"]]}),
    "flow-of-other-films": with_summary(lambda summary: {**summary, "flow": [["rows", 3], ["films", 1]]}),
    "release-a-number": with_summary(lambda summary: {**summary, "release": 7}),
    "arrays-flipped": lambda folder: flip_middle(folder / "films.npz"),
    "manifest-missing": lambda folder: (folder / "manifest.json").unlink(),
    "nothing-in-it": empty,
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_cohort_leaves_the_report_of_the_others(workspace: Workspace, name: str) -> None:
    ODD[name](workspace.cohorts / "odd")
    done = run("report", "--no-figures", workspace=workspace.root)
    assert done.returncode == 0, done.stderr
    figures = sorted(path.name for path in (workspace.reports / "latest").glob("*.svg"))
    assert "flow-nih-hash.svg" in figures
    head, _, rest = (workspace.reports / "latest/report.md").read_text().partition("\n## Audit")
    if "flow-odd-hash.svg" not in figures:
        assert "- cohort odd: " in head.partition("Not read, or not in full")[2].partition("\n## ")[0]
    else:
        assert "unknown whether its source files were checked" in head
    assert "- cohort nih: " in rest
    assert run("sql", "--results", "SELECT * FROM eval_result", workspace=workspace.root).returncode == 0


def test_a_flow_counts_no_film_that_was_scored_in_another_state_of_the_cohort(workspace: Workspace) -> None:
    flow = run("cohort", "flow", "nih", workspace=workspace.root)
    assert "  scored " in flow.stdout
    shutil.rmtree(workspace.evals)
    make_evaluation(workspace, "old", "view-only", 0.7, cohort="nih", dataset="nih", split="hash")
    assert "  scored " not in run("cohort", "flow", "nih", workspace=workspace.root).stdout


def say(workspace: Workspace) -> dict[str, set[str]]:
    """Return the sentences about cohort odd in each view."""
    shown = json.loads(run("dashboard", "--json", workspace=workspace.root).stdout)["problems"]
    report = json.loads(run("report", "--json", workspace=workspace.root).stdout)["damage"]
    notes = run("sql", "--results", "SELECT 1", workspace=workspace.root).stderr.splitlines()
    audit = json.loads(run("cohort", "audit", "--json", workspace=workspace.root).stdout)["results"]
    flow = run("cohort", "flow", "nih", workspace=workspace.root).stderr.splitlines()
    said = {
        "dashboard": shown,
        "report": report,
        "sql": [line.removeprefix("cxrssl: note: ") for line in notes],
        "audit": [each["finding"] for each in audit if each["code"] == "record-damaged" and each["finding"]],
        "flow": [line.removeprefix("cxrssl: note: ") for line in flow],
    }
    return {view: {each for each in sentences if "cohort odd" in each} for view, sentences in said.items()}


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_an_evaluation_whose_cohort_is_gone_is_named_and_left_out(workspace: Workspace, how: str) -> None:
    shutil.rmtree(workspace.cohorts / "odd")
    what = "evaluation view-only-on-odd-paper-0: its cohort odd is gone"
    if how == "replaced":
        again(workspace, "odd", lambda settings: {**settings, "dataset": "covid"}, {})
        what = what.replace(" is gone", " of dataset nih is gone: odd is of dataset covid now")
    assert say(workspace) == {view: {what} for view in ("dashboard", "report", "sql", "audit", "flow")}
    table = run("sql", "--results", "SELECT DISTINCT cohort FROM eval_result", "--csv", workspace=workspace.root)
    assert table.stdout == "cohort\nnih\n"
    assert "on-odd" not in (workspace.reports / "latest/results.csv").read_text()


def test_results_in_a_workspace_without_cohorts_stand_for_themselves(workspace: Workspace) -> None:
    shutil.rmtree(workspace.cohorts)
    done = run("report", "--no-figures", workspace=workspace.root)
    assert done.returncode == 0
    assert "Audit         not made, the workspace holds no cohort\n" in done.stdout
    assert "odd" in (workspace.reports / "latest/results.csv").read_text()


def test_a_comparison_whose_evaluation_is_gone_is_named_and_left_out(workspace: Workspace) -> None:
    first, second = workspace.eval_ids()
    name = make_comparison(workspace, first, second, 0.1).name
    query = ("sql", "--results", "SELECT count(*) AS n FROM comparison", "--csv")
    assert run(*query, workspace=workspace.root).stdout != "n\n0\n"
    shutil.rmtree(workspace.evals / "view-only-on-odd-paper-0")
    done = run(*query, workspace=workspace.root)
    sentence = f"comparison {name}: its evaluation view-only-on-odd-paper-0 is gone"
    assert (done.stdout, done.stderr) == ("n\n0\n", f"cxrssl: note: {sentence}\n")
    assert sentence in json.loads(run("dashboard", "--json", workspace=workspace.root).stdout)["problems"]
    assert sentence in json.loads(run("report", "--json", workspace=workspace.root).stdout)["damage"]


def test_both_rooms_call_a_cohort_alike() -> None:
    assert cohorts.KIND == read.KIND
