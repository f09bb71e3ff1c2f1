"""`cxrssl pretrain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cxrssl.cli.completion import (
    Complete,
    complete_backbone,
    complete_cohort,
    complete_device,
    complete_machine_key,
    complete_recipe,
    complete_recipe_key,
    complete_run,
)
from cxrssl.cli.external import read_numbers
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    WorkspacePath,
    narrate,
    open_workspace,
    print_summary,
)
from cxrssl.cli.seeds import (
    Summary,
    describe_plan_lines,
    describe_plans,
    script_of,
    start_processes,
    submit_plans,
    train_plans,
)
from cxrssl.cohort.own import learn_features
from cxrssl.core.errors import UsageError

WHAT, WHERE = "What to train", "Where to train it"


def _option(
    panel: str, metavar: str, help: str, complete: Complete | None = None, name: str = "", minimum: int | None = None
) -> Any:
    names = [name] if name else []
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, autocompletion=complete, min=minimum)


def pretrain(
    context: typer.Context,
    recipe: Annotated[str, _option(WHAT, "NAME", "strict, paper, demo or FILE.toml.", complete_recipe)] = "strict",
    backbone: Annotated[
        str,
        _option(
            WHAT, "NAME", "vit-tiny, vit-tiny-6h, vit-small, vit-base, vit-micro or timm:<name>.", complete_backbone
        ),
    ] = "",
    ehr: Annotated[
        str,
        _option(
            WHAT,
            "LIST",
            "Groups and features (cxrssl help record), or none.",
        ),
    ] = "",
    predict: Annotated[str, _option(WHAT, "LIST", "Features that are predicted from the film.")] = "",
    init: Annotated[
        str,
        _option(
            WHAT,
            "RUN|PATH",
            "Start from weights of a run, RUN:anchor, or of files.",
            complete_run,
        ),
    ] = "",
    # Of files of others; `cxrssl help finetuning` has them.
    pixel_mean: Annotated[str, typer.Option(hidden=True)] = "",
    pixel_std: Annotated[str, typer.Option(hidden=True)] = "",
    ignore: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    seed: Annotated[int | None, _option(WHAT, "N", "Seed of the weights, the order, crops and masks.")] = None,
    seeds: Annotated[int, _option(WHAT, "N", "Runs, of this seed and the next.", minimum=1)] = 1,
    set_: Annotated[
        list[str] | None,
        _option(
            WHAT,
            "SECT.KEY=VALUE",
            "A key of cxrssl recipe keys; repeatable.",
            complete_recipe_key,
            "--set",
        ),
    ] = None,
    cohort: Annotated[str, _option(WHAT, "NAME,NAME", "Cohorts; left out, the only one.", complete_cohort)] = "",
    where: Annotated[str, _option(WHAT, "SQL", "Only films that meet it: \"view IN ('PA','AP')\".")] = "",
    device: Annotated[str, _option(WHERE, "NAME", "auto, cpu or cuda.", complete_device)] = "auto",
    machine: Annotated[
        list[str] | None,
        _option(WHERE, "KEY=VALUE", "Such as micro_batch=16; repeatable.", complete_machine_key),
    ] = None,
    gpus: Annotated[int, _option(WHERE, "N", "Devices, or CPU processes, that share every batch.", minimum=1)] = 1,
    nodes: Annotated[int, _option(WHERE, "N", "Machines that share every batch, with --slurm.", minimum=1)] = 1,
    slurm: Annotated[
        list[str] | None,
        _option(WHERE, "KEY=VALUE", "An option of sbatch, as time=24:00:00; submits a job."),
    ] = None,
    show_plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Train nothing; print steps, memory, time, or script.",
        ),
    ] = False,
    name: Annotated[str, typer.Option(help="Label of the run in its id.", metavar="NAME")] = "",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Pretrain a masked siamese network on the train films of cohorts, with parts of the health record or without.

    The same command resumes an interrupted run and does nothing when the run is finished. With --slurm the run is a
    job, which is queued again when it is preempted or its time is over.

    Example: cxrssl pretrain --backbone vit-tiny --ehr demo,meta,stay
    """
    from cxrssl.cohort.where import find_films
    from cxrssl.core.process import find_launch, is_first
    from cxrssl.launch.slurm import parse_options
    from cxrssl.launch.torchrun import check_devices
    from cxrssl.recipe.load import load_machine, load_recipe, recipe_names
    from cxrssl.train.plan import plan_run, plan_seeds
    from cxrssl.train.start import FileOptions, find_shape, find_start

    options = parse_options(slurm) if slurm else {}
    learn_features(workspace.absolute() / "cohorts")
    place, changes = load_machine(machine or [], device), recipe_changes(backbone, ehr, seed, predict, init, where)
    load_recipe(recipe, set_ or [], changes)  # a wrong word is reported before the workspace is opened
    opened = open_workspace(workspace)
    if init and not backbone and recipe in recipe_names():
        changes["model"] = {**find_shape(opened, init), **changes["model"]}
    settings = load_recipe(recipe, set_ or [], changes)
    said = FileOptions(
        read_numbers(pixel_mean, "--pixel-mean"), read_numbers(pixel_std, "--pixel-std"), tuple(ignore or ())
    )
    if said != FileOptions() and not settings.model.init:
        raise UsageError("--pixel-mean, --pixel-std and --ignore are of the files of --init, which is left out")
    start = find_start(opened, settings, said) if settings.model.init and not settings.train.extends else None
    plans = plan_seeds(plan_run(opened, cohort, settings, place, name, start=start, find_films=find_films), seeds)
    if is_first():
        for sentence in plans[0].warnings:
            typer.echo(f"cxrssl: note: {sentence}", err=True)
    _check_processes(settings.train.batch_size, gpus, nodes, bool(slurm), seeds)
    waiting = [plan for plan in plans if not plan.files.is_published]
    if slurm and not find_launch() and show_plan:
        typer.echo("\n".join(script_of(plan, nodes, gpus, options, workspace) for plan in plans))
    elif slurm and not find_launch() and waiting:
        _print_each(submit_plans(plans, nodes, gpus, options, workspace, context.obj), seeds, "jobs", as_json)
    elif show_plan:
        narrate("load torch and measure a few steps")
        values = describe_plans(plans)
        print_summary(values, as_json, describe_plan_lines(values))
    elif gpus > 1 and not find_launch():
        check_devices(gpus, place.device)
        start_processes(plans, gpus, context.obj)
    else:
        _print_each(train_plans(plans, workspace), seeds, "runs", as_json)


