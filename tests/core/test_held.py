"""A folder that is moved or removed while a command writes into it ends the command with a sentence."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrssl.core.artefact import publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.held import _held, check_held, explain_lost, folder_held, hold_folder, release_all, release_folder
from cxrssl.core.journal import Journal, append_record
from cxrssl.core.lock import hold_lock
from tests.cli.command import run


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A held folder with something in it."""
    folder = tmp_path / "place"
    (folder / "runs").mkdir(parents=True)
    hold_folder(folder)
    yield folder
    release_folder(folder)


def move(folder: Path) -> str:
    folder.rename(folder.with_name("moved"))
    return f"the folder place was moved to {folder.with_name('moved')} while this command ran"


def remove(folder: Path) -> str:
    shutil.rmtree(folder)
    return "the folder place was removed while this command ran"


def replace(folder: Path) -> str:
    said = move(folder)
    shutil.copytree(folder.with_name("moved"), folder)
    return said


@pytest.mark.parametrize("lose", [move, remove, replace])
def test_nothing_is_written_where_the_folder_was(place: Path, lose: object) -> None:
    assert callable(lose)
    check_held(place / "runs" / "a")
    journal = Journal(place / "runs" / "journal.jsonl")
    journal.log({"step": 1})
    said = lose(place)
    before = sorted(place.rglob("*"))
    acts = [
        lambda: write_bytes(place / "runs" / "file", b""),
        lambda: append_record(place / "runs" / "events.jsonl", {}),
        lambda: journal.log({"step": 2}),
        lambda: hold_lock(place / "runs" / "lock", UsageError("")).__enter__(),
        lambda: publish(place / "runs" / "a", "thing", {}).__enter__(),
    ]
    for act in acts:
        with pytest.raises(SetupError) as caught:
            act()
        assert (caught.value.what, caught.value.where) == (said, str(place))
    journal.close()
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("lose", [move, remove, replace])
def test_what_was_being_built_when_the_folder_went_is_not_published(place: Path, lose: object) -> None:
    assert callable(lose)
    with pytest.raises(SetupError, match="while this command ran"), publish(place / "runs" / "a", "thing", {}):
        lose(place)
    assert not (place / "runs" / "a").exists()
    assert not (place.with_name("moved") / "runs" / "a").exists()


def test_what_fails_because_the_folder_is_gone_says_so(place: Path) -> None:
    with pytest.raises(SetupError, match="was moved to"), publish(place / "runs" / "a", "thing", {}) as building:
        move(place)
        (building / "file").read_text()


def test_a_file_that_goes_while_a_command_reads_is_no_bug(place: Path, tmp_path: Path) -> None:
    for path, is_ours in ((place / "cohorts" / "nih" / "summary.json", True), (tmp_path / "elsewhere", False)):
        with pytest.raises(FileNotFoundError) as caught:
            path.read_text()
        error = explain_lost(caught.value)
        assert (error is not None) == is_ours
    assert explain_lost(ValueError()) is None
    assert explain_lost(FileNotFoundError("without a name")) is None


def test_a_folder_is_held_anew_when_a_command_begins_and_let_go_at_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    hold_folder(folder)
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    hold_folder(folder)
    check_held(folder / "a")
    with folder_held(tmp_path):
        assert len(_held) == 2
    release_all()
    assert not _held


def test_a_command_holds_no_folder_when_it_has_ended(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    assert run("cohort", "list", workspace=tmp_path / "workspace").returncode == 0
    assert not _held
