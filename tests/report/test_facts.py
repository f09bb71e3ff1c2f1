"""The facts above a report's numbers: what of the code that trained is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.journal import append_record
from cxrssl.core.version import __version__
from cxrssl.core.workspace import Workspace
from cxrssl.records.reader import RunRecord, read_run
from cxrssl.report.facts import describe_code
from tests.records.folders import make_run

COMMIT, CODE, OTHER = "c" * 40, "d" * 64, "e" * 64
VERSIONS = {"cxrssl": "0.1.0", "torch": "2.0"}


def read_run_of(folder: Path) -> RunRecord:
    run = read_run(folder)
    assert run is not None
    return run


def code_of(root: Path, *runs: dict[str, Any]) -> str:
    workspace = Workspace(root).create()
    made = [make_run(workspace, f"run-{number}", versions=VERSIONS, **facts) for number, facts in enumerate(runs)]
    return describe_code([read_run_of(folder) for folder in made]).removesuffix(f"; report by cxrssl {__version__}")


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({}, "commit not recorded"),
        ({"code_sha256": CODE}, "code dddddddddddd, commit not recorded"),
        ({"code_sha256": CODE, "commit": COMMIT}, "commit cccccccccccc, code dddddddddddd"),
        (
            {"code_sha256": CODE, "commit": COMMIT, "is_dirty": True},
            "commit cccccccccccc with changes, code dddddddddddd",
        ),
    ],
)
def test_what_is_known_of_the_code_is_said(tmp_path: Path, facts: dict[str, Any], shown: str) -> None:
    assert code_of(tmp_path, facts) == f"cxrssl 0.1.0, torch 2.0, {shown}"


def test_runs_of_one_code_are_said_once_and_many_are_counted(tmp_path: Path) -> None:
    same = {"code_sha256": CODE, "commit": COMMIT}
    assert code_of(tmp_path / "same", same, same).count("commit") == 1
    shown = code_of(tmp_path / "many", *({"commit": f"{number:040x}"[::-1]} for number in range(15)))
    assert shown.count("commit") == 12
    assert shown.endswith("; 3 others")


def test_a_run_that_other_code_continued_says_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    folder = make_run(workspace, "run", versions=VERSIONS, commit=COMMIT, code_sha256=CODE)
    for code in (CODE, OTHER):
        append_record(folder / "events.jsonl", {"event": "start", "step": 4, "code_sha256": code})
    assert "code dddddddddddd, continued by other code eeeeeeeeeeee" in describe_code([read_run_of(folder)])
