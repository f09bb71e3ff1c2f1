"""`cxrssl ablate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.completion import complete_grid
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

if TYPE_CHECKING:
    from cxrssl.records.ablation import AblationTable, DifferenceRow, Number


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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run nothing; print the arms and what they take.")] = False,
    device: DeviceName = "auto",
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
    from cxrssl.ablate.run import bind, find_devices, plan_study, publish_study, run_study

    opened = open_workspace(workspace)
    study = plan_study(opened, load_grid(grid, controls), name)
    done = study.find_done()
    narrate(f"ablation {study.name}: {describe_jobs(study.jobs)}, {len(done):,} done")
    if dry_run:
        rows = [(job.row.name, str(job.seed), "done" if job.run_id in done else "", job.run_id) for job in study.jobs]
        lines = align_rows([("arm", "seed", "", "run"), *rows])
        print_summary({job.run_id: {"arm": job.row.arm} for job in study.jobs}, as_json, lines)
        return
    devices = find_devices(device)
    num_slots = jobs or max(1, len(devices))
    place = bind(study, device, num_slots, devices)
    queue = run_study(study, place, num_slots, fail_fast, narrate)
    ablation = publish_study(study, place.contract)
    table = ablation.table
    lines = [*describe_table(table), f"written to {ablation.path}", next_line("report", workspace=workspace)]
    print_summary({"folder": str(ablation.path), **table.to_dict()}, as_json, lines)
    raise_failures(queue.failures)


def describe_table(table: AblationTable) -> list[str]:
    """Return the table of an ablation as lines: the primary comparison, the arms, all other differences."""
    from cxrssl.stats.resample import explain_marks
    from cxrssl.stats.seeds import ONE_SEED

    lines = [table.question] if table.question else []
    primary = table.primary
    if primary is None:
        lines.append("primary comparison: not made, because runs of its arms are missing")
    else:
        shown = getattr(primary, table.metric).interval.to_text(signed=True)
        lines.append(
            f"primary comparison, declared beforehand: {primary.arm} - {primary.against} on {primary.cohort}, "
            f"macro {table.metric.upper()} {shown}"
        )
    head = ("arm", "cohort", "seeds", "AUROC", "sd", "by seed")
    rows = [(row.arm, row.cohort, str(row.num_seeds), *_cells(row.auroc)) for row in table.rows.values()]
    lines += ["", *align_rows([head, *rows])]
    others = [row for row in table.differences.values() if row is not primary]
    if others:
        lines += ["", "all others are exploratory:", *align_rows(_difference_rows(others))]
    if len(table.seeds) == 1:
        lines.append(ONE_SEED)
    numbers = [row.auroc for row in table.rows.values()] + [row.auroc for row in table.differences.values()]
    lines += explain_marks(number.interval for number in numbers)
    lines += [f"missing: {name}" for name in table.missing]
    return lines


def _difference_rows(differences: Sequence[DifferenceRow]) -> list[tuple[str, ...]]:
    head = ("arm", "minus", "cohort", "AUROC", "sd", "by seed")
    cells = [(row.arm, row.against, row.cohort, *_cells(row.auroc, True)) for row in differences]
    return [head, *cells]


def _cells(number: Number, signed: bool = False) -> tuple[str, str, str]:
    """Return a number with its interval, its standard deviation over seeds, and its value by seed."""
    sd = "" if number.sd_seeds != number.sd_seeds else f"{number.sd_seeds:.3f}"
    by_seed = " ".join(f"{value:+.3f}" if signed else f"{value:.3f}" for value in number.by_seed.values())
    return number.interval.to_text(signed), sd, by_seed
