"""What a shell is offered: names of the workspace, recipes and keys; nothing heavy is imported, nothing is raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.recipe.keys import machine_keys, recipe_keys
from tests.test_imports import HEAVY

SCRIPT = """
import json, os, sys
from cxrssl.cli import app
code = app.run([])
print(json.dumps([code, list(sys.modules)]), file=sys.stderr)
"""


def complete(line: str, folder: Path, **environment: str) -> list[str]:
    """Return what bash is offered for the last word of a line, typed in `folder`."""
    words = line.split(" ")
    asked = {"_CXRSSL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    kept = {name: value for name, value in os.environ.items() if name != "CXRSSL_WORKSPACE"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=folder, env={**kept, **asked, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(done.stderr)  # nothing else is written there
    assert code == 0
    assert not set(modules) & set(HEAVY)
    return done.stdout.split()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "cxrssl-workspace").create()
    for folder in ("cohorts/nih", "cohorts/nih-small", "cohorts/mimic", "runs/nih-msn-a", "runs/mimic-msn-b"):
        (made.root / folder).mkdir(parents=True)
    return made


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cxrssl pretrain --cohort nih", ["nih", "nih-small"]),
        ("cxrssl sql --cohort ", ["mimic", "nih", "nih-small"]),
        ("cxrssl probe ", ["mimic-msn-b", "nih-msn-a"]),
        ("cxrssl probe mimic-msn-b --cohort m", ["mimic"]),
        ("cxrssl cohort show n", ["nih", "nih-small"]),
        ("cxrssl cohort flow m", ["mimic"]),
        ("cxrssl cohort export m", ["mimic"]),
        ("cxrssl cohort audit mimic --against m", ["mimic", "mimic-msn-b"]),
        ("cxrssl pretrain --recipe ", ["demo", "finetune", "paper", "strict"]),
        ("cxrssl recipe show ", ["demo", "finetune", "paper", "strict", "mimic-msn-b", "nih-msn-a"]),
        ("cxrssl recipe diff strict p", ["paper"]),
        ("cxrssl pretrain --backbone vit-t", ["vit-tiny", "vit-tiny-6h"]),
        ("cxrssl pretrain --device c", ["cpu", "cuda"]),
        ("cxrssl pretrain --set ", list(dict.fromkeys(f"{key.name}=" for key in recipe_keys()))),
        ("cxrssl pretrain --set views.num", ["views.num_random=", "views.num_focal="]),
        ("cxrssl pretrain --set train.seed=1 --machine ", [f"{key.name}=" for key in machine_keys()]),
        ("cxrssl recipe sh", ["show"]),
    ],
)
def test_names_recipes_and_keys_are_offered(workspace: Workspace, line: str, offered: list[str]) -> None:
    assert complete(line, workspace.root.parent) == offered


def test_the_workspace_is_the_one_that_is_named(workspace: Workspace, tmp_path: Path) -> None:
    here = tmp_path / "elsewhere"
    here.mkdir()
    assert complete("cxrssl probe ", here) == []
    assert complete("cxrssl probe ", here, CXRSSL_WORKSPACE=str(workspace.root)) == ["mimic-msn-b", "nih-msn-a"]
    assert complete(f"cxrssl probe --workspace {workspace.root} n", here) == ["nih-msn-a"]


def test_a_damaged_workspace_offers_what_it_has_or_nothing(workspace: Workspace) -> None:
    (workspace.runs / "$(touch owned)").mkdir()
    (workspace.runs / "a\nb").mkdir()
    (workspace.runs / "\x1b[31m").mkdir()
    (workspace.runs / "file").write_text("")
    assert complete("cxrssl probe ", workspace.root.parent) == ["mimic-msn-b", "nih-msn-a"]
    for folder in (workspace.cohorts, workspace.runs):
        for path in folder.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()
        folder.symlink_to(folder)  # reading it fails with ELOOP
    for line in ("cxrssl probe ", "cxrssl sql --cohort ", "cxrssl cohort audit x --against "):
        assert complete(line, workspace.root.parent) == []
    assert complete("cxrssl recipe show ", workspace.root.parent)[:4] in ([], ["demo", "finetune", "paper", "strict"])


def test_a_workspace_that_may_not_be_read_offers_nothing(tmp_path: Path) -> None:
    (tmp_path / "cxrssl-workspace").write_text("not a folder")
    assert complete("cxrssl probe ", tmp_path) == []
    assert complete("cxrssl sql --cohort ", tmp_path) == []


def test_the_shell_is_given_a_script_and_its_exit_codes() -> None:
    code = f"{sys.executable} -m cxrssl --show-completion; true"
    shown = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
    assert "complete -o default -F _cxrssl_completion cxrssl" in shown.stdout
    fish = {"_CXRSSL_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "is-args"}
    for line, status in {"cxrssl recipe show str": 0, "cxrssl recipe show no-such": 1}.items():
        asked = {**os.environ, **fish, "_TYPER_COMPLETE_ARGS": line}
        assert subprocess.run([sys.executable, "-m", "cxrssl"], env=asked).returncode == status


def test_completion_is_installed_where_the_shell_looks(tmp_path: Path) -> None:
    code = f"{sys.executable} -m cxrssl --install-completion; true"
    subprocess.run(["bash", "-c", code], env={**os.environ, "HOME": str(tmp_path)}, check=True, capture_output=True)
    assert "_cxrssl_completion" in (tmp_path / ".bash_completions/cxrssl.sh").read_text()
    assert "cxrssl.sh" in (tmp_path / ".bashrc").read_text()
