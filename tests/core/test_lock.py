"""A lock is held by one process, and by none when that has ended."""

from __future__ import annotations

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
        with pytest.raises(UsageError, match="in use"), hold_lock(path, BUSY):
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
