"""Options that several commands share, and how a command prints its summary."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cxrssl.cli import completion
from cxrssl.cohort.own import learn_features
from cxrssl.core.columns import align_rows
from cxrssl.core.errors import CxrsslError, DataError
from cxrssl.core.held import hold_folder
from cxrssl.core.text import dump_json, plain
from cxrssl.core.workspace import Workspace

if TYPE_CHECKING:
    from cxrssl.records.damage import Damage

_current: ContextVar[tuple[typer.Context, Path] | None] = ContextVar("the command and its workspace", default=None)


def _remember(context: typer.Context, path: Path) -> Path:
    _current.set((context, path))
    return path


def is_given(name: str) -> bool:
    """Return whether the user gave an option of the current command, by the name of its parameter."""
    current = _current.get()
    source = current[0].get_parameter_source(name) if current else None
    return source is not None and source.name == "COMMANDLINE"


WorkspacePath = Annotated[
    Path,
    typer.Option(
        "--workspace",
        envvar="CXRSSL_WORKSPACE",
        help="Folder that holds all that is written.",
        metavar="FOLDER",
        callback=_remember,
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
NumGpus = Annotated[
    int, typer.Option("--gpus", help="Devices, or CPU threads, that share the films.", metavar="N", min=1)
]
SmallCellsChoice = Annotated[
    str, typer.Option("--small-cells", help="Counts of fewer than ten subjects: hide or show.", metavar="CHOICE")
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
    """Return the workspace, made if it was not there. Raises: UsageError for a folder that holds other things."""
    workspace = Workspace(path.absolute()).claim()
    hold_folder(workspace.root)
    learn_features(workspace.cohorts)
    return workspace


def open_workspace(path: Path) -> Workspace:
    """Return a workspace that is there, or raise DataError: a mistyped path is not made into an empty one.

    Raises: UsageError for a folder that holds other things.
    """
    if not path.is_dir():
        raise DataError("there is no workspace", path, "make one: cxrssl ingest, or name it with --workspace")
    workspace = Workspace(path.absolute())
    workspace.check()
    hold_folder(workspace.root)
    learn_features(workspace.cohorts)
    return workspace


def forget_command() -> None:
    """Forget an earlier command and its workspace."""
    _current.set(None)


def complete_hint(hint: str) -> str:
    """Return a hint that names the command that it is for, if this command lacks an option that it names."""
    current, named = _current.get(), set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", hint))
    if current is None or "cxrssl " in hint or named <= _options_of(current[0].command):
        return hint
    commands = getattr(current[0].find_root().command, "commands", {})
    homes = [name for name, command in commands.items() if named <= _options_of(command)]
    return f"{hint} (of cxrssl {homes[0]})" if homes else hint


def _options_of(command: Any) -> set[str]:
    return {option for each in command.params for option in (*each.opts, *each.secondary_opts)}


def tracebacks_folder() -> Path | None:
    """Return where the traceback of a bug goes: the workspace of the command, None while it is not there.

    Raises: OSError when it cannot be made.
    """
    current = _current.get()
    if current is None or not current[1].is_dir():
        return None
    workspace = Workspace(current[1].absolute())
    try:
        workspace.check()
    except CxrsslError:
        return None  # a folder of other things
    folder = workspace.tracebacks
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def print_summary(summary: Mapping[str, Any], as_json: bool, lines: Sequence[str]) -> None:
    """Print `summary` as JSON, or its lines as text for people."""
    text = dump_json(summary, indent=1) if as_json else "\n".join(plain(line, 2000) for line in lines)
    typer.echo(text)


def next_line(*words: str, workspace: Path, what: str = "next") -> str:
    """Return the line that says what to type next, in the same workspace."""
    place = [] if workspace == DEFAULT_WORKSPACE else ["--workspace", str(workspace)]
    return f"{what}: {shlex.join(['cxrssl', *words, *place])}"


def narrate(text: str) -> None:
    """Say on stderr what begins now, before seconds of silence."""
    typer.echo(f"cxrssl: {plain(text)}", err=True)


def print_damage(damage: Iterable[Damage]) -> None:
    """Say on stderr what could not be used, or not in full."""
    for each in damage:
        typer.echo(f"cxrssl: note: {each.sentence}", err=True)


def align(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Return lines with the first column padded and the second set flush right."""
    return align_rows(rows, {1}, indent)
