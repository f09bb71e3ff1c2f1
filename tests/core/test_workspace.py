"""Which folder is a workspace: a marked one, one of an earlier version by what it holds, an empty one; no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import FOLDERS, MARKER, Workspace
from cxrssl.results.naming import shorten_names


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_a_new_or_empty_folder_becomes_a_workspace_and_stays_one_whatever_is_put_in_it(tmp_path: Path) -> None:
    for name in ("new/deep", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        workspace = Workspace(tmp_path / name).claim()
        assert not list(workspace.root.iterdir()), "a command that is refused leaves nothing"
        workspace.mark()
        assert (workspace.root / MARKER).is_file()
        touch(workspace.root / "notes.txt")
        workspace.check()
        workspace.claim()


@pytest.mark.parametrize(
    "sign", ["cohorts/nih/manifest.json", "runs/a/run.json", "evals/a/manifest.json", "experiments.duckdb"]
)
def test_a_workspace_of_an_earlier_version_is_known_by_what_it_holds(tmp_path: Path, sign: str) -> None:
    for path in (sign, "notes.txt", "synthetic-hospital-640-s0/manifest.json"):
        touch(tmp_path / path)
    Workspace(tmp_path).check()
    assert not (tmp_path / MARKER).exists(), "a command that reads writes nothing"
    Workspace(tmp_path).claim().mark()
    assert (tmp_path / MARKER).exists()


def test_folders_that_a_killed_command_left_empty_are_no_other_things(tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    touch(tmp_path / "cohorts" / ".lock-nih")
    touch(tmp_path / ".DS_Store")
    Workspace(tmp_path).claim()


@pytest.mark.parametrize(
    ("things", "said"),
    [
        (["images/00000001_000.png", "Data_Entry_2017.csv"], "it holds Data_Entry_2017.csv, images"),
        (["mimic/a", "nih/a", "covid/a", "chexpert/a"], "it holds chexpert, covid, mimic and 1 more"),
        (["reports/2025.docx"], "it holds reports"),
        (["cohorts"], "it holds cohorts"),
    ],
)
def test_a_folder_that_holds_other_things_is_refused_and_left_as_it_is(
    tmp_path: Path, things: list[str], said: str
) -> None:
    for name in things:
        touch(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    for act in (Workspace(tmp_path).check, Workspace(tmp_path).claim):
        with pytest.raises(UsageError, match=said) as caught:
            act()
        assert "--workspace" in caught.value.hint
    assert sorted(tmp_path.rglob("*")) == before


RUNS = ("demo-msn-vit-s0-1a", "demo-msn+view-vit-s0-2b", "demo-msn+view-vit-s1-3c")


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (RUNS[1], RUNS[1]), ("demo-msn", RUNS[0]), ("demo-msn-v", RUNS[0]), ("demo-msn+view-vit-s1", RUNS[2]),
        ("demo-msn+view-vit-s1…", RUNS[2]), ("…view…s0…", RUNS[1]),
    ],
)  # fmt: skip
def test_a_run_is_found_by_the_beginning_of_its_id_or_as_tables_shorten_it(
    tmp_path: Path, words: str, run: str
) -> None:
    for name in RUNS:
        touch(tmp_path / "runs" / name / "run.json")
    assert Workspace(tmp_path).find_run(words).name == run


ARMS = [
    f"nih-msn{ehr}-vit-tiny-s{seed}-{len(ehr):04x}{seed:04x}"
    for ehr in ("", "+demo", "+demo+meta")
    for seed in (0, 1, 10, 11)
]


@pytest.mark.parametrize("width", [0, 20, 26, 32, 38, 44])
def test_every_run_of_a_study_is_found_by_the_name_that_a_table_gives_it(tmp_path: Path, width: int) -> None:
    for name in ARMS:
        touch(tmp_path / "runs" / name / "run.json")
    shown = shorten_names(ARMS, width)
    assert [Workspace(tmp_path).find_run(name).name for name in shown] == ARMS


def test_a_run_that_is_removed_is_not_named_by_what_was_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "runs" / RUNS[0] / "run.json")
    assert Workspace(tmp_path).find_run("demo…s0…").name == RUNS[0]
    with pytest.raises(UsageError, match="no run"):
        Workspace(tmp_path).find_run("demo…s0…", may_be_short=False)


@pytest.mark.parametrize("words", ["demo", "demo-msn+view", "demo-msn+", "demo…vit…", "…s0…"])
def test_a_name_that_stands_for_several_runs_is_refused(tmp_path: Path, words: str) -> None:
    for name in RUNS:
        touch(tmp_path / "runs" / name / "run.json")
    with pytest.raises(UsageError, match=r"is (the beginning of|short for) [23] runs"):
        Workspace(tmp_path).find_run(words)
