"""`cxrssl cohort list`: every cohort with its size, also where one of them cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

from cxrssl.core.workspace import Workspace
from tests.cli.command import run
from tests.world import make_workspace


def test_the_list_says_what_each_cohort_is_and_what_is_damaged(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=6)
    (workspace.cohorts / "torn").mkdir()
    lines = run("cohort", "list", workspace=workspace.root).stdout.splitlines()
    assert lines[0].split() == ["nih", "nih", "12", "films", "6", "subjects", "split", "hash", "packed"]
    assert "damaged  torn is not a published cohort" in lines[1]
    nih, torn = json.loads(run("cohort", "list", "--json", workspace=workspace.root).stdout)["cohorts"]
    assert (nih["films"], nih["subjects"], nih["default_split"], nih["is_packed"]) == (12, 6, "hash", True)
    assert torn["fault"].startswith("torn is not a published cohort")


def test_an_empty_workspace_says_how_to_fill_it(tmp_path: Path) -> None:
    result = run("cohort", "list", workspace=Workspace(tmp_path / "ws").create().root)
    assert (result.returncode, result.stdout) == (0, "no cohort; make one: cxrssl ingest DATASET PATH\n")
    assert run("cohort", "list", workspace=tmp_path / "absent").returncode == 3
