"""Every broken folder in one workspace with healthy ones: each view names the same damage and keeps all other rows."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.records.ablation import TABLE_FOLDER
from tests.cli.command import run
from tests.records.ablations import make_ablation
from tests.records.broken import BREAKERS
from tests.records.folders import make_comparison, make_encoder, make_evaluation, make_run
from tests.world import make_workspace

NAMES = [name for name, breaker in BREAKERS.items() if os.geteuid() or not breaker.needs_user]
FINISHED, RUNNING = "nih-healthy-finished", "nih-healthy-running"
QUERIES = {
    "run": "SELECT * FROM run ORDER BY run_id",
    "metric": "SELECT * FROM metric ORDER BY ALL",
    "event": "SELECT * FROM event ORDER BY ALL",
    "eval_result": "SELECT * FROM eval_result ORDER BY ALL",
    "comparison": "SELECT * FROM comparison ORDER BY ALL",
}


@dataclass
class Views:
    """What each view of a workspace shows."""

    damage: dict[str, list[str]]
    """Sentences by view."""
    rows: dict[str, set[str]]
    """Names that have a row, by view."""
    tables: dict[str, list[dict[str, Any]]]
    """Of the store."""
    text: str
    """All that was printed."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A packed cohort of twelve people, two runs, two evaluations and a comparison of them."""
    workspace = make_workspace(tmp_path_factory.mktemp("clean"), num_patients=12)
    folder = make_run(workspace, FINISHED, range(10), end="finish", num_steps=10, cohort="nih", num_films=0)
    make_run(workspace, RUNNING, range(10), cohort="nih")
    make_encoder(folder, "nih")
    for candidate, kind in ((FINISHED, "run"), ("view-only", "view-only")):
        make_evaluation(workspace, candidate, kind, 0.7, cohort="nih", split="hash")
    first, second = workspace.eval_ids()
    make_comparison(workspace, first, second, 0.1)
    make_ablation(workspace, "study")
    return workspace


