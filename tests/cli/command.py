"""A command run in this process, as `main` runs it: a second for the interpreter and torch is saved each time."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from cxrssl.cli.app import main


@dataclass
class Result:
    """What a command leaves."""

    returncode: int
    stdout: str
    stderr: str


def run(*words: object, workspace: Path | str = "", text: str = "") -> Result:
    """Run `cxrssl WORDS --workspace WORKSPACE` with `text` on stdin, under the usual umask, which a command changes."""
    place = ["--workspace", str(workspace)] if workspace else []
    out, err = io.StringIO(), io.StringIO()
    umask = os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["cxrssl", *map(str, words), *place])
        patch.setattr(sys, "stdin", io.StringIO(text))
        with pytest.raises(SystemExit) as caught:
            main()
    os.umask(umask)
    return Result(int(caught.value.code or 0), out.getvalue(), err.getvalue())
