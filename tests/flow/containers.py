"""Two containers on one machine: each has a process 1 of its own, and neither sees the other's processes.

In: commands, and when each of them begins. Out: their exit codes and all that they said.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

APART = ["unshare", "--pid", "--fork", "--mount-proc"]
START_S = 0.05
"""Within this time both have forked, and wait for their moment."""
SERVER = """
import json, os, sys, time
import cxrssl.cli.app, cxrssl.cohort.export, cxrssl.core.durable, cxrssl.ingest, cxrssl.report.write
import cxrssl.cohort.sources.nih
if sys.argv[1:]:
    import cxrssl.evaluate.run, cxrssl.train.loop
print("ready", flush=True)
for line in sys.stdin:
    words, log, moment, kill_at = json.loads(line)
    child = os.fork()
    if child == 0:
        os.umask(0o022)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.argv, cxrssl.core.durable._KILL_AT = ["cxrssl", *words], kill_at
        code = 99
        time.sleep(max(0.0, moment - time.monotonic()))
        try:
            cxrssl.cli.app.main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def can_unshare() -> bool:
    """Return whether this machine gives the right to make PID namespaces."""
    try:
        return subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    text: str
    """All that it wrote to stdout and stderr."""


class Container:
    """A process 1 that runs commands, each in a child with a process id that the other container has too."""

    def __init__(self, folder: Path, has_torch: bool, apart: Sequence[str] = APART, **more: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2]), **more}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [*apart, sys.executable, "-c", SERVER, *["torch"] * has_torch]
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.orders, self.answers = self.process.stdin, self.process.stdout
        folder.mkdir()
        self.log = folder / "log.txt"
        assert self.answers.readline() == "ready\n"

    def begin(self, words: str, workspace: Path, moment: float = 0.0, kill_at: str = "") -> None:
        """Begin a command at a moment of the clock that all processes of the machine share; or kill it at a point."""
        argv = [*shlex.split(words), "--workspace", str(workspace)]
        self.orders.write(json.dumps([argv, str(self.log), moment, kill_at]) + "\n")
        self.orders.flush()

    def end(self) -> Ended:
        return Ended(int(self.answers.readline()), self.log.read_text())

    def run(self, words: str, workspace: Path, kill_at: str = "") -> Ended:
        self.begin(words, workspace, kill_at=kill_at)
        return self.end()

    def close(self) -> None:
        self.orders.close()
        self.process.wait()


Pair = tuple[Container, Container]


def race(pair: Pair, words: tuple[str, str], workspace: Path, delay_s: float) -> list[Ended]:
    """Run two commands at once, the second later by `delay_s`, which may be negative."""
    moment = time.monotonic() + START_S
    for container, command, wait_s in zip(pair, words, (max(0.0, -delay_s), max(0.0, delay_s)), strict=True):
        container.begin(command, workspace, moment + wait_s)
    return [container.end() for container in pair]
