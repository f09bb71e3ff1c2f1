"""Options that several commands share, and how a command prints its summary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrssl.core.errors import DataError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace

WorkspacePath = Annotated[
    Path, typer.Option("--workspace", envvar="CXRSSL_WORKSPACE", help="Folder that holds all that is written.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")]
CohortName = Annotated[str, typer.Option("--cohort", help="Cohort to use; may be left out when there is only one.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
DEFAULT_WORKSPACE = Path("cxrssl-workspace")


def make_workspace(path: Path) -> Workspace:
    """Return the workspace, made if it was not there."""
    return Workspace(path.absolute()).create()


def open_workspace(path: Path) -> Workspace:
    """Return a workspace that is there, or raise DataError: a mistyped path is not made into an empty one."""
    if not path.is_dir():
        raise DataError("there is no workspace", path, "make one: cxrssl ingest, or name it with --workspace")
    return Workspace(path.absolute())


def print_summary(summary: Mapping[str, Any], as_json: bool, lines: Sequence[str]) -> None:
    """Print `summary` as JSON, or its lines as text for people."""
    text = (
        json.dumps(summary, indent=1, default=str, allow_nan=False)
        if as_json
        else "\n".join(plain(line, 2000) for line in lines)
    )
    typer.echo(text)


def align(rows: Sequence[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Return lines with the first column padded and the second set flush right."""
    left = max((len(name) for name, _ in rows), default=0)
    right = max((len(value) for _, value in rows), default=0)
    return [f"{indent}{name.ljust(left)}  {value.rjust(right)}" for name, value in rows]
