"""`cxrssl dashboard`."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, WorkspacePath, open_workspace
from cxrssl.core.errors import UsageError
from cxrssl.core.text import dump_json

if TYPE_CHECKING:
    from cxrssl.dashboard.view import View

SCREEN_HELP = "Screen to open or print, such as runs, curves, ablation; runs if none is named."


def dashboard(
    screen: Annotated[str, typer.Argument(help=SCREEN_HELP, metavar="SCREEN")] = "",
    once: Annotated[bool, typer.Option("--once", help="Print the screen as text and exit; needs no terminal.")] = False,
    named: Annotated[str, typer.Option("--screen", help="The same as SCREEN.", metavar="NAME")] = "",
    filter: Annotated[str, typer.Option("--filter", help="Show only the runs that this lets through.")] = "",
    sort: Annotated[
        str, typer.Option("--sort", help="Column, recipe key or metric to sort runs by; -NAME: highest first.")
    ] = "",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Watch runs live in the terminal: their states, curves, probe results. Closing it never touches a run.

    Example: cxrssl dashboard --once
    """
    from cxrssl.dashboard.once import check_screen, read_once
    from cxrssl.dashboard.view import View

    opened = open_workspace(workspace)
    name = screen or named or "runs"
    check_screen(name)
    if as_json or once:
        shown = read_once(opened, name, _look(View(), filter, sort))
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(dump_json(shown.values(), indent=1) if as_json else shown.text(width))
        return
    _check_terminal()
    from cxrssl.dashboard.app import run_dashboard
    from cxrssl.dashboard.memory import memory_path, recall_view

    run_dashboard(opened, _look(recall_view(memory_path(opened)), filter, sort), name)


def _look(view: View, filter: str, sort: str) -> View:
    """Return a view with what the command line says."""
    if filter:
        view = replace(view, filter=filter)
    return replace(view, sort=sort.removeprefix("-"), is_descending=sort.startswith("-")) if sort else view


def _check_terminal() -> None:
    """Raise UsageError without a terminal to draw on: it would fill a file with escape codes, and never end."""
    streams = sys.stdin, sys.stdout, sys.stderr
    if os.environ.get("TERM") == "dumb" or not all(stream is not None and stream.isatty() for stream in streams):
        hint = "cxrssl dashboard --once prints it as text, --json as JSON"
        raise UsageError("the dashboard needs a terminal, for its input and its output", hint=hint)
