"""The number of threads is part of a run's arithmetic: a resume keeps it and says so, or is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cxrssl.core.artefact import MANIFEST
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import IntegrityError
from cxrssl.core.journal import read_journal
from cxrssl.core.workspace import Workspace
from cxrssl.train import threads
from cxrssl.train.loop import pretrain
from cxrssl.train.threads import set_threads
from tests.small_runs import checkpoints_of, plan_in, run_until, two_layers, with_machine  # noqa: F401
from tests.world import make_workspace


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("threads"), num_patients=24)


@pytest.fixture(autouse=True)
def threads_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of four cores, whatever this one has."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "num_cores", lambda: 4)
    yield
    torch.set_num_threads(before)


def threads_of(folder: Path) -> list[int]:
    return [event["num_threads"] for event in read_journal(folder / "events.jsonl") if event["event"] == "start"]


def test_a_run_goes_on_with_the_threads_that_it_began_with_and_says_so(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also when the number was and is left to torch, which takes another on another machine."""
    plan = with_machine(plan_in(tmp_path, template), num_threads=0)
    torch.set_num_threads(1)
    run_until(plan, 2, monkeypatch)
    torch.set_num_threads(2)
    assert pretrain(plan).resumed_from == 2
    assert threads_of(plan.folder) == [1, 1]
    assert "note: 1 thread, as the checkpoint was made with, not the 2 of now" in capfd.readouterr().err


def test_a_run_does_not_go_on_with_threads_that_are_asked_for_and_are_others(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(tmp_path, template)
    run_until(plan, 2, monkeypatch)
    with pytest.raises(IntegrityError, match="another num_threads: 1, now 2") as error:
        pretrain(with_machine(plan, num_threads=2))
    assert "--machine num_threads=1" in error.value.hint
    assert pretrain(plan).resumed_from == 2


def test_a_checkpoint_of_a_version_that_did_not_say_its_threads_goes_on(
    template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(tmp_path, template)
    run_until(plan, 2, monkeypatch)
    for path in checkpoints_of(plan):
        manifest = json.loads((path / MANIFEST).read_text())
        del manifest["manifest_sha256"], manifest["settings"]["num_threads"]
        (path / MANIFEST).write_text(json.dumps(manifest | {"manifest_sha256": hash_settings(manifest)}))
    assert pretrain(with_machine(plan, num_threads=2)).resumed_from == 2


@pytest.mark.parametrize(
    ("asked", "made_with", "number", "word"),
    [
        (1000, None, 4, "note: 4 threads instead of 1,000"),
        (1000, "2", 4, "note: 4 threads instead of 1,000"),
        (4, None, 4, ""),
        (0, "8", 8, "note: 8 threads, as the checkpoint"),
        (8, "8", 8, ""),
    ],
)
def test_no_more_threads_than_cores_are_started_but_for_a_run_that_had_them(
    asked: int, made_with: str | None, number: int, word: str, capfd: pytest.CaptureFixture[str]
) -> None:
    set_threads(asked, made_with)
    assert torch.get_num_threads() == number
    said = capfd.readouterr().err
    assert word in said
    assert bool(word) == bool(said)


def test_another_process_of_the_run_says_it_not_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    set_threads(1000)
    assert capfd.readouterr().err == ""
