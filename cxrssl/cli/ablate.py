"""`cxrssl ablate`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.completion import complete_grid, complete_machine_key
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    DeviceName,
    WorkspacePath,
    narrate,
    next_line,
    open_workspace,
    print_summary,
)
from cxrssl.core.columns import align_rows
from cxrssl.core.errors import UsageError
from cxrssl.core.numbers import score_text
from cxrssl.core.text import count_noun

if TYPE_CHECKING:
    from cxrssl.ablate.contract import Job
    from cxrssl.ablate.run import Study
    from cxrssl.records.ablation import Ablation, AblationTable, ArmRow, DifferenceRow

ROUGHLY = (0.7, 1.5)
"""The time of a run is shown as a range: these multiples of the estimate from a few small steps."""
ENTRY = "cxrssl.cli.app:run"
"""What runs the words of a command in another process."""


def ablate(
    grid: Annotated[
        str,
        typer.Argument(
            help="A TOML file, or a grid of the package: controls, paper, quick.",
            metavar="GRID",
            autocompletion=complete_grid,
        ),
    ],
    name: Annotated[
        str, typer.Option(help="Name of the ablation; that of the grid when left out.", metavar="NAME")
    ] = "",
    controls: Annotated[
        bool, typer.Option("--controls", help="Add the wrong-record and the zero-record arm to each with the record.")
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast/--keep-going", help="What the first run that fails does to the others.")
    ] = False,
    jobs: Annotated[
        int, typer.Option(help="Runs beside each other; 0: one a GPU, or one on the CPU.", min=0, metavar="N")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run nothing; print arms, time, memory, and the smallest difference.")
    ] = False,
    collect: Annotated[
        bool, typer.Option("--collect", help="Run nothing; write and print the table of what is done.")
    ] = False,
    slurm: Annotated[
        list[str] | None,
        typer.Option(help="An option of sbatch, as time=24:00:00; submits a job for each run.", metavar="KEY=VALUE"),
    ] = None,
    run: Annotated[
        str, typer.Option(help="Make this run of the grid alone, as a job of a cluster does.", metavar="ID")
    ] = "",
    device: DeviceName = "auto",
    machine: Annotated[
        list[str] | None,
        typer.Option(
            help="Such as micro_batch=16; repeatable.", metavar="KEY=VALUE", autocompletion=complete_machine_key
        ),
    ] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Pretrain and probe every arm of a grid with every seed, and print one table with its primary comparison.

    The same command resumes what was interrupted, skips what is done and tries again what failed. It refuses to go on
    when the code, a recipe or the data have changed since the first run.

    Example: cxrssl ablate quick
    """
    from cxrssl.ablate.contract import describe_jobs
    from cxrssl.ablate.grid import load_grid
    from cxrssl.ablate.queue import raise_failures
    from cxrssl.ablate.run import collect as collect_table
    from cxrssl.ablate.run import find_place, plan_study, publish_study, run_study
    from cxrssl.launch.slurm import parse_options
    from cxrssl.recipe.load import load_machine

    options = parse_options(slurm) if slurm else {}
    load_machine(device=device)
    if sum(map(bool, (dry_run, collect, slurm, run))) > 1:
        raise UsageError("--dry-run, --collect, --slurm and --run exclude each other")
    opened = open_workspace(workspace)
    study = plan_study(opened, load_grid(grid, controls), name, machine or [])
    done = study.find_done()
    narrate(f"ablation {study.name}: {describe_jobs(study.jobs)}, {len(done):,} done")
    if dry_run:
        _show_costs(study, done, device, max(1, jobs), as_json)
        return
    if slurm:
        words = _words(grid, study, device, workspace)
        _submit(study, [job for job in study.jobs if job.run_id not in done], words, options, device, as_json)
        return
    if collect:
        _print_table(collect_table(study), workspace, as_json)
        return
    if run:
        study.find_job(run)
    place, num_slots = find_place(study, device, jobs)
    queue = run_study(study, place, num_slots, fail_fast, narrate, run)
    if run:
        raise_failures(queue.failures, queue.elsewhere)
        print_summary({"run_id": run}, as_json, [f"run {run} is done"])
        return
    _print_table(publish_study(study, place.contract), workspace, as_json)
    raise_failures(queue.failures, queue.elsewhere)


def _print_table(ablation: Ablation, workspace: Path, as_json: bool) -> None:
    lines = [*describe_table(ablation.table), f"written to {ablation.path}", next_line("report", workspace=workspace)]
    print_summary({"folder": str(ablation.path), **ablation.table.to_dict()}, as_json, lines)


def _words(grid: str, study: Study, device: str, workspace: Path) -> list[str]:
    """Return the words of this command for a job, which runs in another folder."""
    place = str(Path(grid).absolute()) if Path(grid).suffix == ".toml" else grid
    kind = "cpu" if device == "cpu" else "cuda"
    added = ["--controls"] if study.grid.has_controls else []
    added += [word for setting in study.machine for word in ("--machine", setting)]
    return ["ablate", place, "--name", study.name, *added, "--device", kind, "--workspace", str(workspace.absolute())]


