"""`cxrssl runs resume, extend`: continue a run with the settings that it recorded."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, AsJson, RunName, WorkspacePath, open_workspace, print_summary
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import plain

if TYPE_CHECKING:
    from cxrssl.core.workspace import Workspace
    from cxrssl.recipe.settings import Recipe
    from cxrssl.records.run import RunDescription
    from cxrssl.train.plan import RunPlan

ShowCommand = Annotated[bool, typer.Option("--print", help="Print the command, and run nothing.")]
Place = Sequence[tuple[str, str]]


def resume(
    run: RunName,
    show: ShowCommand = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Resume a run from its newest checkpoint, with the settings of the place that this was made with.

    Example: cxrssl runs resume mimic-msn
    """
    from cxrssl.results.resume import find_place, find_resumed

    opened = open_workspace(workspace)
    folder = opened.find_run(run)
    description, recipe, words = find_resumed(folder)
    place = find_place(folder)
    line = _line(words, place)
    if show:
        _show(line, folder, as_json)
        return
    plan = _plan(opened, folder, description, recipe, place, line)
    if plan.run_id != folder.name:
        changed = [name for name, value in plan.origin.items() if value != getattr(description, name)]
        what = f"run {folder.name} cannot be resumed: {', '.join(changed) or 'its name'} changed since it began"
        raise DataError(what, folder, "bring the cohort and its films back as they were")
    _train(plan, workspace, as_json)


def extend(
    run: RunName,
    epochs: Annotated[int, typer.Option(help="Epochs in all, those that are done too.", metavar="N", min=1)],
    schedule: Annotated[
        str, typer.Option(help="cosine begins the schedules anew, hold keeps their ends.", metavar="NAME")
    ] = "cosine",
    show: ShowCommand = False,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Continue a finished run for more epochs, as a run of its own that begins with the whole last state of that one.

    It continues with the weights, the optimiser, the target and the order of films, and prints its schedules first.
    The same command resumes it. For a job or several GPUs add options to the command that --print prints.

    Example: cxrssl runs extend mimic-msn --epochs 200
    """
    from cxrssl.results.resume import find_extension, find_place

    if schedule not in ("cosine", "hold"):
        raise UsageError(f'--schedule is "{plain(schedule, 40)}"', hint="cosine or hold")
    opened = open_workspace(workspace)
    folder = opened.find_run(run)
    description, recipe, words = find_extension(folder, epochs, schedule)
    place = find_place(folder)
    line = _line(words, place)
    if show:
        _show(line, folder, as_json)
        return
    plan = _plan(opened, folder, description, recipe, place, line)
    for sentence in plan.warnings:
        typer.echo(f"cxrssl: note: {sentence}", err=True)
    _train(plan, workspace, as_json)


def _line(words: list[str] | None, place: Place) -> str:
    return shlex.join(["cxrssl", *words, *(word for option in place for word in option)]) if words else ""


def _show(line: str, folder: Path, as_json: bool) -> None:
    if not line:
        raise UsageError(f"no command line says the recipe of run {folder.name}", hint="leave --print out")
    print_summary({"run_id": folder.name, "command": line}, as_json, [line])


def _plan(
    workspace: Workspace, folder: Path, description: RunDescription, recipe: Recipe, place: Place, line: str
) -> RunPlan:
    """Return the plan of a recipe on what a run was trained on, where its newest checkpoint was made."""
    from cxrssl.cohort.where import find_films
    from cxrssl.recipe.load import load_machine
    from cxrssl.results.command import default_label, label_of
    from cxrssl.train.plan import plan_run

    if any(option[0] == "--gpus" for option in place):
        raise UsageError(f"run {folder.name} was trained by several processes", folder, line or "give its own command")
    device = next((option[1] for option in place if option[0] == "--device"), "auto")
    machine = load_machine([option[1] for option in place if option[0] == "--machine"], device)
    label = label_of(description, recipe)
    name = "" if label == default_label(recipe) else label
    return plan_run(workspace, description.cohort, recipe, machine, name, find_films=find_films)


def _train(plan: RunPlan, workspace: Path, as_json: bool) -> None:
    from cxrssl.cli.seeds import train_plans

    for summary, lines in train_plans([plan], workspace):
        print_summary(summary, as_json, lines)
