"""Answers of checklists on scores: metrics, intervals, what they rest on, tests elsewhere, groups, use of the probes.

In: Evidence. Out: lines with the file that holds them. Never: a number without its interval, or a best one picked out.
"""

from __future__ import annotations

import contextlib

from cxrssl.core.errors import CxrsslError
from cxrssl.core.text import count_noun, plain
from cxrssl.records.boxes import find_box_scores
from cxrssl.records.eval_settings import HEAD
from cxrssl.records.fitted import find_calibrations, find_thresholds
from cxrssl.records.setup import RIGHT, find_setups
from cxrssl.report.answers_data import merge
from cxrssl.report.evidence import Evidence

RUNS, SCORES = "runs/*/run.json", "evals/*/scores.json"
MAX_LINES = 12
"""Rows of performance; the report has all."""


def describe_metrics(evidence: Evidence) -> list[str]:
    """Return the metrics of the evaluations."""
    lines = [
        (each.settings.cohort, "AUROC and AUPRC by finding, and their means over findings")
        for each in evidence.evaluations
    ]
    return merge(lines, SCORES)


def describe_uncertainty(evidence: Evidence) -> list[str]:
    """Return how intervals and comparisons were made."""
    lines = [(each.settings.cohort, f"intervals: {each.scores.method}") for each in evidence.evaluations]
    paired = (
        "differences are paired; p by finding adjusted for their number (Holm 1979) [comparisons/*/differences.json]"
    )
    return [*merge(lines, SCORES), *([paired] if evidence.published.comparisons else [])]


def describe_robustness(evidence: Evidence) -> list[str]:
    """Return the analyses that ask what a score rests on."""
    matched = [
        (
            each.settings.label,
            f"among films alike in {', '.join(each.scores.matched_on)}: macro AUROC {each.scores.matched_text}",
        )
        for each in evidence.encoders
        if each.scores.macro_matched
    ]
    setups = find_setups((run.run_id, run.description) for run in evidence.runs)
    wrong = [
        (evidence.name_run(run_id), f"trained with a wrong record: {setup.control}")
        for run_id, setup in setups.items()
        if setup.control != RIGHT
    ]
    seeds = sorted({setup.seed for setup in setups.values()})
    several = [f"seeds {', '.join(map(str, seeds))} [runs/*/run.json]"] if len(seeds) > 1 else []
    return [*_shorten(merge(matched, SCORES)), *merge(wrong, RUNS), *several]


def describe_explained(evidence: Evidence) -> list[str]:
    """Return how much of what patches say lies in boxes of radiologists, and what of the record is decodable."""
    boxes, lines = [], []
    for each in evidence.encoders:
        with contextlib.suppress(CxrsslError):
            scored = find_box_scores(each.path)
            for whole in scored.scores[:1] if scored else ():
                shares = f"{whole.share.to_text()}, by chance {whole.area:.3f}; {count_noun(whole.num_films, 'film')}"
                boxes.append((each.settings.label, f"share of its patch scores in radiologists' boxes {shares}"))
        found = [f"{plain(name, 40)} {one.metric} {one.score.to_text()}" for name, one in each.scores.decodings.items()]
        if found:
            lines.append((each.settings.label, f"in part, what is linearly decodable from it: {', '.join(found)}"))
    return [*_shorten(merge(boxes, "evals/*/boxes.json")), *_shorten(merge(lines, SCORES))]


def describe_external(evidence: Evidence) -> list[str]:
    """Return the scores on cohorts of another dataset than the one of pretraining, or of the fit of the probe."""
    trained_on = {
        run.run_id: list(dict.fromkeys(each.dataset for each in run.description.cohorts))
        for run in evidence.published.runs
    }
    lines = []
    for each in evidence.encoders:
        settings, score = each.settings, each.scores.macro_auroc.to_text()
        if settings.carried is not None:
            text = f"probe of cohort {plain(settings.carried.cohort, 60)} on cohort {plain(settings.cohort, 60)}"
            lines.append((settings.label, f"{text}: macro AUROC {score}"))
        elif settings.dataset not in trained_on.get(settings.run_id, [settings.dataset]):
            datasets = ", ".join(plain(name, 40) for name in trained_on[settings.run_id])
            text = f"pretrained on {datasets}, probed on {plain(settings.dataset, 40)}"
            lines.append((settings.label, f"{text}: macro AUROC {score}"))
    return _shorten(merge(lines, SCORES))


