"""No command takes a folder for its workspace that holds other things."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import run
from tests.world import write_nih

COMMANDS = [
    "demo --patients 40",
    "ingest nih {data}",
    "check {data}",
    "cohort list",
    "cohort show",
    "cohort export",
    "cohort audit",
    "cohort flow",
    "pretrain",
    "probe x",
    "report",
    "sql --results --tables",
    "dashboard --once",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_of_other_things_is_refused_by_every_command(tmp_path: Path, command: str) -> None:
    data = write_nih(tmp_path / "mine" / "nih", num_patients=2)
    (data / "SHA256SUMS.txt").write_text(f"{'0' * 64}  Data_Entry_2017.csv\n")
    before = sorted(tmp_path.rglob("*"))
    result = run(*command.format(data=data).split(), workspace=tmp_path / "mine")
    assert result.returncode == 2, result.stderr
    assert "this folder is no workspace: it holds nih" in result.stderr
    assert "--workspace" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before
