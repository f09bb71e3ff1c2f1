"""`cxrssl probe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxrssl.cli.completion import complete_cohort
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    DeviceName,
    RunName,
    WorkspacePath,
    align,
    open_workspace,
    print_summary,
)

if TYPE_CHECKING:
    from cxrssl.core.workspace import Workspace
    from cxrssl.records.evaluation import Evaluation, ProbeSettings


def probe(
    run: RunName,
    cohort: Annotated[
        str,
        typer.Option(
            help="Cohort to probe on; the run's own when left out.", metavar="NAME", autocompletion=complete_cohort
        ),
    ] = "",
    split: Annotated[str, typer.Option(help="official, hash, icu or file; the run's own when left out.")] = "",
    uncertain: Annotated[str, typer.Option(help="What a label of -1 counts as: ignore, zeros or ones.")] = "ignore",
    blank: Annotated[
        str, typer.Option(help="What a label that is not mentioned counts as: zeros or ignore.")
    ] = "zeros",
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of subjects.")] = 1000,
    baselines: Annotated[bool, typer.Option(help="Probe untrained encoder, record alone and view alone too.")] = True,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Probe a run that has seen test subjects; every report will say so.")
    ] = False,
    device: DeviceName = "auto",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Fit a linear probe on a run's frozen features and score every test film, with the baselines beside it.

    Example: cxrssl probe mimic-msn --cohort mimic
    """
    from cxrssl.core.config import build_settings
    from cxrssl.recipe.load import load_machine
    from cxrssl.records.evaluation import ProbeSettings

    values = {"uncertain": uncertain, "blank": blank, "num_resamples": resamples}
    settings = build_settings(ProbeSettings, values)
    place = load_machine(device=device).device
    evaluations = probe_run(open_workspace(workspace), run, cohort, split, settings, place, baselines, allow_overlap)
    scores, about = evaluations[0].scores, evaluations[0].settings
    where = ", ".join(part for part in (about.cohort, about.link, f"split {about.split}") if part)
    head = f"{scores.num_films:,} test films of {scores.num_subjects:,} subjects, cohort {where}; macro AUROC:"
    rows = [(each.settings.label, each.scores.macro_auroc.to_text()) for each in evaluations]
    summary = {each.eval_id: {"settings": each.settings.to_dict(), **each.scores.to_dict()} for each in evaluations}
    print_summary(summary, as_json, [head, *align(rows)])


def probe_run(
    workspace: Workspace,
    run: str,
    on: str,
    split: str,
    settings: ProbeSettings,
    device: str = "auto",
    baselines: bool = True,
    may_overlap: bool = False,
) -> list[Evaluation]:
    """Evaluate a run, then its baselines."""
    run = workspace.find_run(run).name  # before torch is loaded, which takes seconds
    from cxrssl.core.errors import DataError
    from cxrssl.evaluate.candidate import baseline_candidates, open_run, run_candidate
    from cxrssl.evaluate.evaluation import evaluate_candidate
    from cxrssl.train.device import choose_device
    from cxrssl.train.plan import open_films

    run_id, encoder = open_run(workspace, run)
    cohort, images = open_films(workspace, on or encoder.origin.cohort)
    if not cohort.finding_names.size:
        hint = "ingest it with a table of labels (--map for dicom), or probe on another with --cohort"
        raise DataError(f"cohort {cohort.name} has no findings to probe", cohort.root, hint)
    place = choose_device(device)
    own_split = encoder.origin.split if cohort.dataset == encoder.origin.dataset else cohort.default_split
    candidates = [run_candidate(workspace, run_id, encoder, images, place)]
    if baselines:
        candidates += baseline_candidates(workspace, encoder.recipe, cohort, images, place)
    return [
        evaluate_candidate(workspace, candidate, cohort, images, split or own_split, settings, may_overlap)
        for candidate in candidates
    ]