def describe_performance(evidence: Evidence) -> list[str]:
    """Return macro AUROC and AUPRC on the test films, with intervals; of several seeds the mean over them."""
    groups = [each for each in evidence.published.groups if len(each.settings.seeds) > 1]
    group_of = {eval_id: group for group in groups for eval_id in group.settings.members}
    lines = []
    for each in evidence.encoders:
        group = group_of.get(each.eval_id)
        label, auroc, auprc = each.settings.label, each.scores.macro_auroc, each.scores.macro_auprc
        if group is not None:
            macro = group.numbers.scores.macro
            auroc, auprc = macro.auroc.interval, macro.auprc.interval
            label = f"{group.settings.label}, mean of {count_noun(len(group.settings.seeds), 'seed')}"
        text = f"macro AUROC {auroc.to_text()}, AUPRC {auprc.to_text()}"
        films = "every film, by a probe of the other folds," if each.settings.probe.folds else "test films"
        lines.append((label, f"{films} of {plain(each.settings.cohort, 60)}, {text}"))
    return _shorten(merge(lines, SCORES))


def describe_parts(evidence: Evidence) -> list[str]:
    """Return the scores on test films, and that there are none on other parts."""
    found = describe_performance(evidence)
    if found and not any(each.settings.probe.folds for each in evidence.encoders):
        found = [*found, "on test films only: train and val films are not scored"]
    return found


def describe_fairness(evidence: Evidence) -> list[str]:
    """Return by which groups of people scores were made."""
    lines = []
    for each in evidence.encoders:
        with contextlib.suppress(CxrsslError):
            names = dict.fromkeys(group.attribute for group in each.subgroups())
            if names:
                lines.append((each.settings.label, f"AUROC, and minus that of the others, by {', '.join(names)}"))
    return merge(lines, "evals/*/subgroups.json")


def describe_thresholds(evidence: Evidence) -> list[str]:
    """Return that scores are probabilities, and the rules by which thresholds were fitted."""
    lines = []
    for each in evidence.encoders:
        with contextlib.suppress(CxrsslError):
            found = find_thresholds(each)
            if found is not None:
                rules = f"thresholds by {', '.join(found.rules)} on {plain(found.fitted_on, 120)}"
                text = f"a probability for each finding; {rules}"
                lines.append((each.settings.label, text))
    return merge(lines, "evals/*/thresholds.json")


def describe_calibration(evidence: Evidence) -> list[str]:
    """Return on which films probabilities were recalibrated."""
    lines = []
    for each in evidence.encoders:
        with contextlib.suppress(CxrsslError):
            found = find_calibrations(each)
            if found is not None:
                where = f"{plain(found.fitted_on, 120)}{f', and {plain(found.there, 120)}' if found.there else ''}"
                lines.append(
                    (each.settings.label, f"recalibrated by val films of {where}: before and after by finding")
                )
    return merge(lines, "evals/*/calibration.json")


def describe_predictions(evidence: Evidence) -> list[str]:
    """Return how scores of new films are made."""
    kept = [each.settings.label for each in evidence.encoders if (each.path / "fitted.json").is_file()]
    return merge([(name, "scores of new films: cxrssl predict") for name in kept], "evals/*/fitted.json")


def describe_imbalance(evidence: Evidence) -> list[str]:
    """Return that probes weigh films alike."""
    kinds = {each.settings.kind for each in evidence.encoders if each.settings.probe.protocol is None} - {HEAD}
    return ["no film or finding is weighted in the probes; AUPRC stands beside AUROC"] if kinds else []


def _shorten(lines: list[str]) -> list[str]:
    more = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], f"and {more:,} more rows: the tables of the report"] if more > 0 else lines
