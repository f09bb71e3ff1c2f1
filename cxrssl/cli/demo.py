"""`cxrssl demo`."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from cxrssl.cli.options import DEFAULT_WORKSPACE, WorkspacePath, make_workspace, next_line

DEMO_PX = 128
FEWEST = 40
"""Of so many patients more films than a batch has are for training, whatever the seed, and some for val and test."""


def demo(
    patients: Annotated[int, typer.Option(help="Patients of the synthetic hospital.", min=FEWEST, max=99_999)] = 640,
    seed: Annotated[int, typer.Option(help="Decides the hospital, the weights and the views.", min=0, max=2**31)] = 0,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training films.", min=1)] = None,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
) -> None:
    """Draw a synthetic hospital and run the whole chain on it: ingest, pretrain twice, probe, report.

    Takes minutes on two CPU cores. Its films and records are drawn, not real; its numbers say nothing about patients.

    Example: cxrssl demo --workspace demo
    """
    from cxrssl.cli.ingest import describe_cohort, describe_packed
    from cxrssl.cli.pretrain import recipe_changes
    from cxrssl.cohort.ingest import IngestOptions, find_owner
    from cxrssl.core.progress import format_seconds
    from cxrssl.evaluate.run import probe_run
    from cxrssl.ingest import ingest_dataset
    from cxrssl.recipe.load import load_recipe
    from cxrssl.recipe.machine import Machine
    from cxrssl.records.evaluation import ProbeSettings
    from cxrssl.report.write import write_report
    from cxrssl.train.loop import pretrain
    from cxrssl.train.plan import plan_run

    started = time.monotonic()
    opened = make_workspace(workspace)
    opened.mark()
    hospital = opened.root / f"synthetic-hospital-{patients}-s{seed}"
    _say("1/5 draw the synthetic hospital")
    _draw_hospital(hospital, patients, seed)
    _say("2/5 ingest it")
    owner = find_owner(opened.cohorts / "demo")
    is_own = owner is not None and Path(owner[1]).parent == opened.root  # of a demo with other patients
    options = IngestOptions("mimic", hospital, name="demo", size_px=DEMO_PX, may_replace=is_own)
    cohort, packed = ingest_dataset(opened, options)
    typer.echo(
        "\n".join(describe_cohort(cohort.values) + describe_packed(packed, opened.images / "demo" / "rejects.csv"))
    )
    changes = [] if epochs is None else [f"train.num_epochs={epochs}"]
    for number, ehr in ((3, "none"), (4, "demo,meta,stay")):
        _say(f"{number}/5 pretrain {'vanilla MSN' if ehr == 'none' else f'MSN with {ehr}'}, then probe")
        recipe = load_recipe("demo", changes, recipe_changes(ehr=ehr, seed=seed))
        result = pretrain(plan_run(opened, "demo", recipe, Machine()))
        probe_run(opened, result.run_id, "demo", "", ProbeSettings())
    _say("5/5 report")
    report = write_report(opened)
    typer.echo(report.markdown)
    _say(f"done in {format_seconds(time.monotonic() - started)}; report in {report.folder / 'report.md'}")
    _say(next_line("dashboard", workspace=workspace, what="look closer"))


def _draw_hospital(root: Path, patients: int, seed: int) -> None:
    """Write the hospital unless it is there whole; a half-written one is drawn again."""
    from cxrssl.core.artefact import is_published, publish
    from cxrssl.core.progress import Track, track
    from cxrssl.synthetic import HospitalSpec, write_hospital

    settings = {"patients": patients, "seed": seed}
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
        write_hospital(folder, HospitalSpec(num_patients=patients, seed=seed), show, workers)


def _say(text: str) -> None:
    typer.echo(f"cxrssl: {text}", err=True)
