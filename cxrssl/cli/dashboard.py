"""`cxrssl dashboard`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, open_workspace


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
        typer.echo(json.dumps(snapshot.as_json(state), indent=1) if as_json else snapshot.render(state))
        return
    from cxrssl.dashboard.app import run_dashboard

    run_dashboard(opened)
