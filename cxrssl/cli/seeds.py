"""What `cxrssl pretrain` does with the plans of one seed or of several: submit them, describe them, train them.

In: plans that differ in the seed alone. Out: a summary for each. Never: torch imported to submit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cxrssl.cli.options import align, narrate, next_line, open_workspace
from cxrssl.core.errors import CxrsslError, GuardStop
from cxrssl.core.signals import note_saved
from cxrssl.core.text import count_noun

if TYPE_CHECKING:
    from cxrssl.train.loop import RunResult
    from cxrssl.train.plan import RunPlan

ENTRY = "cxrssl.cli.app:run"
"""What runs the words of a command in another process."""
Summary = dict[str, Any]
T = TypeVar("T")


def words_of_seed(words: Sequence[str], plan: RunPlan, num_seeds: int) -> list[str]:
    """Return the words of the command for one of its seeds alone; the last of an option counts."""
    if num_seeds == 1:
        return list(words)
    return [*words, "--seeds", "1", "--set", f"train.seed={plan.recipe.train.seed}"]


def submit_plans(
    plans: Sequence[RunPlan],
    nodes: int,
    gpus: int,
    options: Mapping[str, str | bool],
    workspace: Path,
    words: Sequence[str],
) -> Iterator[tuple[Summary, list[str]]]:
    """Submit each plan that is not finished as a job of its own, and yield what to say of it, as data and as lines."""
    from dataclasses import asdict

    from cxrssl.launch.slurm import submit

    for plan in plans:
        if plan.files.is_published:
            continue
        own = [*words_of_seed(words, plan, len(plans)), "--workspace", str(workspace.absolute())]
        job = submit(_make_executor(plan, nodes, gpus, options, workspace), own, ENTRY)
        lines = [
            f"job {job.job_id}: run {plan.run_id}, {count_noun(nodes, 'node')} of {count_noun(gpus, 'task')}",
            f"  its log: {job.log}",
            f"  watch it: squeue --job {job.job_id}",
            next_line("dashboard", workspace=workspace, what="  or"),
            f"  stop it, with a checkpoint: scancel {job.job_id}",
        ]
        yield {"run_id": plan.run_id, "folder": str(plan.folder), **asdict(job)}, lines


def script_of(plan: RunPlan, nodes: int, gpus: int, options: Mapping[str, str | bool], workspace: Path) -> str:
    """Return the batch script that the job of a plan would have."""
    from cxrssl.launch.slurm import make_script

    return make_script(_make_executor(plan, nodes, gpus, options, workspace))


def _make_executor(plan: RunPlan, nodes: int, gpus: int, options: Mapping[str, str | bool], workspace: Path) -> Any:
    from cxrssl.launch.slurm import make_executor

    folder = open_workspace(workspace).jobs / plan.run_id
    return make_executor(folder, plan.run_id, nodes, gpus, plan.machine.device != "cpu", options)


def describe_plans(plans: Sequence[RunPlan]) -> Summary:
    """Return what runs will take on this machine, as measured by a few steps of the first."""
    from dataclasses import asdict

    from cxrssl.evaluate.visible import find_visible
    from cxrssl.train.device import choose_device
    from cxrssl.train.estimate import estimate_run
    from cxrssl.train.pooled import list_members

    plan = plans[0]
    shown: Summary = {"smallest_difference": find_visible(plan.cohort, plan.images, plan.scheme, len(plans))}
    if members := list_members(plan.cohort, plan.images, plan.scheme, plan.rows):
        # A probe is of one cohort, and so is what it can show.
        shown = {
            "cohorts": [asdict(each) for each in members],
            "smallest_difference": _find_visible_apart(plan, len(plans)),
        }
    estimate = asdict(estimate_run(plan, choose_device(plan.machine.device)))
    sizes = {"num_films": len(plan.rows), "steps_per_epoch": plan.steps_per_epoch, "num_steps": plan.num_steps}
    several = {"run_ids": [each.run_id for each in plans], "all_runs_s": estimate["run_s"] * len(plans)}
    recipe = {"recipe": plan.recipe.to_dict()}
    return {"run_id": plan.run_id, **sizes, **estimate, **shown, **recipe, **(several if len(plans) > 1 else {})}


def _find_visible_apart(plan: RunPlan, num_seeds: int) -> Summary:
    """Return what the test films of each of several cohorts can show, by cohort."""
    from cxrssl.cohort.pool import PooledCohort
    from cxrssl.evaluate.visible import find_visible
    from cxrssl.images.pool import PooledImages

    cohort, images = plan.cohort, plan.images
    assert isinstance(cohort, PooledCohort), "several cohorts"
    assert isinstance(images, PooledImages), "as their films are"
    films = zip(cohort.members, images.members, strict=True)
    return {
        each.name: find_visible(each, packed, cohort.own_split_of(number, plan.scheme), num_seeds)
        for number, (each, packed) in enumerate(films)
    }


def describe_plan_lines(plan: Summary) -> list[str]:
    """Return those numbers for people."""
    from cxrssl.core.progress import format_seconds
    from cxrssl.core.text import format_bytes
    from cxrssl.stats.power import describe_in_words

    train, run_ids = plan["recipe"]["train"], plan.get("run_ids", [plan["run_id"]])
    films = f"{format_bytes(plan['films_bytes'])} of films"
    rows = [
        ("films", f"{plan['num_films']:,}"),
        ("steps", f"{plan['num_steps']:,} ({train['num_epochs']:,} epochs of {plan['steps_per_epoch']:,})"),
        ("memory", format_bytes(plan["memory_bytes"])),
        ("step", f"{plan['step_s']:.3g} s, {train['batch_size'] / plan['step_s']:,.0f} films/s"),
        ("run", format_seconds(plan["run_s"])),
    ]
    if len(run_ids) > 1:
        rows.append((f"{len(run_ids)} runs, one after another", format_seconds(plan["all_runs_s"])))
    return [
        *(f"run {run_id}" for run_id in run_ids),
        *align(rows),
        f"  {films} will be " + ("held by the device" if plan["holds_films"] else "read as they are needed"),
        "  measured on a few small steps on this machine; nothing was trained",
        *(
            f"cohort {each['cohort']}: {describe_in_words(plan['smallest_difference'][each['cohort']])}"
            for each in plan.get("cohorts", ())
        ),
        *([] if "cohorts" in plan else [describe_in_words(plan["smallest_difference"])]),
    ]


def start_processes(plans: Sequence[RunPlan], gpus: int, words: Sequence[str]) -> None:
    """Train each plan in `gpus` processes, one plan after another; the processes print their own summary."""
    from cxrssl.launch.torchrun import run_processes

    for _ in each_plan(plans, lambda plan: run_processes(gpus, words_of_seed(words, plan, len(plans)))):
        pass


def train_plans(plans: Sequence[RunPlan], workspace: Path) -> Iterator[tuple[Summary, list[str]]]:
    """Train each plan in this process, one after another, and yield what to say of it, as data and as lines."""
    for plan, result in zip(plans, each_plan(plans, lambda plan: _train(plan, len(plans))), strict=False):
        yield {"folder": str(plan.folder), **vars(result)}, _describe_result(plan, result, workspace)


def each_plan(plans: Sequence[RunPlan], train: Callable[[RunPlan], T]) -> Iterator[T]:
    """Yield what `train` returns for each plan. A run that stops itself leaves the others to be trained.

    Raises: GuardStop in the end when one of several has stopped itself; at once whatever else `train` raises.
    """
    stopped: list[tuple[RunPlan, CxrsslError]] = []
    for plan in plans:
        try:
            result = train(plan)
        except CxrsslError as error:
            if len(plans) == 1 or error.exit_code != GuardStop.exit_code:
                raise
            narrate(f"run {plan.run_id}: {error.what}; the other seeds are trained")
            stopped.append((plan, error))
            continue
        note_saved(f"run {plan.run_id}")
        yield result
    if stopped:
        plan, first = stopped[0]
        what = f"{len(stopped)} of {len(plans)} runs stopped themselves; {plan.run_id}: {first.what}"
        raise GuardStop(what, first.where, first.hint)


def _train(plan: RunPlan, num_seeds: int) -> RunResult:
    from cxrssl.core.process import is_first

    if is_first():
        steps = f"{count_noun(len(plan.rows), 'film')}, {count_noun(plan.num_steps, 'step')}"
        narrate(f"run {plan.run_id}: {steps}; load torch and begin")
    # It brings torch, which a login node that only submits need not load.
    from cxrssl.train import loop
    from cxrssl.train.seeds import pretrain_alone

    return loop.pretrain(plan) if num_seeds == 1 else pretrain_alone(plan)


def _describe_result(plan: RunPlan, result: RunResult, workspace: Path) -> list[str]:
    from cxrssl.core.progress import format_seconds

    is_resumed = plan.first_step < result.resumed_from < result.num_steps
    return [
        f"run {result.run_id}",
        f"  {result.num_steps:,} steps on {len(plan.rows):,} films"
        + (", was finished already" if result.was_finished else f", {format_seconds(result.wall_s)}")
        + (f", resumed from step {result.resumed_from:,}" if is_resumed else ""),
        next_line("probe", result.run_id, workspace=workspace),
    ]
