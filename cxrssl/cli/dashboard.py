"""`cxrssl dashboard`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, open_workspace
from cxrssl.core.errors import UsageError
from cxrssl.core.text import dump_json


def dashboard(
    once: Annotated[bool, typer.Option("--once", help="Print the run table once and exit; needs no terminal.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Watch runs live in the terminal: their state, one loss curve, probe results. Closing it never touches a run.

    Example: cxrssl dashboard --once
    """
    opened = open_workspace(workspace)
    if as_json or once:
        from cxrssl.dashboard.reader import Reader
        from cxrssl.dashboard.text import snapshot

        state = Reader(opened).read_state()
        typer.echo(dump_json(snapshot.as_json(state), indent=1) if as_json else snapshot.render(state))
        return
    _check_terminal()
    from cxrssl.dashboard.app import run_dashboard

    run_dashboard(opened)


def _check_terminal() -> None:
    """Raise UsageError without a terminal to draw on: it would fill a file with escape codes, and never end."""
    streams = sys.stdin, sys.stdout, sys.stderr
    if os.environ.get("TERM") == "dumb" or not all(stream is not None and stream.isatty() for stream in streams):
        hint = "cxrssl dashboard --once prints it as text, --json as JSON"
        raise UsageError("the dashboard needs a terminal, for its input and its output", hint=hint)
