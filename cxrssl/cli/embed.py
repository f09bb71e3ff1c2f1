"""`cxrssl embed`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrssl.cli.completion import complete_cohort
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    DeviceName,
    NumGpus,
    RunName,
    WorkspacePath,
    narrate,
    open_workspace,
    print_summary,
)
from cxrssl.core.text import count_noun


def embed(
    run: RunName,
    cohort: Annotated[
        str,
        typer.Option(
            help="Cohort to embed; the run's own when left out.", metavar="NAME", autocompletion=complete_cohort
        ),
    ] = "",
    encoder: Annotated[
        str, typer.Option(help="target, or anchor: the trained encoder that the target follows.", metavar="NAME")
    ] = "target",
    out: Annotated[
        Path | None,
        typer.Option(help="File, .parquet or .npz; exports/RUN-on-COHORT.npz when left out.", metavar="FILE"),
    ] = None,
    ids: Annotated[
        str, typer.Option(help="pseudonyms, or dataset: the dataset's own ids, to join other tables.", metavar="NAME")
    ] = "pseudonyms",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    attention: Annotated[
        bool, typer.Option("--attention", help="Also keep how much the class token attends to each patch.")
    ] = False,
    device: DeviceName = "auto",
    gpus: NumGpus = 1,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Write the features of all packed films of a cohort with ids and split, one row a film.

    Example: cxrssl embed mimic-msn --cohort nih --out nih.parquet
    """
    from cxrssl.export.ids import parse_ids
    from cxrssl.recipe.load import load_machine
    from cxrssl.records.encoder import parse_encoder_name

    which, place, whose = parse_encoder_name(encoder), load_machine(device=device).device, parse_ids(ids)
    opened = open_workspace(workspace)
    run_id = opened.find_run(run).name  # before torch is loaded, which takes seconds
    narrate(f"load torch to embed films with run {run_id}")
    from cxrssl.evaluate.encode import PRECISION
    from cxrssl.export.embed import EmbedChoices, embed_cohort

    choices = EmbedChoices(cohort, which, out, whose, place, force, attention, gpus)
    made = embed_cohort(opened, run_id, choices)
    summary = {
        "file": str(made.path),
        "films": made.num_films,
        "width": made.width,
        "precision": PRECISION,
        "not_packed": made.num_not_packed,
        "ids": ids,
        "verdicts": {terms.dataset: terms.verdict for terms in made.terms},
    }
    lines = [
        f"{made.path} written: {count_noun(made.num_films, 'film')}, {count_noun(made.width, 'feature')} in {PRECISION}"
    ]
    lines += [f"{count_noun(made.num_not_packed, 'film')} not packed, without a row"] if made.num_not_packed else []
    lines += [f"licence verdict, {terms.dataset}: {terms.verdict}. {terms.sentence}" for terms in made.terms]
    print_summary(summary, as_json, lines)
