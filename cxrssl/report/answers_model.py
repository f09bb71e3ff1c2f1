"""Answers of checklists on models: what was trained, from what, how, and how it was chosen.

In: Evidence. Out: lines with the file that holds them. Never: a choice that was made on test films left unsaid.
"""

from __future__ import annotations

from cxrssl.core.text import plain
from cxrssl.core.version import __version__
from cxrssl.records.encoder import learns_labels
from cxrssl.records.eval_settings import HEAD
from cxrssl.report.answers_data import merge
from cxrssl.report.evidence import Evidence

RUNS, EVALS, SCORES = "runs/*/run.json", "evals/*/manifest.json", "evals/*/scores.json"
CONTRACTS = "ablations/*/contract.json"


def describe_method(evidence: Evidence) -> list[str]:
    """Return the objective and the backbone of each run, and what scored films."""
    lines = []
    for run in evidence.runs:
        how = "with labels" if learns_labels(run.description.recipe) else "without labels"
        backbone = plain(run.description.facts.model.backbone, 60)
        lines.append(
            (
                evidence.name_run(run.run_id),
                f"deep learning: pretraining {how} by {plain(run.description.objective, 40)}, {backbone}",
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
        versions = ", ".join(f"{name} {each}" for name, each in run.description.code_facts.items())
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
        text += f"; then all of run {plain(candidate.extends, 120)}" if candidate.extends else ""
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
            encoder = "encoder of the last step, none chosen"
            if settings.candidate.external is not None:
                encoder = "weights of others, how they were chosen is not recorded"
            text = f"{encoder}; strength of the probe by mean AUROC on {folds}"
        lines.append((settings.label, text))
    return merge(lines, SCORES)


def describe_ensembles(evidence: Evidence) -> list[str]:
    """Return that no row is one."""
    return (
        ["none: each row is one encoder with one probe, means over seeds are means of their scores"]
        if evidence.encoders
        else []
    )
