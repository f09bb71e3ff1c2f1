"""Runs the command line again and again in processes of its own, each forked from this one, which has loaded torch.

In: lines of JSON on stdin: argv, kill_at (kill point), fail_at and kind (failing disk), and two files to write, stderr
and calls (how often the disk was changed); or pause_at, a kill point at which the process stays instead, and the file
`paused` that it writes there and stays for, until it is removed. With `terminal` its words go to that one, which is its
own. Out: for each line the process id, then its wait status, a line each.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import cxrssl.cli.app
import cxrssl.train.loop
from cxrssl.core import durable
from cxrssl.recipe.settings import BACKBONES
from tests.faults import FailingDisk


def run(order: dict[str, Any]) -> None:
    """Become the command that `order` describes."""
    durable._KILL_AT = order.get("kill_at", "") or order.get("pause_at", "")
    if order.get("pause_at"):
        os.kill = lambda pid, number, /: pause(order["paused"])
    sys.argv = ["cxrssl", *order["argv"]]
    with open(order["stderr"], "w", buffering=1) as stderr:
        os.dup2(stderr.fileno(), 2)
        os.dup2(stderr.fileno(), 1)
        if order.get("terminal"):
            os.setsid()
            terminal = os.open(order["terminal"], os.O_RDWR)
            for descriptor in range(3):
                os.dup2(terminal, descriptor)
            os.close(terminal)
            # Those of before know of a file, in which one can seek.
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        disk = FailingDisk(order.get("fail_at", 0), order.get("kind", "EIO")).install()
        code: Any = 99
        try:
            cxrssl.cli.app.main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
        with open(order["calls"], "w") as calls:
            calls.write(str(disk.num_calls))
    os._exit(code)


def pause(path: str) -> None:
    """Stay here, with signals as they come, until the file is removed, or for longer than any test waits."""
    Path(path).touch()
    for _ in range(60_000):
        if not Path(path).exists():
            return
        time.sleep(0.01)
    os._exit(98)


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    BACKBONES["vit-micro"] = (24, 2, 2)  # two layers, so that hundreds of runs are cheap
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
        tell(child)
        tell(os.waitpid(child, 0)[1])
