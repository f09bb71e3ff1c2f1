"""Answers of checklists on models: what was trained and how, how it was chosen, scored, tested elsewhere and applied.

In: Evidence. Out: lines with the file that holds them. Never: a number without its interval, or a best one picked out.
"""

from __future__ import annotations

import contextlib

from cxrssl.core.errors import CxrsslError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.version import __version__
from cxrssl.records.encoder import learns_labels
from cxrssl.records.eval_settings import HEAD
from cxrssl.records.fitted import find_calibrations, find_thresholds
from cxrssl.records.setup import RIGHT, find_setups
from cxrssl.report.answers_data import merge
from cxrssl.report.evidence import Evidence

RUNS, EVALS, SCORES = "runs/*/run.json", "evals/*/manifest.json", "evals/*/scores.json"
CONTRACTS = "ablations/*/contract.json"
MAX_LINES = 12
"""Rows of performance; the report has all."""


def describe_method(evidence: Evidence) -> list[str]:
    """Return the objective and the backbone of each run, and what scored films."""
    lines = []
    for run in evidence.runs:
        how = "supervised" if learns_labels(run.description.recipe) else "self-supervised"
        backbone = plain(run.description.facts.model.backbone, 60)
        lines.append(
            (
                evidence.name_run(run.run_id),
                f"deep learning: {how} pretraining by {plain(run.description.objective, 40)}, {backbone}",
            )
        )
    return merge(lines, RUNS)


def list_questions(evidence: Evidence) -> list[str]:
    """Return the question that each ablation declared before its first run."""
    lines = [
        (each.name, plain(each.table.question, 400)) for each in evidence.published.ablations if each.table.question
    ]
    return [f"ablation {line}" for line in merge(lines, CONTRACTS)]


def describe_design(evidence: Evidence) -> list[str]:
    """Return that films and records are those that a dataset already holds."""
    lines = [
        (name, f"retrospective: films that dataset {plain(each.dataset, 40)} holds")
        for name, each in evidence.cohorts.items()
    ]
    return merge(lines, "cohorts/*/manifest.json")


def describe_declared(evidence: Evidence) -> list[str]:
    """Return where the primary comparison was written before the first run."""
    what = "arms, seeds, data, code and the primary comparison, written before its first run"
    return [
        f"ablation {line}" for line in merge([(each.name, what) for each in evidence.published.ablations], CONTRACTS)
    ]


def describe_model(evidence: Evidence) -> list[str]:
    """Return the shape of each encoder, and where its weights lie."""
    shapes = [(each.settings.label, each.settings.candidate.architecture) for each in evidence.encoders]
    lines = [
        (label, f"{plain(shape.backbone, 60)}, patches of {shape.patch_px} px, views of {shape.view_px} px")
        for label, shape in shapes
        if shape is not None
    ]
    where = "weights, each with its SHA-256 [runs/*/encoder/manifest.json]; as files for other programs: cxrssl export"
    return [*merge(lines, EVALS), where] if lines else []


def describe_libraries(evidence: Evidence) -> list[str]:
    """Return versions and devices of each run, and by what its code is known."""
    lines = []
    for run in evidence.runs:
        versions = ", ".join(f"{plain(name, 40)} {plain(each, 60)}" for name, each in run.description.versions.items())
        lines.append(
            (
                evidence.name_run(run.run_id),
                f"{versions or 'versions not recorded'}; device {plain(run.description.device, 40) or 'not recorded'}",
            )
        )
    contracts = [
        f"ablation {plain(each.name, 60)}: SHA-256 of {len(each.contract.code):,} files of the package, and "
        + ", ".join(f"{plain(name, 40)} {plain(version, 40)}" for name, version in each.contract.libraries.items())
        + f" [ablations/{plain(each.name, 60)}/contract.json]"
        for each in evidence.published.ablations
    ]
    return [*merge(lines, RUNS), *contracts, f"this list: cxrssl {__version__}"]


