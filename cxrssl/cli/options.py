"""Options that several commands share, and how a command prints its summary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cxrssl.cli import completion
from cxrssl.core.columns import align_rows
from cxrssl.core.errors import DataError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace

if TYPE_CHECKING:
    from cxrssl.records.damage import Damage

WorkspacePath = Annotated[
    Path,
    typer.Option(
        "--workspace", envvar="CXRSSL_WORKSPACE", help="Folder that holds all that is written.", metavar="FOLDER"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")]
COHORT_HELP = "Cohort to use; may be left out when there is only one."
CohortName = Annotated[
    str, typer.Option("--cohort", help=COHORT_HELP, metavar="NAME", autocompletion=completion.complete_cohort)
]
CohortArgument = Annotated[
    str,
    typer.Argument(help="Cohort; may be left out when there is only one.", autocompletion=completion.complete_cohort),
]
RunName = Annotated[
    str, typer.Argument(help="Run id, or the beginning of one.", autocompletion=completion.complete_run)
]
DeviceName = Annotated[
    str,
    typer.Option("--device", help="auto, cpu or cuda.", metavar="NAME", autocompletion=completion.complete_device),
]
DEFAULT_WORKSPACE = Path("cxrssl-workspace")


class GroupedCommand(TyperCommand):
    """A command whose help lists its options by the panel that each names; in plain text, as rich is slow to import."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                title = "Arguments" if param.param_type_name == "argument" else "Options"
                panels.setdefault(getattr(param, "rich_help_panel", None) or title, []).append(record)
        width = max(len(left) for records in panels.values() for left, _ in records)
        for title in sorted(panels, key=lambda title: title == "Options"):
            with formatter.section(title):
                formatter.write_dl([(left.ljust(width), right) for left, right in panels[title]])


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


def print_damage(damage: Iterable[Damage]) -> None:
    """Say on stderr what could not be used, or not in full."""
    for each in damage:
        typer.echo(f"cxrssl: note: {each.sentence}", err=True)


def align(rows: Sequence[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Return lines with the first column padded and the second set flush right."""
    return align_rows(rows, {1}, indent)
