"""`cxrssl demo`."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, WorkspacePath, make_workspace, next_line

if TYPE_CHECKING:
    from cxrssl.core.workspace import Workspace
    from cxrssl.synthetic import Record

DEMO_PX = 128
RECORD = "sex,age,view"
"""What changes the look of a film: the part of the record that helps an anchor to resemble its target."""
ARMS: tuple[tuple[str, str, list[str]], ...] = (
    ("vanilla MSN", "none", []),
    (f"MSN with {RECORD}", RECORD, []),
    (f"MSN with {RECORD} of other people", RECORD, ["ehr.control=shuffled"]),
)
"""What each is called, its record, and what else differs from the demo recipe."""
FEWEST = 40
"""Of so many patients more films than a batch has are for training, whatever the seed, and some for val and test."""


def demo(
    patients: Annotated[int, typer.Option(help="Patients of the synthetic hospital.", min=FEWEST, max=99_999)] = 640,
    seed: Annotated[int, typer.Option(help="Decides the hospital, the weights and the views.", min=0, max=2**31)] = 0,
    record: Annotated[
        str,
        typer.Option(
            help="What the record tells: none, look of the films, disease too, or mixed as in a hospital.",
            metavar="WORLD",
        ),
    ] = "mixed",
    odds: Annotated[
        float, typer.Option(help="Odds of every finding, times this: a second hospital.", min=0.1, max=10)
    ] = 1.0,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training films.", min=1)] = None,
    train: Annotated[bool, typer.Option(help="Train and report; --no-train stops after the cohort.")] = True,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Draw a synthetic hospital and run the whole chain on it: ingest, pretrain three times, probe, report.

    Trained are vanilla MSN, MSN with the record, and MSN with the record of other people. It takes less than ten
    minutes on two CPU cores. Films and records are drawn, not real; the numbers say nothing about patients.

    Example: cxrssl demo --workspace demo
    """
    from cxrssl.core.progress import format_seconds
    from cxrssl.report.formats.terminal import write_terminal
    from cxrssl.report.write import write_report
    from cxrssl.synthetic import parse_record

    started, world = time.monotonic(), parse_record(record)
    opened = make_workspace(workspace)
    opened.mark()
    suffix = ("" if world == "mixed" else f"-{world}") + ("" if odds == 1 else f"-odds{odds:g}")
    hospital = opened.root / f"synthetic-hospital-{patients}-s{seed}{suffix}"
    _say("draw the synthetic hospital")
    _draw_hospital(hospital, patients, seed, world, odds)
    _say("ingest it")
    cohort = f"demo{suffix}"
    _ingest(opened, hospital, cohort)
    if train:
        for number, (what, ehr, control) in enumerate(ARMS, 1):
            _say(f"pretrain {number}/{len(ARMS)}: {what}; then probe")
            changes = [] if epochs is None else [f"train.num_epochs={epochs}"]
            _pretrain(opened, cohort, [*changes, *control], ehr, seed)
        _say("report")
        report = write_report(opened, has_figures=True)
        typer.echo(write_terminal(report.document, shutil.get_terminal_size().columns))
        _say(f"report in {report.folder / 'report.html'}")
    _say(f"done in {format_seconds(time.monotonic() - started)}")
    next_words = ("dashboard",) if train else ("pretrain", "--recipe", "demo", "--cohort", cohort)
    _say(next_line(*next_words, workspace=workspace, what="look closer" if train else "next"))


def _ingest(workspace: Workspace, hospital: Path, cohort: str) -> None:
    """Publish the cohort and its films; one of another demo hospital in the same workspace gives way."""
    from cxrssl.cli.ingest import describe_cohort, describe_packed
    from cxrssl.cohort.ingest import IngestOptions, find_owner
    from cxrssl.ingest import ingest_dataset

    owner = find_owner(workspace.cohorts / cohort)
    is_own = owner is not None and Path(owner[1]).parent == workspace.root
    options = IngestOptions("mimic", hospital, name=cohort, size_px=DEMO_PX, may_replace=is_own)
    summary, packed = ingest_dataset(workspace, options)
    lines = describe_cohort(summary.values) + describe_packed(packed, workspace.images / cohort / "rejects.csv")
    typer.echo("\n".join(lines))


def _pretrain(workspace: Workspace, cohort: str, changes: list[str], ehr: str, seed: int) -> None:
    """Train and probe one arm; what was finished earlier is not repeated."""
    from cxrssl.cli.pretrain import recipe_changes
    from cxrssl.evaluate.run import probe_run
    from cxrssl.recipe.load import load_recipe
    from cxrssl.recipe.machine import Machine
    from cxrssl.records.eval_settings import ProbeSettings
    from cxrssl.train.loop import pretrain
    from cxrssl.train.plan import plan_run

    recipe = load_recipe("demo", changes, recipe_changes(ehr=ehr, seed=seed))
    result = pretrain(plan_run(workspace, cohort, recipe, Machine()))
    probe_run(workspace, result.run_id, cohort, "", ProbeSettings())


def _draw_hospital(root: Path, patients: int, seed: int, record: Record, odds: float = 1.0) -> None:
    """Write the hospital unless it is there whole; a half-written one is drawn again."""
    from cxrssl.core.artefact import is_published, publish
    from cxrssl.core.progress import Track, track
    from cxrssl.synthetic import HospitalSpec, write_hospital

    settings: dict[str, int | float | str] = {"patients": patients, "seed": seed}
    settings |= {} if record == "mixed" else {"record": record}
    settings |= {} if odds == 1 else {"odds": odds}
    if is_published(root, "synthetic hospital", settings):
        return
    with publish(root, "synthetic hospital", settings) as folder, contextlib.ExitStack() as stack:
        bars: list[Track] = []
        shown = 0

        def show(done: int, total: int) -> None:
            nonlocal shown
            if not bars:
                bars.append(stack.enter_context(track("draw", total, "films")))
            bars[0].advance(done - shown)
            shown = done

        workers = len(os.sched_getaffinity(0))
        write_hospital(folder, HospitalSpec(patients, seed, record=record, odds=odds), show, workers)


def _say(text: str) -> None:
    typer.echo(f"cxrssl: {text}", err=True)
