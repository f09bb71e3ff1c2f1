"""A lock is held by one process, and by none when that has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.lock import hold_lock

HOLD = """
import sys
from pathlib import Path
from cxrssl.core.errors import UsageError
from cxrssl.core.lock import hold_lock
with hold_lock(Path(sys.argv[1]), UsageError("")):
    print("held", flush=True)
    sys.stdin.read()
"""
BUSY = UsageError("it is in use")


def test_a_lock_of_another_process_is_refused_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.lock"
    words = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match=rf"in use \(PID {other.pid}\)"), hold_lock(path, BUSY):
            pass
        signed = path.read_text()
        for name, where in (("pid_namespace", " of another container"), ("boot", ""), ("host", "")):
            path.write_text(json.dumps({**json.loads(signed), name: "elsewhere"}))
            with pytest.raises(UsageError, match=rf"\(PID {other.pid}{where}\)"), hold_lock(path, BUSY):
                pass
        path.write_text(json.dumps({**json.loads(signed), "host": "elsewhere", "boot": "x"}))
        with pytest.raises(UsageError, match="on elsewhere"), hold_lock(path, BUSY):
            pass
        for nothing in ("", "[1]", "{}", "\x00"):
            path.write_text(nothing)
            with pytest.raises(UsageError, match=r"in use$"), hold_lock(path, BUSY):
                pass
        other.kill()
        other.wait()
    with hold_lock(path, BUSY):
        pass


def test_what_the_block_raises_is_not_taken_for_a_busy_lock(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), hold_lock(tmp_path / "lock", BUSY):
        raise BlockingIOError


def test_a_place_that_cannot_be_written_is_a_setup_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot write"), hold_lock(tmp_path / "file" / "lock", BUSY):
        pass


def test_a_lock_leaves_no_file_and_one_that_is_removed_under_its_holder_is_not_taken_twice(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_lock(path, BUSY):
        assert path.exists()
    assert not path.exists()
    with hold_lock(path, BUSY):
        path.unlink()
        path.write_text("of another process")
    assert path.read_text() == "of another process"


def test_a_lock_file_that_its_holder_removes_while_it_is_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = tmp_path / "lock", []
    open_file = os.open

    def lose_the_first(place: Path, *flags: int) -> int:
        opened.append(open_file(place, *flags))
        if len(opened) == 1:
            path.unlink()
        return opened[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lose_the_first)
        lock = hold_lock(path, BUSY)
        lock.__enter__()
    with pytest.raises(UsageError, match="in use"), hold_lock(path, BUSY):
        pass
    lock.__exit__(None, None, None)
    assert not path.exists()
