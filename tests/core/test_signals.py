"""Signals: the first ends a command or asks for a stop, the same again ends the process, another is only noted."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cxrssl.core import signals
from cxrssl.core.artefact import publish
from cxrssl.core.signals import ECHO_S, ENDING, catch_signals, check_stop, end_on_signals, note_saved, signals_held

PREEMPTED, CTRL_C = 75, 130


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which the process would have ended at once."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still until a test moves it."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_a_block_with_its_word_and_code(number: signal.Signals) -> None:
    with end_on_signals() as stop:
        with pytest.raises(KeyboardInterrupt):
            send(number)
        error = stop.error()
    name, code = ("Ctrl-C", CTRL_C) if number == signal.SIGINT else (number.name, PREEMPTED)
    assert (error.what, error.exit_code) == (f"stopped by {name} before anything was saved", code)
    assert error.hint == "run the same command again", "there is nothing to resume"
    assert error.asked_by is number


def test_the_word_names_what_was_saved_until_then(tmp_path: Path) -> None:
    with end_on_signals() as stop:
        with publish(tmp_path / "cohorts" / "nih", "thing", {}):
            pass
        with pytest.raises(KeyboardInterrupt), publish(tmp_path / "images" / "nih", "thing", {}, resume_key="k"):
            send(signal.SIGTERM)
        assert stop.error().what == "stopped by SIGTERM; saved: cohorts/nih, images/nih in part"
        for number in range(3):
            note_saved(f"evals/{number}")
        assert stop.error().what == "stopped by SIGTERM; saved: evals/0, evals/1, evals/2 and 2 more"
    with end_on_signals() as stop:
        assert "before anything" in stop.error().what


def test_a_stop_that_a_library_swallows_comes_back_before_anything_is_published(tmp_path: Path) -> None:
    with end_on_signals():
        try:
            send(signal.SIGTERM)
        except BaseException:
            check = "swallowed"
        with pytest.raises(KeyboardInterrupt), publish(tmp_path / check, "thing", {}):
            pass
    check_stop()
    assert not list(tmp_path.iterdir())


def test_while_signals_are_caught_they_are_only_noted() -> None:
    for number in ENDING:
        with end_on_signals() as outer, catch_signals() as request:
            assert not request
            send(number)
            assert request.signal is number
            assert not outer
            check_stop()


def test_the_same_signal_again_ends_at_once_but_not_its_echo(ends: list[int], clock: list[float]) -> None:
    with catch_signals() as request:
        send(signal.SIGUSR2, signal.SIGCONT, signal.SIGTERM)
        assert (request.signal, ends) == (signal.SIGTERM, [])
        clock[0] += ECHO_S / 2
        send(signal.SIGTERM)
        assert ends == []
        clock[0] += ECHO_S / 2
        send(signal.SIGTERM)
    assert ends == [128 + signal.SIGTERM]


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    with end_on_signals(), catch_signals():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in ENDING] == before


def test_what_was_ignored_stays_ignored() -> None:
    """As SIGHUP is under nohup, and Ctrl-C in the background of a script."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with end_on_signals() as stop, catch_signals() as request:
            send(signal.SIGHUP)
            assert [stop.signal, request.signal] == [None, None]
    finally:
        signal.signal(signal.SIGHUP, before)


def test_processes_started_meanwhile_leave_signals_to_their_parent() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with signals_held():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert mask - before == set(ENDING) - {signal.SIGTERM}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


WAITS = """
import sys, time
from pathlib import Path
from cxrssl.core.signals import {how}
with {how}() as request:
    Path(sys.argv[1]).write_text("waits")
    try:
        while not request:
            time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    sys.stdout.write("a word to nobody")
    sys.stdout.flush()
Path(sys.argv[1]).write_text(request.signal.name)
"""


@pytest.mark.parametrize("how", ["end_on_signals", "catch_signals"])
def test_a_closed_terminal_is_a_signal_after_which_words_go_nowhere(tmp_path: Path, how: str) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", WAITS.format(how=how), str(tmp_path / "out")])
    while not (tmp_path / "out").exists() or not (tmp_path / "out").read_text():
        time.sleep(0.02)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "out").read_text() == "SIGHUP"


LOADING = """
import builtins, os, signal
import cxrssl.__main__ as entry
load = builtins.__import__
def interrupt(name, *args):
    if name == "cxrssl.cli.app":
        exec("os.kill(os.getpid(), signal.{name})")
    return load(name, *args)
builtins.__import__ = interrupt
entry.main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", PREEMPTED), ("SIGINT", CTRL_C)])
def test_a_signal_while_a_command_is_loaded_has_its_word_too(tmp_path: Path, name: str, code: int) -> None:
    """In a text that is executed; as a module, of which the interpreter remembers that it was interrupted."""
    (tmp_path / "loading.py").write_text(LOADING.format(name=name))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "loading"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == code
    assert done.stderr.startswith("cxrssl: error: stopped by ")
    assert "Traceback" not in done.stderr


def test_there_is_no_request_outside_of_a_command() -> None:
    assert signals._current is None
