"""The processes that a test of the store starts and kills, each one of tests/results/actors.py."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Cast:
    """The processes on one workspace, and what each has said."""

    root: Path
    theatre: subprocess.Popen[str]
    num: int = 0
    alive: list[int] = field(default_factory=list)

    def begin(self, who: str, **more: Any) -> tuple[int, Path]:
        """Start a process; return its id and the file of what it says."""
        self.num += 1
        said = self.root / f"said-{self.num}"
        said.touch()
        order = {"who": who, "workspace": str(self.root / "ws"), "said": str(said), **more}
        assert self.theatre.stdin is not None
        assert self.theatre.stdout is not None
        self.theatre.stdin.write(json.dumps(order) + "\n")
        self.theatre.stdin.flush()
        pid = int(self.theatre.stdout.readline())
        if more.get("wait"):
            assert self.theatre.stdout.readline() == "0\n"
        else:
            self.alive.append(pid)
        return pid, said

    def kill(self, pid: int) -> None:
        """Kill a process and wait until it is gone."""
        handle = os.pidfd_open(pid)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        assert select.select([handle], [], [], 60)[0]
        os.close(handle)
        self.alive.remove(pid)


@contextlib.contextmanager
def open_cast(root: Path) -> Iterator[Cast]:
    """Give a cast, and kill in the end who is left of it."""
    words = [sys.executable, "-m", "tests.results.actors"]
    theatre = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    made = Cast(root, theatre)
    try:
        yield made
    finally:
        for pid in made.alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        theatre.kill()
        theatre.wait()


def heard(said: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.read_text().splitlines(keepends=True) if line.endswith("\n")]