def describe_start(evidence: Evidence) -> list[str]:
    """Return what the weights of each encoder were before training."""
    lines = []
    for each in evidence.encoders:
        candidate, shape = each.settings.candidate, each.settings.candidate.architecture
        if candidate.external is not None:
            text = f"weights of others; whether they saw the test films: {candidate.external.saw_test}"
        elif candidate.start:
            text = f"from {plain(candidate.start, 120)}"
        else:
            text = f"drawn, seed {shape.seed}" if shape is not None else "drawn"
        lines.append((each.settings.label, text))
    return merge(lines, EVALS)


def describe_training(evidence: Evidence) -> list[str]:
    """Return length, batch, rate and augmentation of each run, and how many were trained."""
    lines = []
    for run in evidence.runs:
        train, views = run.description.recipe.get("train", {}), run.description.recipe.get("views", {})
        told = [
            f"{key} {plain(train[key], 40)}" for key in ("num_epochs", "batch_size", "lr", "precision") if key in train
        ]
        told += [
            f"{key} {plain(views[key], 40)}"
            for key in ("flip_prob", "rotation_deg", "brightness", "contrast")
            if key in views
        ]
        lines.append((evidence.name_run(run.run_id), ", ".join(told)))
    counts = f"models trained: {len(evidence.runs):,}; the recipe of each with its SHA-256 [{RUNS}]"
    return [*merge(lines, RUNS), counts] if lines else []


def describe_selection(evidence: Evidence) -> list[str]:
    """Return how the encoder and the probe that were scored were chosen."""
    lines = []
    for each in evidence.encoders:
        probe, scores, settings = each.settings.probe, each.scores, each.settings
        if probe.protocol is not None:
            text = f"head chosen on {probe.selected_on} films by protocol {plain(probe.protocol, 60)}"
        elif settings.kind == HEAD:
            text = f"the run's own head, chosen on {scores.selected_on or 'no'} films"
        else:
            folds = "films of other folds" if probe.folds else "val films"
            text = f"encoder of the last step, none chosen; strength of the probe by mean AUROC on {folds}"
        lines.append((settings.label, text))
    return merge(lines, SCORES)


def describe_ensembles(evidence: Evidence) -> list[str]:
    """Return that no row is one."""
    return (
        ["none: each row is one encoder with one probe, means over seeds are means of their scores"]
        if evidence.encoders
        else []
    )


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
    """Return what is linearly decodable of the record from the features, with intervals."""
    lines = []
    for each in evidence.encoders:
        found = [f"{plain(name, 40)} {one.metric} {one.score.to_text()}" for name, one in each.scores.decodings.items()]
        if found:
            lines.append(
                (each.settings.label, f"in part, what is linearly decodable from its features: {', '.join(found)}")
            )
    return _shorten(merge(lines, SCORES))


def describe_external(evidence: Evidence) -> list[str]:
    """Return the scores on cohorts of another dataset than the one of pretraining, or of the fit of the probe."""
    trained_on = {run.run_id: run.description.dataset for run in evidence.published.runs}
    lines = []
    for each in evidence.encoders:
        settings, score = each.settings, each.scores.macro_auroc.to_text()
        if settings.carried is not None:
            text = f"probe of cohort {plain(settings.carried.cohort, 60)} on cohort {plain(settings.cohort, 60)}"
            lines.append((settings.label, f"{text}: macro AUROC {score}"))
        elif trained_on.get(settings.run_id, settings.dataset) != settings.dataset:
            text = f"pretrained on {plain(trained_on[settings.run_id], 40)}, probed on {plain(settings.dataset, 40)}"
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
        lines.append((label, f"test films of {plain(each.settings.cohort, 60)}, {text}"))
    return _shorten(merge(lines, SCORES))


def describe_parts(evidence: Evidence) -> list[str]:
    """Return the scores on test films, and that there are none on other parts."""
    found = describe_performance(evidence)
    return [*found, "on test films only: train and val films are not scored"] if found else []


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
