"""Runs `cxrssl ablate` again and again in processes forked from this one, which has loaded torch; so are its children.

In: lines of JSON on stdin: argv and the file for its output. Out: for each line the process id, then its wait status, a
line each. A child that is forked, not executed, gives up what it would have inherited: locks, handlers, open files.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import cxrssl.cli.app
import cxrssl.evaluate.run
import cxrssl.train.loop
from cxrssl.ablate import child, queue
from cxrssl.core.held import release_all
from cxrssl.core.signals import ENDING
from cxrssl.recipe.settings import BACKBONES


class Forked:
    """A child, as `subprocess.Popen` shows one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        code = self._wait(0)
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _wait(self, options: int) -> int | None:
        if self.code is None:
            pid, status = os.waitpid(self.pid, options)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code


def start_child(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> Forked:
    """Fork what `child.start_child` executes."""
    tie = child._make_tie()
    pid = os.fork()
    if pid:
        return Forked(pid)
    os.setsid()
    tie()
    release_all()
    os.environ.update(environment)
    become(words, log)
    raise AssertionError("it has left")


def become(words: Sequence[str], output: Path) -> None:
    """Be the command of these words, and leave with its exit code."""
    for number in ENDING:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    with open(output, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, 256)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", buffering=1, closefd=False)
    sys.argv = ["cxrssl", *words]
    code = 99
    try:
        cxrssl.cli.app.main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    BACKBONES["vit-micro"] = (24, 2, 2)
    vars(queue)["start_child"] = start_child
    for line in sys.stdin:
        order = json.loads(line)
        started = os.fork()
        if not started:
            become(order["argv"], Path(order["output"]))
        tell(started)
        tell(os.waitpid(started, 0)[1])