@pytest.fixture(scope="module")
def broken(clean: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same with one folder for each breaker."""
    workspace = Workspace(tmp_path_factory.mktemp("broken") / "workspace")
    shutil.copytree(clean.root, workspace.root)
    for name in NAMES:
        break_folder(clean, workspace, name)
    for odd in (b"nih-odd-\xff", b"nih-odd-\x1b[31m\n"):
        shutil.copytree(clean.runs / RUNNING, Path(os.fsdecode(os.fsencode(workspace.runs / "x")[:-1] + odd)))
    (workspace.runs / "a-file").touch()
    (workspace.evals / "a-file").touch()
    return workspace


def break_folder(clean: Workspace, workspace: Workspace, name: str) -> None:
    breaker = BREAKERS[name]
    if breaker.kind == "evaluation":
        folder = workspace.evals / name
        shutil.copytree(clean.evals / f"{FINISHED}-on-nih-paper-0", folder)
    elif breaker.kind == "comparison":
        folder = workspace.comparisons / name
        shutil.copytree(clean.comparisons / clean.comparison_ids()[0], folder)
    elif breaker.kind == "ablation":
        folder = workspace.ablations / name / TABLE_FOLDER
        shutil.copytree(clean.ablations / "study", folder.parent)
    else:
        folder = workspace.runs / name
        shutil.copytree(clean.runs / FINISHED, folder)
        about = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(about | {"run_id": name}))
        if breaker.kind == "run":
            shutil.rmtree(folder / "encoder")
    breaker.do(folder / "encoder" if breaker.kind == "encoder" else folder)


def look(workspace: Workspace) -> Views:
    """Run every command that reads records, in both of its forms."""
    root, text = workspace.root, ""
    damage: dict[str, list[str]] = {}
    rows: dict[str, set[str]] = {}

    def call(*words: str, codes: tuple[int, ...] = (0,)) -> tuple[str, str]:
        nonlocal text
        done = run(*words, workspace=root)
        assert done.returncode in codes, (words, done.stderr)
        text += done.stdout + done.stderr
        return done.stdout, done.stderr

    shown = json.loads(call("dashboard", "--json")[0])
    damage["dashboard --json"] = shown["problems"]
    rows["dashboard"] = {each["run_id"] for each in shown["runs"]} | {each["eval_id"] for each in shown["probes"]}
    lines = call("dashboard", "--once")[0].splitlines()
    damage["dashboard --once"] = [line.removeprefix("problem: ") for line in lines if line.startswith("problem: ")]
    report = json.loads(call("report", "--json")[0])
    damage["report --json"] = report["damage"]
    head = report["markdown"].partition("Not read, or not in full\n")[2].partition("\n## ")[0]
    shown_lines = [line.removeprefix("- ") for line in head.splitlines() if line.startswith("- ")]
    damage["report"] = [html.unescape(re.sub(r"\\([^\w\s])", r"\1", line)) for line in shown_lines]
    with open(workspace.reports / "latest/results.csv", encoding="utf-8", newline="") as file:
        rows["report"] = {row["eval_id"] for row in csv.DictReader(file)}
    for path in (workspace.reports / "latest/tables").glob("table-*-runs.csv"):
        with open(path, encoding="utf-8", newline="") as file:
            rows["report"] |= {row["Run"] for row in csv.DictReader(file)}
    words = ("--json", "--limit", "0")
    tables = {name: json.loads(call("sql", "--results", query, *words)[0]) for name, query in QUERIES.items()}
    rows["sql"] = {each["run_id"] for each in tables["run"]} | {each["eval_id"] for each in tables["eval_result"]}
    for form in ("--json", "--csv"):
        notes = call("sql", "--results", QUERIES["run"], form)[1].splitlines()
        damage[f"sql {form}"] = [line.removeprefix("cxrssl: note: ") for line in notes if "only the first" not in line]
    audit = json.loads(call("cohort", "audit", "--json", codes=(0, 3))[0])
    codes = ("record-damaged", "films-not-listed")
    damage["audit --json"] = [each["finding"] for each in audit["results"] if each["finding"] and each["code"] in codes]
    audit_text = call("cohort", "audit", codes=(0, 3))[0]
    damage["audit"] = [sentence for sentence in damage["audit --json"] if sentence in audit_text]
    call("cohort", "flow")
    return Views(damage, rows, tables, text + report["markdown"])


@pytest.fixture(scope="module")
def views(broken: Workspace) -> Views:
    return look(broken)


@pytest.mark.parametrize("name", NAMES)
def test_every_view_says_the_same_of_a_broken_folder(views: Views, name: str) -> None:
    breaker = BREAKERS[name]
    about = f"{'run' if breaker.kind == 'encoder' else breaker.kind} {name}: "
    said = {view: [each for each in damage if each.startswith(about)] for view, damage in views.damage.items()}
    if breaker.is_hashed:
        assert f": {said['audit'][0]}" in views.text.partition("Audit:")[2]
        said = {view: each for view, each in said.items() if view.startswith("audit")}
    assert len({tuple(each) for each in said.values()}) == 1, said
    (sentences,) = {tuple(each) for each in said.values()}
    assert len(sentences) == bool(breaker.what)
    assert all(breaker.what in sentence for sentence in sentences), sentences


@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_used_of_a_broken_folder_keeps_its_row_in_every_view(views: Views, name: str) -> None:
    assert {view: name in rows for view, rows in views.rows.items()} == dict.fromkeys(
        views.rows, BREAKERS[name].has_row
    )


def test_healthy_folders_have_the_rows_that_they_have_alone(clean: Workspace, views: Views) -> None:
    alone = look(clean)
    assert all(not damage for damage in alone.damage.values())
    for view, rows in alone.rows.items():
        assert rows <= views.rows[view]
    for name, table in alone.tables.items():
        assert table
        assert [row for row in table if row not in views.tables[name]] == []


def test_no_name_from_a_folder_or_a_file_reaches_the_terminal_raw(views: Views) -> None:
    assert "nih-odd-" in views.text
    assert "\x1b" not in views.text
    views.text.encode("utf-8")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["report"], 0),
        (["sql", "--results", QUERIES["run"]], 0),
        (["cohort", "audit"], 3),
        (["dashboard", "--once"], 0),
    ],
    ids=["report", "sql", "audit", "dashboard"],
)
def test_the_commands_themselves_end_as_documented(broken: Workspace, words: list[str], code: int) -> None:
    command = [sys.executable, "-m", "cxrssl", *words, "--workspace", str(broken.root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "error" not in done.stderr
    assert "run run-json-torn: run.json is not JSON" in done.stdout + done.stderr
    shown = (broken.reports / "latest/report.md").read_text() if words == ["report"] else done.stdout
    assert FINISHED in shown
