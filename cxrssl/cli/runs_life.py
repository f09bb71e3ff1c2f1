"""`cxrssl runs tag, note, log, archive, rm, gc, stop`: what people say of runs, and how runs end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrssl.cli import completion
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    RunName,
    WorkspacePath,
    narrate,
    open_workspace,
    print_summary,
)
from cxrssl.core.columns import wrap_rows
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import count_noun, format_bytes, plain
from cxrssl.core.workspace import Workspace

WIDTH = 80
RunNames = Annotated[
    list[str], typer.Argument(help="Run ids, or their beginnings.", autocompletion=completion.complete_run)
]


def tag_run(
    run: RunName,
    tags: Annotated[list[str], typer.Argument(help="Words, without commas or spaces.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take them away.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Give a run tags, by which `runs list tag:WORD` finds it; no hash of the run changes.

    Example: cxrssl runs tag mimic-msn paper
    """
    from cxrssl.records.notes import MAX_TAG, add_note, read_notes

    folder = open_workspace(workspace).find_run(run)
    for tag in tags:
        if not tag or plain(tag, MAX_TAG) != tag or any(char.isspace() or char == "," for char in tag):
            raise UsageError(f'"{plain(tag, 60)}" cannot be a tag', hint="one word, without a comma")
    for tag in tags:
        add_note(folder, {"untag" if remove else "tag": tag})
    found = read_notes(folder).tags
    summary = {"run_id": folder.name, "tags": found}
    print_summary(summary, as_json, [f"{folder.name}: {', '.join(found) or 'no tags'}"])


