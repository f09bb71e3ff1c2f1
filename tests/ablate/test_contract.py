"""The contract of an ablation: written once, and what has changed since is named in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cxrssl.ablate.contract import CONTRACT_LOCK, check_code, find_changes, keep_contract
from cxrssl.core.code import hash_code, library_versions
from cxrssl.core.errors import IntegrityError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.records.contract import CONTRACT, Contract, DataFacts, RunFacts, read_contract

BEGAN = Contract(
    name="study",
    grid="seeds = [0]",
    has_controls=False,
    runs={"a-1": RunFacts("vanilla", "nih", 0, "r1"), "a-2": RunFacts("record", "nih", 0, "r2")},
    data={"nih": DataFacts("c1", "i1")},
    code={"train/step.py": "s1", "model/msn.py": "m1"},
    libraries={"torch": "2.14.1"},
    device="cpu",
    num_threads=2,
)


def test_a_contract_is_written_once_and_read_back_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    assert keep_contract(folder, BEGAN) == BEGAN == read_contract(folder)
    before = (folder / CONTRACT).read_bytes()
    elsewhere = replace(BEGAN, num_threads=8, device="cuda")
    assert keep_contract(folder, elsewhere) == BEGAN
    assert (folder / CONTRACT).read_bytes() == before


def test_an_ablation_without_a_contract_does_not_take_runs_of_unknown_code_for_its_own(tmp_path: Path) -> None:
    folder, run = tmp_path / "study", tmp_path / "runs" / "a-1"
    run.mkdir(parents=True)
    with pytest.raises(UsageError, match="its run a-1 is there: which code made it is not known") as caught:
        keep_contract(folder, BEGAN, [tmp_path / "runs" / "a-2", run])
    assert "--name" in caught.value.hint
    assert not (folder / CONTRACT).exists()
    run.rmdir()
    keep_contract(folder, BEGAN, [run])
    run.mkdir()
    assert keep_contract(folder, BEGAN, [run]) == BEGAN


def test_of_two_processes_that_begin_an_ablation_at_once_one_writes_its_contract(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with (
        hold_lock(folder / CONTRACT_LOCK, UsageError("free")),
        pytest.raises(UsageError, match="ablation study is begun by another process"),
    ):
        keep_contract(folder, BEGAN)
    assert not (folder / CONTRACT).exists()
    assert keep_contract(folder, BEGAN) == BEGAN
    assert [path.name for path in folder.iterdir()] == [CONTRACT]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (replace(BEGAN, grid="seeds = [1]"), "the grid's file was changed"),
        (replace(BEGAN, has_controls=True), "it began without --controls"),
        (replace(BEGAN, data={"nih": DataFacts("c2", "i2")}), "the data were changed: cohort nih was made anew"),
        (replace(BEGAN, data={"nih": DataFacts("c1", "i2")}), "the films of cohort nih were packed anew"),
        (
            replace(BEGAN, runs={**BEGAN.runs, "a-2": RunFacts("record", "nih", 0, "r3")}),
            "the recipe of arm record was changed",
        ),
        (replace(BEGAN, code={**BEGAN.code, "train/step.py": "s2"}), "the code was changed: train/step.py"),
        (replace(BEGAN, code={**BEGAN.code, "train/new.py": "s2"}), "the code was changed: train/new.py"),
        (replace(BEGAN, libraries={"torch": "2.15.0"}), "torch was 2.14.1 and is 2.15.0"),
        (replace(BEGAN, runs={"a-1": BEGAN.runs["a-1"]}), "it has other runs"),
        (replace(BEGAN, machine=("micro_batch=4",)), "it began with --machine left out"),
    ],
)
def test_what_has_changed_is_named_and_refused(tmp_path: Path, now: Contract, what: str) -> None:
    keep_contract(tmp_path, BEGAN)
    (found,) = find_changes(BEGAN, now)
    assert what in found
    with pytest.raises(UsageError, match="ablation study began with another state") as caught:
        keep_contract(tmp_path, now)
    assert what in caught.value.what
    assert "--name" in caught.value.hint
    assert read_contract(tmp_path) == BEGAN


def test_the_code_of_this_process_is_compared_with_the_contract() -> None:
    same = replace(BEGAN, code=hash_code(), libraries=library_versions())
    check_code(same)
    with pytest.raises(UsageError, match=r"must have the same code: the code was changed: model/msn\.py"):
        check_code(replace(same, code={**same.code, "model/msn.py": "other"}))


def test_the_code_that_makes_numbers_is_hashed_and_no_other() -> None:
    names = set(hash_code())
    assert {"train/step.py", "model/msn.py", "recipe/demo.toml", "stats/scores.py", "core/seed.py"} <= names
    assert not {name for name in names if name.split("/")[0] in ("cli", "ablate", "grids", "dashboard", "report")}
    assert set(library_versions()) == {"numpy", "safetensors", "timm", "torch"}


def test_a_contract_that_was_damaged_is_one_sentence(tmp_path: Path) -> None:
    keep_contract(tmp_path, BEGAN)
    values = json.loads((tmp_path / CONTRACT).read_text())
    del values["code"]
    (tmp_path / CONTRACT).write_text(json.dumps(values))
    with pytest.raises(IntegrityError, match=r'contract.json lacks "code"'):
        keep_contract(tmp_path, BEGAN)
