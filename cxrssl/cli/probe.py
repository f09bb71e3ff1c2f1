"""`cxrssl probe`."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrssl.cli.completion import complete_cohort, complete_run
from cxrssl.cli.external import (
    Architecture,
    ExternalOptions,
    ExternalPath,
    Ignore,
    InputPx,
    PixelMean,
    PixelStd,
    SeenFilms,
    describe_source,
)
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    DeviceName,
    WorkspacePath,
    align,
    narrate,
    next_line,
    open_workspace,
    print_summary,
)

STRENGTH = "C: inverse L2 strength of the probe, one for all findings, of highest mean val AUROC."


def probe(
    run: Annotated[str, typer.Argument(help="Run id, or the beginning of one.", autocompletion=complete_run)] = "",
    cohort: Annotated[
        str,
        typer.Option(
            help="Cohort to probe on; the run's own when left out.", metavar="NAME", autocompletion=complete_cohort
        ),
    ] = "",
    encoder: Annotated[
        str,
        typer.Option(help="target, or anchor: the trained encoder that the target follows.", metavar="NAME"),
    ] = "target",
    split: Annotated[str, typer.Option(help="official, hash, icu or file; the run's own when left out.")] = "",
    folds: Annotated[
        int, typer.Option(help="Score every film, fitted on the other folds by patient: 3 to 20.", metavar="K")
    ] = 0,
    uncertain: Annotated[str, typer.Option(help="What a label of -1 counts as: ignore, zeros or ones.")] = "ignore",
    blank: Annotated[
        str, typer.Option(help="What a label that is not mentioned counts as: zeros or ignore.")
    ] = "zeros",
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of subjects.")] = 1000,
    baselines: Annotated[bool, typer.Option(help="Probe untrained encoder, record alone and view alone too.")] = True,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Probe a run that has seen test subjects; every report will say so.")
    ] = False,
    external: ExternalPath = None,
    arch: Architecture = "",
    input_px: InputPx = 0,
    pixel_mean: PixelMean = "",
    pixel_std: PixelStd = "",
    ignore: Ignore = None,
    seen_films: SeenFilms = None,
    device: DeviceName = "auto",
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Fit a linear probe on a run's frozen features and score every test film, with the baselines beside it.

    With --external in place of a run, an encoder that others trained is probed, from local files.

    Example: cxrssl probe mimic-msn --cohort mimic
    """
    from cxrssl.core.config import build_settings
    from cxrssl.recipe.load import load_machine
    from cxrssl.records.encoder import parse_encoder_name
    from cxrssl.records.evaluation import ProbeSettings

    files = ExternalOptions(external, arch, input_px, pixel_mean, pixel_std, ignore, seen_films)
    files.check(run)
    which = parse_encoder_name(encoder)
    values = {"uncertain": uncertain, "blank": blank, "num_resamples": resamples, "folds": folds}
    settings = build_settings(ProbeSettings, values)
    place = load_machine(device=device).device
    opened = open_workspace(workspace)
    run_id = "" if external else opened.find_run(run).name  # before torch is loaded, which takes seconds
    narrate(f"load torch to probe {external or f'run {run_id}'}")
    from cxrssl.evaluate.external import probe_external
    from cxrssl.evaluate.run import ProbeChoices, probe_run
    from cxrssl.stats.resample import explain_marks

    choices = ProbeChoices(which, baselines, allow_overlap, place)
    if external:
        evaluations = probe_external(opened, files.choices(), seen_films, cohort, split, settings, choices)
    else:
        evaluations = probe_run(opened, run_id, cohort, split, settings, choices)
    scores, about = evaluations[0].scores, evaluations[0].settings
    where = ", ".join(part for part in (about.cohort, about.link, "" if folds else f"split {about.split}") if part)
    how = f", each scored by a probe of the other of {folds} folds" if folds else ""
    films = "films" if folds else "test films"
    head = f"{scores.num_films:,} {films} of {scores.num_subjects:,} subjects{how}, cohort {where}; macro AUROC:"
    rows = [
        (each.settings.label, each.scores.macro_auroc.to_text(), f"C {each.scores.strength_text}".strip())
        for each in evaluations
    ]
    source = about.candidate.external
    marks = explain_marks(each.scores.macro_auroc for each in evaluations)
    seen = f"Transductive, no label was seen: {about.transductive}." if about.transductive else ""
    notes = [note for note in (seen, STRENGTH, scores.choice_note) if note]
    summary = {each.eval_id: {"settings": each.settings.to_dict(), **each.scores.to_dict()} for each in evaluations}
    then = next_line("report", workspace=workspace)
    print_summary(
        summary, as_json, [head, *align(rows), *(describe_source(source) if source else []), *marks, *notes, then]
    )
