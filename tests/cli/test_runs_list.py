"""`cxrssl runs list` and `show`: what they print of a workspace, at 80 columns."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path

import pytest

from cxrssl.cli import runs_list
from cxrssl.cli.runs_list import _cell
from cxrssl.core.durable import write_json
from cxrssl.core.journal import append_record
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.records.notes import add_note
from cxrssl.records.run import RunDescription
from cxrssl.results.command import find_command
from tests.cli.command import run
from tests.records.folders import ALIVE, DEAD, make_evaluation, make_run, metric, write_lines


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    workspace.mark()
    make_run(workspace, "mimic-msn-vit-tiny-s7-00000001", range(100), end="finish", num_steps=100)
    make_run(
        workspace,
        "mimic-msn+demo-vit-tiny-s7-00000002",
        range(10),
        process=ALIVE,
        ehr=("sex", "age"),
        started_at=1.71e9,
    )
    make_run(workspace, "mimic-msn+stay-vit-tiny-s7-00000003", range(10), process=DEAD, ehr=("icu",), started_at=1.72e9)
    make_evaluation(workspace, "mimic-msn-vit-tiny-s7-00000001", "run", 0.75)
    return workspace


def listed(workspace: Workspace, *words: str) -> list[str]:
    result = run("runs", "list", *words, "--json", workspace=workspace.root)
    assert result.returncode == 0, result
    return [row["run"][-1] for row in json.loads(result.stdout)]


def test_runs_are_listed_filtered_and_sorted(workspace: Workspace) -> None:
    assert listed(workspace) == ["3", "2", "1"]
    assert listed(workspace, "state:died") == ["3"]
    assert listed(workspace, "state:running", "ehr:demo") == ["2"]
    assert listed(workspace, "auroc>0.7") == ["1"]
    assert listed(workspace, "--sort", "auroc") == ["1", "3", "2"]
    assert listed(workspace, "--sort", "run") == ["2", "3", "1"]
    assert listed(workspace, "--sort", "-step") == ["1", "3", "2"]


def test_the_table_fits_eighty_columns_and_says_how_many_there_are(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs_list, "_terminal_width", lambda: 80)
    shown = run("runs", "list", "--columns", "state,auroc,ehr,started,loss", workspace=workspace.root).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "0.750" in shown
    few = run("runs", "list", "stay", workspace=workspace.root).stdout.splitlines()
    assert few[0].split() == ["run", "state", "done", "loss", "seed", "age"] or few[0].split()[0] == "run"
    assert few[-1] == "1 run of 3"
    assert run("runs", "list", "nothing", workspace=workspace.root).stdout == "none of 3 runs\n"


def test_numbers_that_are_not_finite_are_shown_as_such(workspace: Workspace) -> None:
    folder = make_run(workspace, "mimic-msn-vit-tiny-s7-00000004", range(3), started_at=1.73e9)
    write_lines(folder / "metrics-0001.jsonl", [metric(3, 1.73e9, loss="nan", lr="-inf")])
    add_note(folder, {"metric": "external", "step": 3, "value": math.inf})
    shown = run("runs", "list", "00000004", "--columns", "loss,lr,external", workspace=workspace.root)
    assert shown.returncode == 0, shown
    assert shown.stdout.splitlines()[1].split()[1:] == ["nan", "-inf", "inf"]
    assert [_cell(name, math.nan) for name in ("progress", "age", "left_s", "auroc", "seed")] == ["nan"] * 5


def test_an_archived_run_is_listed_when_it_is_asked_for(workspace: Workspace) -> None:
    add_note(workspace.runs / "mimic-msn-vit-tiny-s7-00000001", {"archived": True})
    assert listed(workspace) == ["3", "2"]
    assert listed(workspace, "--archived") == ["3", "2", "1"]
    assert listed(workspace, "archived:yes") == ["1"]


def test_a_field_that_no_run_has_is_refused(workspace: Workspace) -> None:
    for words in (["stat:x"], ["--sort", "stat"], ["--columns", "stat"]):
        result = run("runs", "list", *words, workspace=workspace.root)
        assert result.returncode == 2
        assert 'runs have no field "stat"' in result.stderr


def test_runs_that_were_submitted_and_have_not_begun_are_named_below_the_list(workspace: Workspace) -> None:
    for name, jobs in (("late-vit-s0-1", (9, 10)), ("mimic-msn-vit-tiny-s7-00000001", (8,)), ("planned", ())):
        (workspace.jobs / name).mkdir(parents=True)
        for job in jobs:
            (workspace.jobs / name / f"{job}_submission.sh").touch()
    *_, end, last = run("runs", "list", workspace=workspace.root).stdout.splitlines()
    assert (end, last) == ("3 runs", "submitted, not begun: late-vit-s0-1, squeue --job 10")
    for number in range(7):
        (workspace.jobs / f"more-{number}").mkdir()
        (workspace.jobs / f"more-{number}/1_submission.sh").touch()
    assert run("runs", "list", workspace=workspace.root).stdout.splitlines()[-1] == "submitted, not begun: 3 more"


def test_a_run_is_shown_with_all_that_is_known_of_it(workspace: Workspace) -> None:
    folder = workspace.runs / "mimic-msn-vit-tiny-s7-00000001"
    recipe = load_recipe("strict", ["train.num_epochs=3", "train.seed=7"])
    about = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", {**about, "recipe": recipe.to_dict()})
    add_note(folder, {"tag": "paper"})
    add_note(folder, {"note": "the one of table 2"})
    append_record(folder / "events.jsonl", {"event": "alarm", "step": 4, "what": "collapse"})
    shown = run("runs", "show", "mimic-msn-vit-tiny-s7-0", workspace=workspace.root).stdout
    for part in ("finished, 100 of 100 steps", "the one of table 2", "alarm at step 4: collapse", "1 evaluation"):
        assert part in shown
    assert "cxrssl pretrain --cohort mimic --set train.num_epochs=3 --seed 7\n" in shown
    assert max(map(len, shown.splitlines())) <= 80 or "cxrssl pretrain" in max(shown.splitlines(), key=len)
    data = json.loads(run("runs", "show", folder.name, "--json", workspace=workspace.root).stdout)
    assert data["tags"] == ["paper"]
    assert len(data["evaluations"]) == 1
    nothing = run("runs", "show", folder.name, "--against", folder.name, workspace=workspace.root).stdout
    assert f"its recipe and {folder.name}: 0 differences" in nothing


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--recipe", "paper"],
        ["--recipe", "demo", "--seed", "3", "--set", "train.lr=0.01"],
        ["--set", "objective.name=mae"],
        ["--backbone", "vit-small", "--name", "mine"],
    ],
)
def test_the_command_that_is_shown_makes_the_same_recipe(words: list[str]) -> None:
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    overrides = [value for option, value in zip(words[::2], words[1::2], strict=True) if option == "--set"]
    changes: dict[str, dict[str, object]] = {}
    if "--seed" in pairs:
        changes["train"] = {"seed": int(pairs["--seed"])}
    if "--backbone" in pairs:
        changes["model"] = {"backbone": pairs["--backbone"]}
    recipe = load_recipe(pairs.get("--recipe", "strict"), overrides, changes)
    label = pairs.get("--name", recipe.objective.name)
    run_id = f"mimic-{label}-{recipe.model.backbone}-s{recipe.train.seed}-01234567"
    about = RunDescription(run_id, recipe.to_dict(), "mimic", "mimic", "official", 1, 1)
    found = find_command(about) or []
    assert found[:3] == ["pretrain", "--cohort", "mimic"]
    assert sorted(found[3:]) == sorted(words), shlex.join(found)


def test_a_run_that_has_not_begun_is_refused_in_a_sentence(workspace: Workspace) -> None:
    (workspace.runs / "half").mkdir()
    result = run("runs", "show", "half", workspace=workspace.root)
    assert (result.returncode, "the run has not begun" in result.stderr) == (2, True)
