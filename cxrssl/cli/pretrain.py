"""`cxrssl pretrain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli.completion import (
    Complete,
    complete_backbone,
    complete_cohort,
    complete_device,
    complete_machine_key,
    complete_recipe,
    complete_recipe_key,
)
from cxrssl.cli.options import (
    COHORT_HELP,
    DEFAULT_WORKSPACE,
    AsJson,
    WorkspacePath,
    align,
    narrate,
    next_line,
    open_workspace,
    print_summary,
)
from cxrssl.core.errors import UsageError
from cxrssl.core.text import count_noun

if TYPE_CHECKING:
    from cxrssl.train.plan import RunPlan


ENTRY = "cxrssl.cli.app:run"
"""What runs the words of a command in another process."""
WHAT, WHERE = "What to train", "Where to train it"


def _option(
    panel: str, metavar: str, help: str, complete: Complete | None = None, name: str = "", minimum: int | None = None
) -> Any:
    names = [name] if name else []
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, autocompletion=complete, min=minimum)


def pretrain(
    context: typer.Context,
    recipe: Annotated[str, _option(WHAT, "NAME", "strict, paper, demo, or a TOML file.", complete_recipe)] = "strict",
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
            "Groups and features in any mix, see cxrssl help record; none for vanilla MSN.",
        ),
    ] = "",
    predict: Annotated[str, _option(WHAT, "LIST", "Features that are predicted from the film.")] = "",
    seed: Annotated[int | None, _option(WHAT, "N", "Seed of the weights, the order, crops and masks.")] = None,
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
    cohort: Annotated[str, _option(WHAT, "NAME", COHORT_HELP, complete_cohort)] = "",
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
            help="Train nothing; print steps, memory and time, or the batch script.",
        ),
    ] = False,
    name: Annotated[str, typer.Option(help="Label of the run in its id.", metavar="NAME")] = "",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Pretrain a masked siamese network on a cohort's train films, with parts of the health record or without.

    The same command resumes an interrupted run and does nothing when the run is finished. With --slurm the run is a
    job, which is queued again when it is preempted or its time is over.

    Example: cxrssl pretrain --backbone vit-tiny --ehr demo,meta,stay
    """
    from cxrssl.core.process import find_launch, is_first
    from cxrssl.core.progress import format_seconds
    from cxrssl.launch.slurm import parse_options
    from cxrssl.launch.torchrun import check_devices, run_processes
    from cxrssl.recipe.load import load_machine, load_recipe
    from cxrssl.train.plan import plan_run

    options = parse_options(slurm) if slurm else {}
    settings = load_recipe(recipe, set_ or [], recipe_changes(backbone, ehr, seed, predict))
    place = load_machine(machine or [], device)
    plan = plan_run(open_workspace(workspace), cohort, settings, place, name)
    if is_first():
        for sentence in plan.warnings:
            typer.echo(f"cxrssl: note: {sentence}", err=True)
    _check_processes(settings.train.batch_size, gpus, nodes, bool(slurm))
    if slurm and not find_launch() and (show_plan or not plan.files.is_published):
        _submit(plan, nodes, gpus, options, workspace, [] if show_plan else context.obj, as_json)
        return
    if show_plan:
        narrate("load torch and measure a few steps")
        values = describe_plan(plan)
        print_summary(values, as_json, _describe_plan_lines(values))
        return
    if gpus > 1 and not find_launch():
        check_devices(gpus, place.device)
        run_processes(gpus, context.obj)
        return
    if is_first():
        steps = f"{count_noun(len(plan.rows), 'film')}, {count_noun(plan.num_steps, 'step')}"
        narrate(f"run {plan.run_id}: {steps}; load torch and begin")
    # It brings torch, which a login node that only submits need not load.
    from cxrssl.train.loop import pretrain as train

    result = train(plan)
    if not is_first():
        return
    lines = [
        f"run {result.run_id}",
        f"  {result.num_steps:,} steps on {len(plan.rows):,} films"
        + (", was finished already" if result.was_finished else f", {format_seconds(result.wall_s)}")
        + (f", resumed from step {result.resumed_from:,}" if 0 < result.resumed_from < result.num_steps else ""),
        next_line("probe", result.run_id, workspace=workspace),
    ]
    print_summary({"folder": str(plan.folder), **vars(result)}, as_json, lines)


