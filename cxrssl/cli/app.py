"""The command line: one function a command, errors as one sentence with a place and a hint, documented exit codes.

Never: torch, polars, duckdb, textual or rich imported before a command that needs them runs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from cxrssl.cli import (
    ablate,
    check,
    cohort,
    compare,
    dashboard,
    db,
    demo,
    doctor,
    embed,
    export,
    ingest,
    manual,
    predict,
    pretrain,
    probe,
    recipe,
    report,
    runs,
    runs_life,
    runs_list,
    runs_on,
    runs_show,
    sql,
)
from cxrssl.cli.options import GroupedCommand, complete_hint, forget_command, tracebacks_folder
from cxrssl.cli.streams import guarded_streams, occupy_standard_files
from cxrssl.core.errors import CxrsslError, Preempted, SetupError
from cxrssl.core.held import explain_lost, release_all
from cxrssl.core.signals import end_on_signals
from cxrssl.core.text import plain
from cxrssl.core.version import __version__

NAME = "cxrssl"
SIGINT_EXIT = 130
MAX_HINT = 10_000  # a hint may hold a path of 4,096 characters, and a command that is cut cannot be copied
MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE}
HELP = """Self-supervised chest X-ray pretraining with the health record as a second view.

Exit codes: 0 done, 2 wrong command or setting, 3 wrong data, 4 the machine cannot do it (disk, permission, device),
5 training stopped itself, 75 stopped on request (run the same command to resume), 130 Ctrl-C, 1 a bug.

Example: cxrssl demo
"""

app = typer.Typer(
    name=NAME,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "color": False},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    os.umask(0o077)


app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(ingest.ingest)
app.command()(check.check)
app.add_typer(cohort.app, name="cohort")
app.command(cls=GroupedCommand)(pretrain.pretrain)
app.command(cls=GroupedCommand)(probe.probe)
app.command()(ablate.ablate)
app.command()(export.export)
app.command()(embed.embed)
app.command()(predict.predict)
app.command()(report.report)
app.command()(compare.compare)
app.command()(sql.sql)
runs.app.command("list")(runs_list.list_runs)
runs.app.command("show")(runs_show.show_run)
for name, command in (
    ("tag", runs_life.tag_run),
    ("note", runs_life.note_run),
    ("log", runs_life.log_numbers),
    ("archive", runs_life.archive_runs),
    ("rm", runs_life.remove_runs),
    ("gc", runs_life.collect_garbage),
    ("stop", runs_life.stop),
    ("resume", runs_on.resume),
    ("extend", runs_on.extend),
):
    runs.app.command(name)(command)
app.add_typer(runs.app, name="runs")
app.add_typer(db.app, name="db")
app.add_typer(recipe.app, name="recipe")
app.command()(dashboard.dashboard)
app.command("help")(manual.show_topic)


def main() -> None:
    """Run the command line and leave with the documented exit code."""
    occupy_standard_files()
    try:
        code = run(sys.argv[1:])
    except Preempted as stop:
        code = stop.exit_code
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run the command of these words, report its error if there is one, and return the documented exit code.

    Raises: Preempted, after reporting it, so that the job's scheduler can queue it again.
    """
    forget_command()
    code, ended = None, None
    with guarded_streams(), end_on_signals() as stop:
        try:
            # The words go with the command, so that it can start itself in other processes.
            code = app(list(words), prog_name=NAME, standalone_mode=False, obj=tuple(words))
            sys.stdout.flush()
        except BaseException as error:
            ended = error
        stop.is_over = True
        if stop and (ended is not None or code == SIGINT_EXIT):  # Typer turns an interrupt into a number, wordless
            ended = stop.error()  # whatever the library that was interrupted has made of it
        ended = ended and (explain_lost(ended) or ended)
        release_all()
        if ended is None:
            return code if isinstance(code, int) else 0
        exit_code = _report_error(ended)
    if isinstance(ended, Preempted) and exit_code == Preempted.exit_code:
        raise ended
    return exit_code


def _report_error(error: BaseException) -> int:
    """Report the error that ended a command, and return its documented exit code."""
    if isinstance(error, CxrsslError):
        _print_error(error.what, error.where, complete_hint(error.hint))
        return error.exit_code
    if isinstance(error, typer.TyperException):
        if type(error).__name__ == "NoArgsIsHelpError":  # its class has no public name; its message is the help
            typer.echo(error.format_message(), err=True)
        else:
            context = getattr(error, "ctx", None)
            _print_error(error.format_message(), "", f"{context.command_path if context else NAME} --help")
        return int(error.exit_code)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        _print_error("stopped by Ctrl-C", "", "")
        return SIGINT_EXIT
    if isinstance(error, SystemExit):
        if not isinstance(error.__context__, OSError):
            return int(error.code or 0)  # completion leaves so, for the shell to read
        error = error.__context__  # Typer hides a broken pipe, though none of ours is the command's own stdout
    if isinstance(error, ModuleNotFoundError) and (absent := (error.name or NAME).partition(".")[0]) != NAME:
        hint = "install the program with all that it needs; to train, probe and embed what is published, less will do"
        _print_error(f"{absent}, which this command needs, is not installed here", "", hint)
        return SetupError.exit_code
    if isinstance(error, MemoryError):
        _print_error("there is not enough memory", "", "close other programs, or use a machine with more of it")
        return SetupError.exit_code
    if isinstance(error, OSError) and error.errno in MACHINE_ERRORS:
        _print_error(f"the machine refuses: {str(error.strerror).lower()}", str(error.filename or ""), "")
        return SetupError.exit_code
    _print_error(f"a bug: {type(error).__name__}", _save_traceback(error), "please report it with this file")
    return 1


def _print_error(what: str, where: str, hint: str) -> None:
    lines = [f"cxrssl: error: {plain(what)}"]
    lines += [f"  at {plain(where, MAX_HINT)}"] if where else []
    lines += [f"  hint: {plain(hint, MAX_HINT)}"] if hint else []
    typer.echo("\n".join(lines), err=True)


def _save_traceback(error: BaseException) -> str:
    """Write the traceback into the workspace of the command; without one, into a temporary file. Return its path."""
    import tempfile

    from cxrssl.core.traces import format_error

    folder = None
    with contextlib.suppress(OSError):
        folder = tracebacks_folder()
    descriptor, name = tempfile.mkstemp(".txt", "cxrssl-traceback-", folder)
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(format_error(error))
    return name
