"""A command in a process of its own, that ends when this process does.

In: words of the command line, a device, a log. Out: the process, and what its log says of its end.
Never: another copy of the package than this process runs, or a child that outlives its parent for longer than a save.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cxrssl.core import version
from cxrssl.core.durable import renamed_os_errors
from cxrssl.core.text import plain

PR_SET_PDEATHSIG = 1
OF_A_LAUNCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What the launcher of this process said to it, and not to its children."""
ERROR = "cxrssl: error: "
TAIL_BYTES = 20_000


def start_child(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start `cxrssl WORDS`, whose output is appended to `log`, with these changes to the environment.

    Raises: SetupError when the log cannot be written.
    """
    package = str(Path(version.__file__).parents[2])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    inherited = {key: value for key, value in os.environ.items() if key not in OF_A_LAUNCH}
    with contextlib.ExitStack() as files:
        with renamed_os_errors(log):
            out = files.enter_context(open(log, "ab"))
        return subprocess.Popen(
            # -P: a folder named cxrssl in the working directory is not this package.
            [sys.executable, "-P", "-m", "cxrssl", *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**inherited, "PYTHONPATH": os.pathsep.join(paths), **environment},
            start_new_session=True,  # Ctrl-C in a terminal reaches this process alone, which passes it on
            preexec_fn=_make_tie(),
        )


def _make_tie() -> Callable[[], None]:
    """Return what has a child stopped by SIGTERM, with a checkpoint, when its parent ends in whatever way."""
    set_option, parent = ctypes.CDLL(None).prctl, os.getpid()

    def tie() -> None:
        set_option(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return tie


def explain_end(code: int, log: Path, began_at: int = 0) -> str:
    """Return how a command ended that failed, from its exit code and the last error in its log.

    `began_at` is the size of the log when it was started: what stands before is of earlier tries.
    """
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    lines = _read_tail(log, began_at).splitlines()
    error = next((line.removeprefix(ERROR) for line in reversed(lines) if line.startswith(ERROR)), "")
    return plain(error, 300) if error else f"exit code {code}"


def _read_tail(log: Path, began_at: int) -> str:
    with open(log, "rb") as file:
        file.seek(max(began_at, os.fstat(file.fileno()).st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")