def _check_processes(batch_size: int, gpus: int, nodes: int, has_slurm: bool) -> None:
    """Raise UsageError when the batch cannot be shared as asked, or by other processes than those asked for."""
    from cxrssl.core.process import find_launch

    place = find_launch()
    if place is not None and gpus not in (1, place.local_world_size):
        what = f"--gpus asks for {gpus} processes of this machine, and {place.local_world_size} were started"
        raise UsageError(what)
    if nodes > 1 and not (has_slurm or place):
        hint = "on SLURM add --slurm time=24:00:00; elsewhere start torchrun on each machine"
        raise UsageError(f"this command cannot start processes on {nodes} machines", hint=hint)
    if batch_size % (gpus * nodes):
        raise UsageError(f"a batch of {batch_size} films cannot be shared evenly by {gpus * nodes} processes")


def _submit(
    plan: RunPlan,
    nodes: int,
    gpus: int,
    options: dict[str, str | bool],
    workspace: Path,
    words: Sequence[str],
    as_json: bool,
) -> None:
    """Submit the command of these words as a job; without words print the batch script."""
    from dataclasses import asdict

    from cxrssl.launch.slurm import make_executor, make_script, submit

    folder = open_workspace(workspace).jobs / plan.run_id
    executor = make_executor(folder, plan.run_id, nodes, gpus, plan.machine.device != "cpu", options)
    if not words:
        typer.echo(make_script(executor))
        return
    job = submit(executor, [*words, "--workspace", str(workspace.absolute())], ENTRY)
    lines = [
        f"job {job.job_id}: run {plan.run_id}, {count_noun(nodes, 'node')} of {count_noun(gpus, 'task')}",
        f"  its log: {job.log}",
        f"  watch it: squeue --job {job.job_id}",
        next_line("dashboard", workspace=workspace, what="  or"),
        f"  stop it, with a checkpoint: scancel {job.job_id}",
    ]
    print_summary({"run_id": plan.run_id, "folder": str(plan.folder), **asdict(job)}, as_json, lines)


def describe_plan(plan: RunPlan) -> dict[str, Any]:
    """Return what a run will take on this machine, as measured by a few steps."""
    from dataclasses import asdict

    from cxrssl.train.device import choose_device
    from cxrssl.train.estimate import estimate_run

    estimate = estimate_run(plan, choose_device(plan.machine.device))
    sizes = {"num_films": len(plan.rows), "steps_per_epoch": plan.steps_per_epoch, "num_steps": plan.num_steps}
    return {"run_id": plan.run_id, **sizes, **asdict(estimate), "recipe": plan.recipe.to_dict()}


def _describe_plan_lines(plan: dict[str, Any]) -> list[str]:
    from cxrssl.core.progress import format_seconds
    from cxrssl.core.text import format_bytes

    train = plan["recipe"]["train"]
    films = f"{format_bytes(plan['films_bytes'])} of films"
    return [
        f"run {plan['run_id']}",
        *align(
            [
                ("films", f"{plan['num_films']:,}"),
                ("steps", f"{plan['num_steps']:,} ({train['num_epochs']:,} epochs of {plan['steps_per_epoch']:,})"),
                ("memory", format_bytes(plan["memory_bytes"])),
                ("step", f"{plan['step_s']:.3g} s, {train['batch_size'] / plan['step_s']:,.0f} films/s"),
                ("run", format_seconds(plan["run_s"])),
            ]
        ),
        f"  {films} will be " + ("held by the device" if plan["holds_films"] else "read as they are needed"),
        "  measured on a few small steps on this machine; nothing was trained",
    ]


def recipe_changes(
    backbone: str = "", ehr: str = "", seed: int | None = None, predict: str = ""
) -> dict[str, dict[str, Any]]:
    """Return the recipe tables that the flags change; a flag left out changes nothing.

    Naming an outcome in `--ehr` or `--predict` counts as permission to use it.
    """
    from cxrssl.cohort.features import is_outcome_used, parse_ehr

    named = {key: parse_ehr(text) for key, text in (("features", ehr), ("predict", predict)) if text}
    changes: dict[str, dict[str, Any]] = {"ehr": {key: list(names) for key, names in named.items()}} if named else {}
    if is_outcome_used([name for names in named.values() for name in names]):
        changes["ehr"]["may_use_outcomes"] = True
    if backbone:
        changes["model"] = {"backbone": backbone}
    return changes if seed is None else {**changes, "train": {"seed": seed}}
