"""`cxrssl probe`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from cxrssl.cli.completion import complete_cohort, complete_run
from cxrssl.cli.external import NO_FILES, ExternalOptions, takes_external
from cxrssl.cli.options import (
    DEFAULT_WORKSPACE,
    AsJson,
    DeviceName,
    NumGpus,
    WorkspacePath,
    narrate,
    next_line,
    open_workspace,
)
from cxrssl.cli.protocol import ProtocolName, open_protocol
from cxrssl.cli.transfer import (
    TestOn,
    ThresholdRules,
    parse_cohorts,
    parse_rules,
)
from cxrssl.core.errors import UsageError

ENCODER, FILMS, LABELS, SCORED = (
    "What is probed", "On which films", "What is asked", "What is fitted and scored"
)  # fmt: skip


@takes_external(has_seen_films=True)
def probe(
    run: Annotated[str, typer.Argument(help="Run id, or the beginning of one.", autocompletion=complete_run)] = "",
    encoder: Annotated[
        str,
        typer.Option(
            help="target, or anchor: the trained encoder that the target follows.",
            metavar="NAME",
            rich_help_panel=ENCODER,
        ),
    ] = "target",
    read: Annotated[
        str,
        typer.Option(
            help="What is read of encoders: cls, patches, last:N layers, knn:K films, attention or max of patches.",
            metavar="WHAT",
            rich_help_panel=ENCODER,
        ),
    ] = "cls",
    joined: Annotated[
        str,
        typer.Option(
            "--with",
            help="Also join the record to the features: ehr, or groups and names.",
            metavar="EHR",
            rich_help_panel=ENCODER,
        ),
    ] = "",
    head: Annotated[
        bool,
        typer.Option(
            "--head",
            help="Also score films by the head of a run that learnt labels; nothing is fitted.",
            rich_help_panel=ENCODER,
        ),
    ] = False,
    baselines: Annotated[
        bool,
        typer.Option(help="Probe untrained encoder, pixels, record alone and view alone too.", rich_help_panel=ENCODER),
    ] = True,
    cohort: Annotated[
        str,
        typer.Option(
            "--cohort",
            "--on",
            help="Cohorts to probe on; the run's own when left out.",
            metavar="NAMES",
            autocompletion=complete_cohort,
            rich_help_panel=FILMS,
        ),
    ] = "",
    test_on: TestOn = "",
    split: Annotated[
        str,
        typer.Option(
            help="official, hash, icu or file; the run's own when left out.", metavar="NAME", rich_help_panel=FILMS
        ),
    ] = "",
    folds: Annotated[
        int,
        typer.Option(
            help="Score every film, fitted on the other folds by patient: 3 to 20.", metavar="K", rich_help_panel=FILMS
        ),
    ] = 0,
    where: Annotated[
        str,
        typer.Option(
            help="Fit, choose and score on films that meet a condition in SQL: \"view IN ('PA','AP')\".",
            metavar="SQL",
            rich_help_panel=FILMS,
        ),
    ] = "",
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap",
            help="Probe a run that has seen test subjects; every report will say so.",
            rich_help_panel=FILMS,
        ),
    ] = False,
    findings: Annotated[
        str,
        typer.Option(
            help="Sets and names: mimic14, nih14, nih8, chexpert5, or findings of the cohort; all when left out.",
            metavar="SET|NAMES",
            rich_help_panel=LABELS,
        ),
    ] = "",
    uncertain: Annotated[
        str,
        typer.Option(
            help="What a label of -1 counts as: ignore, zeros or ones; by finding too: zeros,Edema=ones.",
            metavar="POLICY",
            rich_help_panel=LABELS,
        ),
    ] = "ignore",
    blank: Annotated[
        str,
        typer.Option(
            help="What a label that is not mentioned counts as: zeros or ignore.",
            metavar="POLICY",
            rich_help_panel=LABELS,
        ),
    ] = "zeros",
    fractions: Annotated[
        str,
        typer.Option(
            help="Learning curve: percentages of the train subjects whose labels are used, as 1,5,10,25,50,100.",
            metavar="PERCENTS",
            rich_help_panel=SCORED,
        ),
    ] = "",
    draws: Annotated[
        int, typer.Option(help="Draws of each of the --fractions.", metavar="N", rich_help_panel=SCORED)
    ] = 3,
    threshold: ThresholdRules = "",
    protocol: ProtocolName = "",
    resamples: Annotated[
        int, typer.Option(help="Bootstrap resamples of subjects.", metavar="N", rich_help_panel=SCORED)
    ] = 1000,
    files: ExternalOptions = NO_FILES,
    device: DeviceName = "auto",
    gpus: NumGpus = 1,
    workspace: WorkspacePath = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Fit a linear probe on a run's frozen features and score every test film, with the baselines beside it.

    A run on several cohorts is probed on each of them. With --external in place of a run, an encoder that others
    trained is probed, from local files.

    Example: cxrssl probe mimic-msn --cohort mimic
    """
    from cxrssl.cohort.where import find_films
    from cxrssl.core.config import build_settings
    from cxrssl.recipe.load import load_machine
    from cxrssl.records.encoder import parse_encoder_name
    from cxrssl.records.eval_settings import ProbeSettings

    which = parse_encoder_name(encoder)
    files.check(run, which)
    if head and files.path:
        raise UsageError("--head is of a run that learnt labels, and says nothing with --external")
    values = {"blank": blank, "num_resamples": resamples, "folds": folds, "thresholds": parse_rules(threshold, folds)}
    settings = build_settings(ProbeSettings, values)
    from cxrssl.evaluate.asked import Asked
    from cxrssl.evaluate.before import Wanted, check_files, check_wanted, list_cohorts
    from cxrssl.evaluate.learning import check_fractions, read_fractions
    from cxrssl.records.reading import check_reading, parse_reading

    reading = parse_reading(read)
    check_reading(reading, joined, folds)
    shares = read_fractions(fractions) if fractions else ()
    check_fractions(shares, draws, settings)
    followed = open_protocol(protocol)
    place = load_machine(device=device).device
    elsewhere = parse_cohorts(test_on, folds)
    opened = open_workspace(workspace)
    for name in elsewhere:
        opened.find_cohort(name)
    run_id = "" if files.path else opened.find_run(run).name
    if files.path:
        check_files(files.path, files.seen_films)
    asked = Asked(findings, uncertain, where, find_films)
    wanted = Wanted(run_id, cohort, split, asked, followed, joined, head, elsewhere)
    cohorts, notes = list_cohorts(opened, wanted)
    for name in cohorts:
        check_wanted(opened, replace(wanted, cohort=name), settings)
    for note in notes:
        typer.echo(f"cxrssl: note: {note}", err=True)
    narrate(f"load torch to probe {files.path or f'run {run_id}'}")
    from cxrssl.cli.probe_each import probe_each
    from cxrssl.evaluate.run import ProbeChoices

    choices = ProbeChoices(
        which, baselines, allow_overlap, place, asked, joined, reading, shares, draws, head, followed, narrate, gpus
    )
    probe_each(opened, wanted, cohorts, files, settings, choices, as_json)
    if not as_json:
        typer.echo(next_line("report", workspace=workspace))
