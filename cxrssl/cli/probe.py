"""`cxrssl probe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrssl.cli.completion import complete_cohort, complete_run
from cxrssl.cli.curves import describe_curves, list_curves, mark_few
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
from cxrssl.cli.transfer import (
    TestOn,
    ThresholdRules,
    describe_fit,
    describe_transfers,
    parse_cohorts,
    parse_rules,
    summarise_transfers,
)
from cxrssl.core.text import count_noun, plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxrssl.cohort.read import Cohort
    from cxrssl.records.evaluation import Evaluation

STRENGTH = "C: inverse L2 strength, one for all findings, of highest mean val AUROC (record: in folds of train)."


def probe(
    run: Annotated[str, typer.Argument(help="Run id, or the beginning of one.", autocompletion=complete_run)] = "",
    cohort: Annotated[
        str,
        typer.Option(
            "--cohort",
            "--on",
            help="Cohort to probe on; the run's own when left out.",
            metavar="NAME",
            autocompletion=complete_cohort,
        ),
    ] = "",
    test_on: TestOn = "",
    encoder: Annotated[
        str,
        typer.Option(help="target, or anchor: the trained encoder that the target follows.", metavar="NAME"),
    ] = "target",
    split: Annotated[str, typer.Option(help="official, hash, icu or file; the run's own when left out.")] = "",
    folds: Annotated[
        int, typer.Option(help="Score every film, fitted on the other folds by patient: 3 to 20.", metavar="K")
    ] = 0,
    read: Annotated[
        str,
        typer.Option(
            help="What is read of encoders: cls, patches, last:N layers, knn:K films, attention or max of patches.",
            metavar="WHAT",
        ),
    ] = "cls",
    findings: Annotated[
        str,
        typer.Option(
            help="What is asked: mimic14, nih14, nih8, chexpert5, or findings of the cohort; all when left out.",
            metavar="SET|NAMES",
        ),
    ] = "",
    where: Annotated[
        str,
        typer.Option(
            help="Fit, choose and score on films that meet a condition in SQL: \"view IN ('PA','AP')\".", metavar="SQL"
        ),
    ] = "",
    uncertain: Annotated[
        str,
        typer.Option(
            help="What a label of -1 counts as: ignore, zeros or ones; by finding too: zeros,Edema=ones.",
            metavar="POLICY",
        ),
    ] = "ignore",
    blank: Annotated[
        str, typer.Option(help="What a label that is not mentioned counts as: zeros or ignore.")
    ] = "zeros",
    fractions: Annotated[
        str,
        typer.Option(
            help="Learning curve: percentages of the train subjects whose labels are used, as 1,5,10,25,50,100.",
            metavar="PERCENTS",
        ),
    ] = "",
    draws: Annotated[int, typer.Option(help="Draws of each of the --fractions.")] = 3,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of subjects.")] = 1000,
    threshold: ThresholdRules = "",
    baselines: Annotated[
        bool, typer.Option(help="Probe untrained encoder, pixels, record alone and view alone too.")
    ] = True,
    joined: Annotated[
        str,
        typer.Option("--with", help="Also join the record to the features: ehr, or groups and names.", metavar="EHR"),
    ] = "",
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
    which = parse_encoder_name(encoder)
    files.check(run, which)
    values = {"blank": blank, "num_resamples": resamples, "folds": folds, "thresholds": parse_rules(threshold, folds)}
    settings = build_settings(ProbeSettings, values)
    from cxrssl.evaluate.learning import check_fractions, read_fractions
    from cxrssl.records.reading import check_reading, parse_reading

    reading = parse_reading(read)
    check_reading(reading, joined, test_on, folds)
    shares = read_fractions(fractions) if fractions else ()
    check_fractions(shares, draws, settings)
    place = load_machine(device=device).device
    elsewhere = parse_cohorts(test_on, folds)
    opened = open_workspace(workspace)
    for name in elsewhere:
        opened.find_cohort(name)
    run_id = "" if external else opened.find_run(run).name  # before torch is loaded, which takes seconds
    narrate(f"load torch to probe {external or f'run {run_id}'}")
    from cxrssl.cli.baselines import describe_differences, describe_scores
    from cxrssl.evaluate.asked import Asked
    from cxrssl.evaluate.external import probe_external
    from cxrssl.evaluate.run import ProbeChoices, probe_run
    from cxrssl.evaluate.visible import find_visible_of
    from cxrssl.stats.power import describe_in_words
    from cxrssl.stats.resample import explain_marks

    asked = Asked(findings, uncertain, where, _find_films)
    choices = ProbeChoices(which, baselines, allow_overlap, place, asked, joined, reading, shares, draws)
    if external:
        evaluations = probe_external(opened, files.choices(), seen_films, cohort, split, settings, choices)
    else:
        evaluations = probe_run(opened, run_id, cohort, split, settings, choices)
    transfers = []
    if elsewhere:
        from cxrssl.evaluate.transfer import carry_probe, external_maker, run_maker

        maker = (
            external_maker(opened, files.choices(), seen_films, place)
            if external
            else run_maker(opened, evaluations[0], place)
        )
        transfers = carry_probe(opened, evaluations[0], elsewhere, maker, choices)
    scores, about = evaluations[0].scores, evaluations[0].settings
    where = ", ".join(part for part in (about.cohort, about.link, "" if folds else f"split {about.split}") if part)
    how = f", each scored by a probe of the other of {folds} folds" if folds else ""
    films = count_noun(scores.num_films, "film" if folds else "test film")
    beside = f", and matched on {', '.join(scores.matched_on)}" if scores.matched_on else ""
    head = f"{films} of {count_noun(scores.num_subjects, 'subject')}{how}, cohort {where}; macro AUROC{beside}:"
    rows = [describe_scores(each) for each in evaluations]
    source = about.candidate.external
    decodings = [each.score for one in evaluations for each in one.scores.decodings.values()]
    carried = [each for one in transfers for each in (*one.carried.scores.intervals, *one.there.scores.intervals)]
    marks = explain_marks(
        [
            *carried,
            *(each.scores.macro_auroc for each in evaluations),
            *(each.auroc for each in scores.findings.values()),
            *(each.auroc for each in scores.matched.values() if not each.is_vacuous),
        ]
        + decodings
    )
    seen = f"Transductive, no label was seen: {about.transductive}." if about.transductive else ""
    shown = table_of_decodings(evaluations)
    record = ["Linearly decodable from frozen features, by encoder:", *align(shown)] if shown else []
    by_finding = [f"Subjects with the finding, and its AUROC{beside}:", *align(table_of_findings(evaluations[0]))]
    leak = f"Not a fair test: {about.leak}." if about.leak else ""
    notes = [
        note
        for note in (
            leak,
            seen,
            STRENGTH if any(each.scores.strengths for each in evaluations) else "",
            scores.choice_note,
        )
        if note
    ]
    curves = list_curves(opened, evaluations) if shares else []
    summary: dict[str, Any] = {
        each.eval_id: {
            "settings": each.settings.to_dict(),
            **each.scores.to_dict(),
            "smallest_difference": find_visible_of(each.scores),
        }
        for each in evaluations
    }
    summary |= summarise_transfers(transfers)
    if curves:
        summary["learning"] = {
            curve.curve_id: {"label": curve.settings.label, **numbers.to_dict()} for curve, numbers in curves
        }
    then = next_line("report", workspace=workspace)
    about_source = describe_source(source) if source else []
    lines = [
        head,
        *align(rows),
        *describe_differences(opened, evaluations),
        *describe_asked(evaluations[0]),
        *about_source,
        *notes,
        *by_finding,
        *([scores.check_note] if scores.check_note else []),
        describe_in_words(find_visible_of(scores)),
        *describe_fit(evaluations[0]),
        *describe_curves(curves),
        *record,
        *describe_transfers(transfers),
        *marks,
        then,
    ]
    print_summary(summary, as_json, lines)


def _find_films(cohort: Cohort, condition: str) -> NDArray[np.bool_]:
    """Ask the database of the cohort, which is opened only where a condition is given: it needs DuckDB."""
    from cxrssl.cohort.where import find_films

    return find_films(cohort, condition)


def describe_asked(evaluation: Evaluation) -> list[str]:
    """Return what was asked, in a line each, where that is not all findings of all films, uncertain labels ignored."""
    probe, scores = evaluation.settings.probe, evaluation.scores
    lines = []
    if probe.findings:
        lines.append(f"Asked: {', '.join(plain(name, 60) for name in probe.findings)}.")
    if probe.uncertain_by:
        lines.append(f"Uncertain labels count as {probe.uncertain_text}.")
    if probe.where:
        left_out = ", ".join(count_noun(num, f"{split} film") for split, num in scores.num_left_out.items())
        lines.append(f"Only films where {plain(probe.where, 300)}; left out: {left_out}.")
    return lines


def table_of_decodings(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    """Return what was decoded, one row a feature and one column an encoder; nothing where nothing was."""
    asked = [each for each in evaluations if each.scores.decodings]
    if not asked:
        return []
    rows = [["", *(plain(each.settings.label, 60) for each in asked), "films", "subjects"]]
    for name, first in asked[0].scores.decodings.items():
        found = [each.scores.decodings.get(name) for each in asked]
        numbers = [each.score.to_text() if each else "" for each in found]
        rows.append([f"{name} ({first.metric})", *numbers, f"{first.num_films:,}", f"{first.num_subjects:,}"])
    return rows


def table_of_findings(evaluation: Evaluation) -> list[list[str]]:
    """Return for each finding the scored subjects who have it, few of them marked, its AUROC, and the matched one."""
    scores = evaluation.scores
    return [
        [
            plain(name, 60),
            "no probe" if name in scores.not_fitted else mark_few(score.num_pos_subjects or 0),
            score.auroc.to_text(),
            *([scores.matched[name].to_text()] if name in scores.matched else []),
        ]
        for name, score in scores.findings.items()
    ]
