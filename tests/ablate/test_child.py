"""A command in a process of its own: which package it runs, what its environment is, what is said of its end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cxrssl import __version__
from cxrssl.ablate.child import explain_end, start_child
from cxrssl.ablate.queue import Place
from cxrssl.core.errors import SetupError
from cxrssl.core.workspace import Workspace
from tests.ablate.test_contract import BEGAN


def test_a_child_runs_this_package_whatever_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cxrssl").mkdir()
    (tmp_path / "cxrssl" / "__init__.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "1")
    log = tmp_path / "log"
    child = start_child(["--version"], log, {})
    assert child.wait() == 0, log.read_text()
    assert log.read_text() == f"cxrssl {__version__}\n"


def test_the_last_error_in_the_log_says_why_a_command_failed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("cxrssl: error: an older one\n")
    child = start_child(["help", "nothing"], log, {})
    assert explain_end(child.wait(), log) == 'there is no topic "nothing"'
    size = log.stat().st_size
    with open(log, "a") as file:
        file.write("Traceback\n")
    assert explain_end(1, log, size) == "exit code 1"
    log.write_text("Segmentation fault\n")
    assert explain_end(9, log) == "exit code 9"


def test_a_child_that_was_killed_is_said_to_be(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = start_child(["--version"], log, {})
    child.send_signal(signal.SIGKILL)
    assert explain_end(child.wait(), log) == "killed by SIGKILL (out of memory?)"
    assert explain_end(-signal.SIGSEGV, log) == "killed by SIGSEGV"


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    with pytest.raises(SetupError, match="cannot write: not a directory"):
        start_child(["--version"], tmp_path / "logs" / "log", {})


def test_runs_beside_each_other_have_a_device_each_and_the_threads_of_the_contract(tmp_path: Path) -> None:
    place = Place(Workspace(tmp_path), tmp_path, BEGAN, ("3", "GPU-5"))
    devices = [place.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)]
    assert devices == ["3", "GPU-5", "3"]
    assert Place(Workspace(tmp_path), tmp_path, BEGAN).environment(0) == {"OMP_NUM_THREADS": "2"}
