"""`cxrssl recipe`: recipes of the package, of files and of runs, shown and compared; every key explained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.recipe.keys import machine_keys, recipe_keys
from cxrssl.recipe.load import load_recipe, recipe_names
from tests.cli.command import run

HEAVY = ("torch", "timm", "polars", "duckdb", "textual", "numpy", "PIL", "pydicom", "rich")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws").create()


def make_run(workspace: Workspace, run_id: str, recipe: Any) -> None:
    (workspace.runs / run_id).mkdir(parents=True)
    (workspace.runs / run_id / "run.json").write_text(json.dumps({"run_id": run_id, "recipe": recipe}))


def test_the_list_names_every_recipe_with_a_sentence() -> None:
    lines = run("recipe", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines if line[2] != " "] == recipe_names()
    assert max(map(len, lines)) <= 100
    for recipe in json.loads(run("recipe", "list", "--json").stdout)["recipes"]:
        assert recipe["about"].endswith(".")
        assert recipe["sha256"] == load_recipe(recipe["name"]).sha256


@pytest.mark.parametrize("name", recipe_names())
def test_what_is_shown_is_a_recipe_that_pretrain_takes(tmp_path: Path, name: str) -> None:
    shown = run("recipe", "show", name).stdout
    (tmp_path / "mine.toml").write_text(shown)
    for ehr in ([],) if name == "finetune" else (["sex"], ["view", "icu"]):
        changes = {"ehr": {"features": ehr}} if ehr else {}
        assert load_recipe(str(tmp_path / "mine.toml"), [], changes) == load_recipe(name, [], changes)
    assert '# embed_dim = 128  # no effect: "ehr.features" is empty' in shown
    again = run("recipe", "show", tmp_path / "mine.toml")
    if name == "paper":  # a policy for unknown values in a record that there is not
        assert 'missing = "paper"  # no effect: "ehr.features" is empty' in shown.splitlines()
        assert '"ehr.missing" has no effect: "ehr.features" is empty' in again.stderr
    else:
        assert again.stdout == shown
    summary = json.loads(run("recipe", "show", name, "--json").stdout)
    assert (summary["name"], summary["sha256"]) == (name, load_recipe(name).sha256)


def test_differences_name_the_keys_both_values_and_what_has_no_effect() -> None:
    lines = run("recipe", "diff", "demo", "paper").stdout.splitlines()
    assert lines[:2] == ["first   demo", "second  paper"]
    rows = {line.split()[0]: line for line in lines[3:]}
    assert lines[2] == f"different in {len(rows)} keys"
    assert rows["train.rows"].split() == ["train.rows", '"train"', '"all"']
    assert '"mask" (no effect)' in rows["ehr.missing"]
    assert "views.num_random" not in rows
    assert max(map(len, lines)) <= 100
    found = json.loads(run("recipe", "diff", "demo", "paper", "--json").stdout)["differences"]
    assert {difference["key"] for difference in found} == set(rows)
    assert run("recipe", "diff", "paper", "paper").stdout.splitlines()[-1] == "different in 0 keys"


def test_a_run_is_named_by_the_beginning_of_its_id_also_one_from_before_objectives_had_names(
    workspace: Workspace,
) -> None:
    features = {"ehr": {"features": [f"feature_{number}" for number in range(20)]}}
    recipe = load_recipe("strict", ["train.lr=0.5"], features)
    old = recipe.to_dict()
    del old["objective"]["name"]
    make_run(workspace, "nih-msn-vit-tiny-s0-0a1b2c3d", old)
    make_run(workspace, "mimic-msn-vit-tiny-s0-0a1b2c3d", recipe.to_dict())
    lines = run("recipe", "diff", "strict", "nih", workspace=workspace.root).stdout.splitlines()
    assert lines[2] == "different in 2 keys"
    assert "train.lr" in lines[-1]
    assert max(map(len, lines)) <= 100
    same = run("recipe", "diff", "nih-msn", "mimic", workspace=workspace.root).stdout.splitlines()
    assert same[-1] == "different in 0 keys"
    assert run("recipe", "show", "mimic", workspace=workspace.root).stdout.startswith('[model]\nbackbone = "vit-tiny"')


def test_what_is_no_recipe_is_one_sentence(workspace: Workspace) -> None:
    for run_id in ("nih-a", "nih-b", "torn", "future", "empty", "other"):
        make_run(workspace, run_id, {"objective": {"name": "jepa"}})
    (workspace.runs / "torn/run.json").write_text('{"recipe": {"mod')
    (workspace.runs / "empty/run.json").unlink()
    (workspace.runs / "other/run.json").write_text("[1]")
    cases = {
        "strikt": (2, 'no recipe and no run "strikt"', 'nearest is "strict"'),
        "nih": (2, "the beginning of 2 runs", "nih-a, nih-b"),
        "": (2, 'no recipe and no run ""', "strict"),
        "absent.toml": (2, "the file does not exist", ""),
        "torn": (3, "run.json is not JSON", "torn/run.json"),
        "empty": (3, "run.json is missing", "empty/run.json"),
        "other": (3, "run.json holds no recipe", "other/run.json"),
        "future": (3, 'cannot read the recipe of this run: "objective.name" cannot be "jepa"', "future/run.json"),
    }
    for name, (code, what, more) in cases.items():
        for words in (["show", name], ["diff", "strict", name]):
            result = run("recipe", *words, workspace=workspace.root)
            assert (result.returncode, result.stdout) == (code, ""), name
            assert what in result.stderr
            assert more in result.stderr
            assert "a bug" not in result.stderr
    assert run("recipe", "show", "nih", workspace=workspace.root / "absent").returncode == 2


def test_every_key_is_listed_with_default_bounds_and_meaning_in_100_columns() -> None:
    text = run("recipe", "keys").stdout
    assert max(map(len, text.splitlines())) <= 100
    words = " ".join(text.split())
    for key in [*recipe_keys(), *machine_keys()]:
        assert key.doc in words, key.name
        assert key.limits in words
        for condition in key.needs:
            assert condition in words
    assert text.index("recipe: cxrssl pretrain --set section") < text.index("machine: cxrssl pretrain --machine key")
    listed = json.loads(run("recipe", "keys", "--json").stdout)
    assert [key["name"] for key in listed["recipe"]] == [key.name for key in recipe_keys()]
    assert next(key for key in listed["machine"] if key["name"] == "micro_batch")["low"] == 0


def test_recipes_are_read_without_anything_heavy(workspace: Workspace) -> None:
    make_run(workspace, "nih-a", load_recipe("strict").to_dict())
    for words in (["list"], ["keys"], ["show", "nih-a"], ["diff", "strict", "nih-a"]):
        place = ["--workspace", str(workspace.root)] if words[-1] == "nih-a" else []
        code = "import sys; from cxrssl.cli.app import run; run(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
        command = [sys.executable, "-c", code, "recipe", *words, *place]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert not set(done.stderr.split()) & set(HEAVY), words
        assert done.stdout
