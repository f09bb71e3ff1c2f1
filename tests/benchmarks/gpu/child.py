"""A case in a process of its own, which says what it knows as it knows it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.gpu.cases import Case

ROOT = Path(__file__).resolve().parents[3]
NUM_LINES = 30
"""Of what a case that failed has printed last."""


@dataclass
class Outcome:
    """What a case has told, and how it ended."""

    found: dict[str, Any] = field(default_factory=dict)
    code: int = 0
    error: str = ""
    last_lines: list[str] = field(default_factory=list)
    is_cut: bool = False
    """Whether the clock has ended it."""

    def need(self) -> dict[str, Any]:
        """Return what was told. Raises: RuntimeError where the process failed."""
        if self.error:
            raise RuntimeError(self.error)
        return self.found


class Child:
    """A process that prints what it knows, a line of JSON each; it is ended with the block, and with this process."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *ended: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._stderr.close()

    def wait(self, limit_s: float | None = None) -> Outcome:
        """Return its outcome; after `limit_s` it is killed, and what it has told stays."""
        why = ""
        try:
            told, _ = self._process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            told, _ = self._process.communicate()
            why = f"not done after {limit_s:.0f} s"
        outcome = Outcome(code=self._process.returncode, is_cut=bool(why))
        for line in told.splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last may be half a line
                outcome.found |= json.loads(line)
        if outcome.code:
            self._stderr.seek(0)
            outcome.last_lines = [line for line in self._stderr.read().splitlines() if line.strip()][-NUM_LINES:]
            how = f"killed by {signal.Signals(-outcome.code).name}" if outcome.code < 0 else f"exit {outcome.code}"
            outcome.error = why or (outcome.last_lines[-1][:200] if outcome.code > 0 and outcome.last_lines else how)
        return outcome


def start_case(case: Case, workspace: Path, **environment: str) -> Child:
    """Return the process that measures a case."""
    words = [sys.executable, "-m", "tests.benchmarks.gpu.one", json.dumps(dataclasses.asdict(case)), str(workspace)]
    return Child(words, environment)


def end_with_parent() -> None:
    """Have the system kill this process when the one that started it ends, however that ends."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