def _submit(
    study: Study,
    jobs: Sequence[Job],
    words: Sequence[str],
    options: Mapping[str, str | bool],
    device: str,
    as_json: bool,
) -> None:
    """Submit a job for each of these runs."""
    from dataclasses import asdict

    from cxrssl.ablate.cluster import Cluster

    found = Cluster(study, tuple(words), ENTRY, options, device == "cpu").submit(jobs)
    lines = [f"job {submitted.job_id}: {job.name}, run {job.run_id}" for job, submitted in found]
    lines.append("when they are done, give the same command with --collect in place of --slurm")
    print_summary({job.run_id: asdict(submitted) for job, submitted in found}, as_json, lines)


def _show_costs(study: Study, done: Collection[str], device: str, num_slots: int, as_json: bool) -> None:
    """Print what the runs that are not done will take, and what the test sets can show."""
    from dataclasses import asdict

    from cxrssl.ablate.cost import estimate_costs, smallest_differences
    from cxrssl.core.progress import format_seconds
    from cxrssl.core.text import format_bytes
    from cxrssl.stats.power import USUAL

    visible = smallest_differences(study.jobs, study.grid.settings.probe)
    narrate("load torch and measure a few steps of each shape of run")
    costs = estimate_costs(study.jobs, device)
    left = [job for job in study.jobs if job.run_id not in done]
    total_s = sum(costs[job.row.name].run_s for job in left)
    rows = [("arm", "cohort", "seeds", "done", "films", "steps", "a run", "memory")]
    for row in study.grid.rows:
        of_row = [job for job in study.jobs if job.row is row]
        cost, num_done = costs[row.name], sum(job.run_id in done for job in of_row)
        sizes = (
            f"{cost.num_films:,}",
            f"{cost.num_steps:,}",
            format_seconds(cost.run_s),
            format_bytes(cost.memory_bytes),
        )
        rows.append((row.arm, of_row[0].cohort.name, str(len(of_row)), str(num_done), *sizes))
    lines = [
        *align_rows(rows, {2, 3, 4, 5, 6, 7}),
        f"{count_noun(len(left), 'run')} left, {count_noun(num_slots, 'run')} at a time: roughly "
        f"{' to '.join(format_seconds(total_s / num_slots * factor) for factor in ROUGHLY)}, and the probes; from "
        "a few small steps on this machine, as if it had nothing else to do",
        *(
            f"smallest difference in macro AUROC that {name} can show: {_name(value)}"
            for name, value in visible.items()
        ),
        f"  {USUAL}",
    ]
    smallest = study.grid.settings.min_difference
    if smallest and any(value > smallest for value in visible.values()):
        lines.append(f"  the grid wants to see {smallest:g}: more seeds or more test subjects are needed for that")
    values = {
        "costs": {name: asdict(cost) for name, cost in costs.items()},
        "runs": {job.run_id: {"arm": job.row.name, "seed": job.seed, "done": job.run_id in done} for job in study.jobs},
        "smallest_difference": {name: None if value != value else value for name, value in visible.items()},
        "assumptions": str(USUAL),
        "left_s": total_s,
    }
    print_summary(values, as_json, lines)


def _name(value: float) -> str:
    return "none, no finding has two subjects with it and two without" if value != value else f"{value:.3f}"


def describe_table(table: AblationTable) -> list[str]:
    """Return the table of an ablation as lines: the primary comparison, the arms, all other differences."""
    lines = [table.question] if table.question else []
    lines.append(table.describe_primary())
    if table.min_difference:
        lines.append(f"the smallest difference that would matter, declared beforehand: {table.min_difference:g}")
    head = ("arm", "cohort", "seeds", *_heads(table))
    rows = [(row.arm, row.cohort, str(row.num_seeds), *_cells(table, row)) for row in table.rows.values()]
    lines += ["", *align_rows([head, *rows])]
    others = {place: row for place, row in table.differences.items() if row is not table.primary}
    if others:
        lines += ["", "all others are exploratory:", *align_rows(_difference_rows(table, others))]
    lines += table.list_notes()
    return lines


def _difference_rows(table: AblationTable, differences: Mapping[str, DifferenceRow]) -> list[tuple[str, ...]]:
    from cxrssl.stats.holm import MARK, has_mark

    adjusted = table.adjust(table.metric)
    lines: list[tuple[str, ...]] = [("arm", "minus", "cohort", *_heads(table))]
    for place, row in differences.items():
        number, *others = _cells(table, row, True)
        mark = MARK if has_mark(adjusted[place]) else ""
        lines.append((row.arm, row.against, row.cohort, f"{number}{mark}", *others))
    return lines


def _heads(table: AblationTable) -> tuple[str, str, str]:
    return table.metric.upper(), "sd", f"by seed {', '.join(table.seeds)}"


def _cells(table: AblationTable, row: ArmRow | DifferenceRow, signed: bool = False) -> tuple[str, str, str]:
    """Return a number with its interval, its standard deviation over seeds, and its value by seed, - where missing."""
    number = table.number_of(row)
    sd = "" if number.sd_seeds != number.sd_seeds else f"{number.sd_seeds:.3f}"
    by_seed = [score_text(number.by_seed[seed], signed) if seed in number.by_seed else "-" for seed in table.seeds]
    return number.interval.to_text(signed), sd, " ".join(by_seed)
