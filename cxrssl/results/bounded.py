"""A query in a process of its own, which ends in time and takes no more than its memory, whatever the query does.

In: the words of the command. Out: its exit code, or an error of one sentence. Never: a process that outlives its time.
A DuckDB query can be asked to stop, but one call of a function over a billion values does not hear it, and allocates
beside the memory that DuckDB counts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence

from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.text import format_bytes

MARK = "CXRSSL_BOUNDED"
"""Set in the environment of the process that is watched."""
MAX_BYTES = 7 << 28
"""1.75 GiB; with what the watching process holds it stays under 2 GiB."""
MEMORY = "1GB"
"""Of what DuckDB counts."""
MAX_THREADS = 8
"""Of DuckDB; each has a stack and a pool of its own."""
GRACE_S = 2.0
"""For the process to start: the time is the query's."""
PR_SET_PDEATHSIG = 1


def is_bounded() -> bool:
    """Return whether this is the process that is watched."""
    return MARK in os.environ


def run_bounded(words: Sequence[str], timeout_s: float) -> int:
    """Run `cxrssl WORDS` in another process, on the same terminal, and return its exit code.

    Raises: UsageError when it takes longer than `timeout_s`; SetupError when it needs more than MAX_BYTES.
    """
    environment = {**os.environ, MARK: "1"}
    process = subprocess.Popen([sys.executable, "-m", "cxrssl", *words], env=environment, start_new_session=True)
    try:
        code = process.wait(timeout_s + GRACE_S)
    except subprocess.TimeoutExpired:
        raise too_long(timeout_s) from None
    finally:
        process.kill()
        process.wait()
    if code < 0:
        what = f"the query ended its process ({signal.Signals(-code).name})"
        raise SetupError(f"{what}: it may take {format_bytes(MAX_BYTES)} of memory with --timeout", "", "ask for less")
    return code


def too_long(timeout_s: float) -> UsageError:
    return UsageError(f"the query took longer than {timeout_s:g} s", hint="raise --timeout")


def limit_this_process() -> tuple[str, int]:
    """Bound the memory of this process, end it with the one that watches it, and return DuckDB's memory and threads."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES if hard < 0 else min(MAX_BYTES, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(AttributeError):  # another system than Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return MEMORY, min(MAX_THREADS, os.cpu_count() or 1)