def _print_each(done: Iterator[tuple[Summary, list[str]]], num_seeds: int, what: str, as_json: bool) -> None:
    """Print what was done for each seed as soon as it is, or in one JSON object also when a later one fails."""
    from cxrssl.core.process import is_first

    summaries = []
    try:
        for summary, lines in done:
            summaries.append(summary)
            if is_first() and not as_json:
                print_summary(summary, False, lines)
    finally:
        if is_first() and as_json and summaries:
            print_summary(summaries[0] if num_seeds == 1 else {what: summaries}, True, [])


def _check_processes(batch_size: int, gpus: int, nodes: int, has_slurm: bool, seeds: int) -> None:
    """Raise UsageError when the batch cannot be shared as asked, or by other processes than those asked for."""
    from cxrssl.core.process import find_launch

    place = find_launch()
    if place is not None and seeds > 1:
        what = f"--seeds asks for {seeds} runs one after another, and these processes were started for one"
        raise UsageError(what, hint="start them for each run, with --seed")
    if place is not None and gpus not in (1, place.local_world_size):
        what = f"--gpus asks for {gpus} processes of this machine, and {place.local_world_size} were started"
        raise UsageError(what)
    if nodes > 1 and not (has_slurm or place):
        hint = "on SLURM add --slurm time=24:00:00; elsewhere start torchrun on each machine"
        raise UsageError(f"this command cannot start processes on {nodes} machines", hint=hint)
    if batch_size % (gpus * nodes):
        raise UsageError(f"a batch of {batch_size} films cannot be shared evenly by {gpus * nodes} processes")


def recipe_changes(
    backbone: str = "", ehr: str = "", seed: int | None = None, predict: str = "", init: str = "", where: str = ""
) -> dict[str, dict[str, Any]]:
    """Return the recipe tables that the flags change; a flag left out changes nothing.

    Naming an outcome in `--ehr` or `--predict` counts as permission to use it.
    """
    from cxrssl.cohort.features import is_outcome_used, parse_ehr

    named = {key: parse_ehr(text) for key, text in (("features", ehr), ("predict", predict)) if text}
    changes: dict[str, dict[str, Any]] = {"ehr": {key: list(names) for key, names in named.items()}} if named else {}
    if is_outcome_used([name for names in named.values() for name in names]):
        changes["ehr"]["may_use_outcomes"] = True
    model = {key: text for key, text in (("backbone", backbone), ("init", init)) if text}
    if model:
        changes["model"] = model
    if condition := " ".join(where.split()):
        changes["data"] = {"where": condition}
    return changes if seed is None else {**changes, "train": {"seed": seed}}
