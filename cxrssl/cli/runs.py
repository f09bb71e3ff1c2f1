"""`cxrssl runs`: results of runs handed on without rows of patients, and brought into another workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrssl.cli import completion
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    WorkspacePath,
    make_workspace,
    next_line,
    open_workspace,
    print_summary,
)
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun, shell_word

app = typer.Typer(
    help="List, show and tidy up runs; hand their results on, without rows of patients.\n\nExample: cxrssl runs list",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("export")
def export_runs(
    runs: Annotated[
        list[str], typer.Argument(help="Run ids, or their beginnings.", autocompletion=completion.complete_run)
    ],
    out: Annotated[Path, typer.Option(help="Archive to write, a .zip.", metavar="FILE")],
    safe: Annotated[
        bool,
        typer.Option("--safe", help="Required: leaves out rows of patients, ids, paths and small counts."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write settings, curves, scores and comparisons of runs, and of baselines beside them, into one archive.

    Nothing in it names a subject, a film, a path, a host or a user. Its README.txt says what it holds and what was
    left out.

    Example: cxrssl runs export mimic-msn --safe --out results.zip
    """
    from cxrssl.export.safe import export_runs as write

    if not safe:
        raise UsageError("runs export needs --safe: it never writes rows of patients", hint="add --safe")
    if out.suffix.lower() != ".zip":
        raise UsageError("--out is no name of an archive", out, f"--out {shell_word(out.with_suffix('.zip'))}")
    made = write(open_workspace(workspace), runs, out.absolute(), force)
    summary = {
        "file": str(made.path),
        "sha256": made.sha256,
        "runs": made.num_runs,
        "evaluations": made.num_evaluations,
        "comparisons": made.num_comparisons,
        "groups": made.num_groups,
        "hidden": {eval_id: list(names) for eval_id, names in made.hidden.items()},
    }
    counts = (made.num_runs, "run"), (made.num_evaluations, "evaluation"), (made.num_comparisons, "comparison")
    held = ", ".join(count_noun(num, noun) for num, noun in (*counts, (made.num_groups, "group")))
    lines = [f"{made.path} written: {held}", f"SHA-256 {made.sha256}"]
    lines += [
        f"left out, under 10 subjects, of {eval_id}: {', '.join(names)}" for eval_id, names in made.hidden.items()
    ]
    print_summary(summary, as_json, [*lines, "read README.txt in it before it leaves"])


@app.command("import")
def import_runs(
    archive: Annotated[Path, typer.Argument(help="Archive of cxrssl runs export.")],
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Bring an archive into a workspace: reports, the dashboard and SQL show its runs, which can only be read.

    Example: cxrssl runs import results.zip
    """
    from cxrssl.export.archive import read_archive
    from cxrssl.export.intake import import_runs as read

    read_archive(archive)  # before a workspace is made for nothing
    made = read(make_workspace(workspace), archive)
    summary = {
        "sha256": made.sha256,
        "runs": list(made.run_ids),
        "evaluations": list(made.eval_ids),
        "new": made.num_new,
    }
    held = f"{count_noun(len(made.run_ids), 'run')}, {count_noun(len(made.eval_ids), 'evaluation')}"
    state = "" if made.num_new else ", all there already"
    lines = [f"imported from archive {made.sha256[:12]}: {held}{state}", next_line("report", workspace=workspace)]
    print_summary(summary, as_json, lines)