def note_run(
    run: RunName,
    text: Annotated[str | None, typer.Argument(help='What to note; "" takes the note away.')] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write a note on a run, or print it; no hash of the run changes.

    Example: cxrssl runs note mimic-msn "the one of table 2"
    """
    from cxrssl.records.notes import MAX_NOTE, add_note, read_notes

    folder = open_workspace(workspace).find_run(run)
    if text is not None:
        if len(text) > MAX_NOTE:
            raise UsageError(f"the note has {len(text):,} characters, and {MAX_NOTE:,} are kept", hint="shorten it")
        add_note(folder, {"note": text})
    note = read_notes(folder).note
    print_summary({"run_id": folder.name, "note": note}, as_json, [f"{folder.name}: {note or 'no note'}"])


def log_numbers(
    run: RunName,
    numbers: Annotated[list[str], typer.Argument(help="NAME=NUMBER.", metavar="NAME=NUMBER")],
    step: Annotated[
        int | None, typer.Option(help="Step that they are of; left out: the last.", metavar="N", min=0)
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Add numbers that were measured after training to the metrics of a run.

    Example: cxrssl runs log mimic-msn external_auroc=0.81
    """
    from cxrssl.records.notes import add_note
    from cxrssl.records.reader import read_run
    from cxrssl.records.steps import NO_METRICS

    folder = open_workspace(workspace).find_run(run)
    record = read_run(folder)
    if record is None:
        raise DataError(f"run {folder.name} has not begun", folder)
    last = record.tip[-1] if record.tip else {}
    at, read = max(record.step - 1, 0) if step is None else step, dict[str, float]()
    for word in numbers:
        name, equals, text = word.partition("=")
        name = name.strip()
        try:
            read[name] = float(text)
        except ValueError:
            raise UsageError(f'"{plain(word, 60)}" is no NAME=NUMBER', hint="such as external_auroc=0.81") from None
        if not equals or not name or plain(name) != name or name in last or name in NO_METRICS:
            raise UsageError(f'"{plain(name, 60)}" cannot be the name of a number that is added', hint="take another")
    for name, value in read.items():
        add_note(folder, {"metric": name, "step": at, "value": value})
    lines = [f"{folder.name}: {name} = {value:g} at step {at:,}" for name, value in read.items()]
    print_summary({"run_id": folder.name, "step": at, "numbers": {k: str(v) for k, v in read.items()}}, as_json, lines)


def archive_runs(
    runs: RunNames,
    undo: Annotated[bool, typer.Option("--undo", help="List them again.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Leave runs out of lists, without removing anything.

    Example: cxrssl runs archive mimic-msn-old
    """
    from cxrssl.records.notes import add_note

    opened = open_workspace(workspace)
    folders = [opened.find_run(run) for run in runs]
    for folder in folders:
        add_note(folder, {"archived": not undo})
    summary = {"runs": [folder.name for folder in folders], "is_archived": not undo}
    print_summary(summary, as_json, [f"{folder.name} {'listed again' if undo else 'archived'}" for folder in folders])


def remove_runs(
    runs: RunNames,
    anyway: Annotated[bool, typer.Option("--anyway", help="Remove runs that others need.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Remove runs for good, after naming what goes; one that an evaluation or ablation needs is refused.

    Example: cxrssl runs rm mimic-msn-old
    """
    from cxrssl.results.needs import find_needs
    from cxrssl.results.show import folder_bytes
    from cxrssl.results.tidy import remove_run

    opened = open_workspace(workspace)
    folders = list(dict.fromkeys(opened.find_run(run, may_be_short=False) for run in runs))
    for folder in folders:
        needs = find_needs(opened, folder.name)
        narrate(f"{folder.name}: {format_bytes(folder_bytes(folder))}; journals, checkpoints, encoder" + _tell(needs))
        if needs and not anyway:
            what = f"run {folder.name} is needed by {needs.sentence}"
            raise UsageError(what, folder, "archive it instead: cxrssl runs archive; or remove it with --anyway")
    if not yes and not typer.confirm(f"remove {count_noun(len(folders), 'run')} for good?", err=True):
        raise UsageError("nothing was removed", hint="answer y, or give --yes")
    for folder in folders:
        remove_run(opened, folder)
    summary = {"removed": [folder.name for folder in folders]}
    print_summary(summary, as_json, [f"{folder.name} removed" for folder in folders])


def _tell(needs: object) -> str:
    return f"; needed by {needs.sentence}" if needs and hasattr(needs, "sentence") else ""


def collect_garbage(
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; without this it is only listed.")] = False,
    only: Annotated[str, typer.Option(help="checkpoints, packs, pairs or leftovers.", metavar="KIND")] = "",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """List what may go: checkpoints of finished runs, packed films without a cohort, pairs of films of packs that are
    gone, leftovers of killed commands.

    Example: cxrssl runs gc --only checkpoints --delete
    """
    from cxrssl.results.tidy import CHECKPOINTS, LEFTOVERS, PACKS, PAIRS, find_waste, remove_waste

    kinds = (CHECKPOINTS, PACKS, PAIRS, LEFTOVERS)
    if only and only not in kinds:
        raise UsageError(f'"{plain(only, 40)}" is no kind of what may go', hint=f"one of {', '.join(kinds)}")
    opened = open_workspace(workspace)
    waste = [each for each in find_waste(opened) if not only or each.kind == only]
    if delete:
        remove_waste(opened, waste)
    total = format_bytes(sum(each.num_bytes for each in waste))
    rows = [(each.kind, format_bytes(each.num_bytes), _below(opened, each.path), each.why) for each in waste]
    end = f"{total} {'removed' if delete else 'may go'}" + ("" if delete or not waste else "; remove it with --delete")
    found = [
        {"kind": each.kind, "path": str(each.path), "why": each.why, "num_bytes": each.num_bytes} for each in waste
    ]
    print_summary({"is_removed": delete, "found": found}, as_json, [*(wrap_rows(rows, WIDTH) if rows else []), end])


def _below(workspace: Workspace, path: Path) -> str:
    return plain(path.relative_to(workspace.root), 200)


def stop(
    run: RunName,
    wait: Annotated[float, typer.Option(help="Seconds for its checkpoint.", metavar="S", min=0.1)] = 120.0,
    kill: Annotated[bool, typer.Option("--kill", help="After these end it without one.")] = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Stop a run, here or on another machine: it writes a checkpoint and ends, which is waited for.

    One that does not answer is signalled, if its process is certainly its own, or its job of SLURM is cancelled. The
    same pretrain command resumes the run.

    Example: cxrssl runs stop mimic-msn
    """
    from cxrssl.results.stop import stop_run

    opened = open_workspace(workspace)
    folder = opened.find_run(run, or_job=True)
    for sentence in stop_run(folder, opened.jobs / folder.name, wait, kill):
        typer.echo(sentence)
