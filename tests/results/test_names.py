"""Findings that are called as columns of the program are: every view keeps them apart."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.report.write import write_report
from tests.cli.command import run
from tests.report import test_report
from tests.report.test_report import make_evaluation


@pytest.mark.parametrize("names", [["sex", "path"], ["id", "view"], ["finding", "macro"], ["value", "split"]])
def test_a_finding_may_have_the_name_of_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    monkeypatch.setattr(test_report, "FINDINGS", names)
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", features=("sex", "view"), skill=2.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    report = write_report(workspace)
    shown = {"macro", *(name if name != "macro" else "macro (finding)" for name in names)}
    for name in names:
        assert f"\n| {name} " in report.markdown
    rows = list(csv.DictReader((report.folder / "results.csv").read_text().splitlines()))
    assert {row["finding"] for row in rows} == shown
    for table in ("eval_result", "comparison"):
        query = f"SELECT DISTINCT finding FROM {table}"
        found = run("sql", "--results", "--json", query, workspace=workspace.root)
        assert {row["finding"] for row in json.loads(found.stdout)} == shown
    means = json.loads(run("sql", "--results", "--json", "SELECT * FROM macro", workspace=workspace.root).stdout)
    assert len(means) == 4
    probes = json.loads(run("dashboard", "--json", workspace=workspace.root).stdout)["probes"]
    assert {each["finding"] for each in probes[0]["findings"]} == set(names)
