"""Views of films, cut by a process of its own: the dashboard never loads torch.

In: AskedViews. Out: ShownViews. The process is started when views are first asked for, uses no GPU, and ends with this
one: its input ends then.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from cxrssl.core import version
from cxrssl.views.shown import AskedViews, ShownViews, receive_views

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


class ViewCutter:
    """Answers one question after the other."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def cut(self, asked: AskedViews) -> ShownViews:
        """Return views; without any, why there are none. The first time it takes as long as torch takes to load."""
        with self._lock:
            process = self._process = self._process or _start()
            assert process.stdin is not None, "it was started with pipes"
            assert process.stdout is not None, "it was started with pipes"
            try:
                process.stdin.write(json.dumps(asdict(asked)).encode() + b"\n")
                process.stdin.flush()
                return receive_views(process.stdout)
            except (OSError, EOFError, ValueError):
                self._end()
                return ShownViews(why=f"the process that cuts views ended with code {process.returncode}")

    def close(self) -> None:
        """End the process, whatever it is at."""
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout)):
                with contextlib.suppress(OSError):  # of what was not sent
                    pipe.close()


def _start() -> subprocess.Popen[bytes]:
    package = str(Path(version.__file__).parents[2])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return subprocess.Popen(
        # -P: a folder named cxrssl in the working directory is not this package.
        [sys.executable, "-P", "-m", "cxrssl.train.shown"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it would write over the screen
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )
