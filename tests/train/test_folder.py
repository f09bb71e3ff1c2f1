"""A run whose folder is moved or removed while it trains ends with a sentence, and writes into no second place."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrssl.core.code import digest_code
from cxrssl.core.commit import find_commit
from cxrssl.core.errors import SetupError
from cxrssl.core.workspace import Workspace
from cxrssl.records.run import read_description
from cxrssl.records.tail import iter_journal
from cxrssl.train.loop import pretrain
from tests.small_runs import plan_in, two_layers, watched  # noqa: F401
from tests.world import make_workspace


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("folder"), num_patients=24)


def rename_workspace(run: Path) -> Path:
    workspace = run.parents[1]
    return workspace.rename(workspace.with_name("moved")) / "runs" / run.name


def rename_run(run: Path) -> Path:
    return run.rename(run.with_name("moved"))


def rename_and_begin_again(run: Path) -> Path:
    moved = rename_run(run)
    shutil.copytree(moved, run)
    return moved


def call(act: Callable[[Path], object], path: Path) -> None:
    act(path)


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder)


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("move", [rename_workspace, rename_run, rename_and_begin_again])
def test_a_run_that_is_moved_stops_and_goes_on_at_its_new_place(
    template: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    move: Callable[[Path], Path],
    is_last: bool,
) -> None:
    plan = plan_in(tmp_path / "workspace", template)
    step = plan.num_steps if is_last else 2
    with watched(monkeypatch) as watch:
        watch.at[step] = functools.partial(call, move, plan.folder)
        with pytest.raises(SetupError, match=r"was moved to .* while this command ran"):
            pretrain(plan)
        assert watch.num_steps == step
    assert not (plan.folder / "encoder").exists()
    if move is not rename_and_begin_again:
        assert not plan.folder.exists()
    if move is rename_workspace:
        assert not (tmp_path / "workspace").exists()
        assert pretrain(plan_in(tmp_path / "moved", template)).resumed_from == step - 1


def test_a_run_that_is_removed_stops_and_is_not_made_again(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(tmp_path / "workspace", template)
    with watched(monkeypatch) as watch:
        watch.at[3] = lambda: shutil.rmtree(plan.folder)
        with pytest.raises(SetupError, match="was removed while this command ran"):
            pretrain(plan)
    assert not plan.folder.exists()


def test_a_pack_and_a_cohort_that_are_removed_while_it_trains_change_no_weight(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has opened it keeps."""
    whole, robbed = (plan_in(tmp_path / name, template, copies=True) for name in ("whole", "robbed"))
    pretrain(whole)
    with watched(monkeypatch) as watch:
        watch.at[2] = functools.partial(remove, tmp_path / "robbed" / "cohorts", tmp_path / "robbed" / "images")
        pretrain(robbed)
    weights = [(plan.folder / "encoder" / "encoder.safetensors").read_bytes() for plan in (whole, robbed)]
    assert weights[0] == weights[1]


def test_a_run_keeps_the_commit_and_the_hash_of_the_code_that_began_it(template: Workspace, tmp_path: Path) -> None:
    plan = plan_in(tmp_path / "workspace", template)
    pretrain(plan)
    about, fault = read_description(plan.files)
    commit = find_commit()
    assert about is not None
    assert not fault
    assert (about.commit, about.is_dirty) == (commit or ("", False))
    assert about.code_sha256 == digest_code()
    starts = [event for event in iter_journal(plan.files.events) if event["event"] == "start"]
    assert [event["code_sha256"] for event in starts] == [digest_code()]
