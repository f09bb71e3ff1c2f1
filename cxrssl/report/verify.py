"""`cxrssl report --verify`: every number of a report traced back to the films, hash by hash.

In: a workspace. Out: the breaks of the chain, each named once. Never: a number taken for an evaluation's because both
are whole: the values are compared too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from cxrssl.audit.chain import Walk, compare_cohort, compare_films, walk_data, walk_features, walk_runs
from cxrssl.core.errors import CxrsslError, IntegrityError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.records.ablation import KIND as ABLATION
from cxrssl.records.ablation import METRICS, Ablation, ArmRow
from cxrssl.records.comparison import KIND as COMPARISON
from cxrssl.records.contract import read_contract
from cxrssl.records.eval_settings import ANCHOR_PREFIX, EvalSettings
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.features import KIND as FEATURES
from cxrssl.records.features import FeatureKey
from cxrssl.records.group import KIND as GROUP
from cxrssl.records.learning import KIND as CURVE
from cxrssl.records.published import Published, read_published
from cxrssl.records.reading import TOKENS, parse_reading
from cxrssl.report.conditions import conditions_as
from cxrssl.report.small import SmallCells
from cxrssl.report.verify_numbers import ByFile, ReportOf, find_wrong_numbers, list_ablations_of, list_known
from cxrssl.stats.measure import measure_resamples
from cxrssl.stats.scores import FindingScore

KIND = "report"
TOLERANCE = 1e-9
"""Of a score that is computed again on another machine."""


def verify_workspace(workspace: Workspace) -> Walk:
    """Return what holds and what is broken between the source tables and the reports of a workspace.

    Every published folder is read in full. What may be deleted, such as features, is no break when it is absent.
    """
    published = read_published(workspace)
    walk = walk_data(workspace)
    walk_runs(walk, workspace, published)
    walk_features(walk, workspace)
    walk.breaks += [each for each in published.damage if each.kind in (EVALUATION, COMPARISON, GROUP, ABLATION)]
    evaluations = (*published.evaluations, *published.points)
    for evaluation in evaluations:
        walk.num_held[EVALUATION] += 1
        walk.evaluations[evaluation.eval_id] = evaluation.content_sha256
        _verify_evaluation(walk, workspace, evaluation)
    for record in published.comparisons:
        walk.num_held[COMPARISON] += 1
        settings = record.settings
        made_of = {settings.eval_id: settings.eval_sha256, settings.against_id: settings.against_sha256}
        _compare_members(walk, (COMPARISON, record.comparison_id), [made_of])
    for group in published.groups:
        walk.num_held[GROUP] += 1
        members = [group.settings.members, *group.settings.against.values()]
        _compare_members(walk, (GROUP, group.path.name), members)
    _verify_curves(walk, workspace)
    for ablation in published.ablations:
        walk.num_held[ABLATION] += 1
        _verify_ablation(walk, workspace, ablation, evaluations)
    numbers: dict[SmallCells, list[ByFile]] = {}
    for path in sorted(workspace.reports.iterdir()) if workspace.reports.is_dir() else ():
        if path.is_dir() and not path.name.startswith("."):
            _verify_report(walk, workspace, path, published, numbers)
    return walk


def _verify_evaluation(walk: Walk, workspace: Workspace, evaluation: Evaluation) -> None:
    of, settings = (EVALUATION, evaluation.eval_id), evaluation.settings
    if evaluation.imported:
        walk.missing["cohort, films and predictions of an imported evaluation"] += 1
        return
    compare_cohort(walk, of, settings.cohort, settings.cohort_sha256)
    compare_films(walk, of, settings.cohort, settings.images_sha256)
    if settings.carried and settings.carried.cohort in walk.cohorts:
        compare_cohort(walk, of, settings.carried.cohort, settings.carried.cohort_sha256)
    _compare_encoder(walk, of, settings)
    _compare_features(walk, of, workspace, settings)
    try:
        unlike = _find_other_scores(evaluation)
    except CxrsslError as error:
        unlike = error.what
    if unlike:
        walk.name(*of, unlike)


def _compare_encoder(walk: Walk, of: tuple[str, str], settings: EvalSettings) -> None:
    """Compare the weights that were scored with those that the run has now."""
    run_id, candidate = settings.run_id, settings.candidate
    if not run_id:
        return
    if run_id not in walk.encoders:
        walk.name(*of, f"the encoder of run {plain(run_id, 120)} is gone")
        return
    encoder = walk.encoders[run_id]
    if encoder is None:
        return
    is_anchor = bool(candidate.encoder) or settings.encoder_id.startswith(ANCHOR_PREFIX)
    weights = encoder.anchor_sha256 if is_anchor else encoder.weights_sha256
    if candidate.weights_sha256 not in (None, weights):
        walk.name(*of, f"scored other weights than those of run {plain(run_id, 120)}")
    elif candidate.head_sha256 not in (None, encoder.head_sha256):
        walk.name(*of, f"scored another head than that of run {plain(run_id, 120)}")


def _compare_features(walk: Walk, of: tuple[str, str], workspace: Workspace, settings: EvalSettings) -> None:
    """Look for the features that the probe was fitted on: absent they are made again, damaged they are named."""
    candidate = settings.candidate
    read = parse_reading(candidate.read).features if candidate.read else None
    if candidate.weights_sha256 is None or candidate.architecture is None or settings.probe.protocol or read == TOKENS:
        return
    key = FeatureKey(candidate.weights_sha256, settings.images_sha256, candidate.architecture, read)
    folder = key.folder(workspace)
    if not folder.is_dir():
        walk.missing["features of an evaluation, which a probe makes again"] += 1
    elif folder.name in {each.name for each in walk.breaks if each.kind == FEATURES}:
        walk.name(*of, f"its features {folder.name} are damaged")


def _find_other_scores(evaluation: Evaluation) -> str:
    """Return which of its scores are not those of its predictions; empty where all are."""
    predictions, scores = evaluation.predictions(), evaluation.scores
    names = predictions.finding_names.tolist()
    measured = measure_resamples(
        predictions.logits, predictions.labels, predictions.subject_id, names, 1, 0, evaluation.find_folds()
    ).with_mean()
    for metric, values_L in zip(METRICS, measured.values_TL, strict=True):
        found = dict(zip(["macro", *names], values_L.tolist(), strict=True))
        for name, value in _values_of(evaluation, metric):
            if name in found and not np.isclose(found[name], value, rtol=0, atol=TOLERANCE, equal_nan=True):
                return f"scores.json says {metric} {value:.6f} of {plain(name, 60)}, its predictions {found[name]:.6f}"
    if scores.num_films != len(predictions.image_id):
        return f"scores.json counts {scores.num_films:,} films, its predictions {len(predictions.image_id):,}"
    return ""


def _values_of(evaluation: Evaluation, metric: str) -> Iterator[tuple[str, float]]:
    yield "macro", getattr(evaluation.scores, f"macro_{metric}").value
    score: FindingScore
    for name, score in evaluation.scores.findings.items():
        yield name, getattr(score, metric).value


def _compare_members(walk: Walk, of: tuple[str, str], members: Sequence[Mapping[str, str]]) -> None:
    """Compare the hashes of evaluations that something was made of with those that are there."""
    stale = [
        eval_id
        for each in members
        for eval_id, sha256 in each.items()
        if walk.evaluations.get(eval_id, sha256) != sha256
    ]
    if stale:
        walk.name(*of, f"was made of evaluation {plain(stale[0], 120)} in another state")


def _verify_curves(walk: Walk, workspace: Workspace) -> None:
    for path in sorted(workspace.learning.iterdir()) if workspace.learning.is_dir() else ():
        curve = walk.open(path, CURVE) if path.is_dir() and not path.name.startswith(".") else None
        if curve:
            points = curve.settings.get("members")
            _compare_members(walk, (CURVE, path.name), list(points.values()) if isinstance(points, dict) else [])


def _verify_ablation(walk: Walk, workspace: Workspace, ablation: Ablation, evaluations: Sequence[Evaluation]) -> None:
    of, folder = (ABLATION, ablation.name), workspace.ablations / ablation.name
    try:
        contract = read_contract(folder)
    except IntegrityError as error:
        walk.name(*of, error.what)
        return
    if contract != ablation.contract:
        walk.name(*of, "its table was made under another contract than contract.json")
    for cohort, data in contract.data.items():
        compare_cohort(walk, of, cohort, data.cohort_sha256)
        compare_films(walk, of, cohort, data.images_sha256)
    for run_id, facts in contract.runs.items():
        encoder = walk.encoders.get(run_id)
        if encoder and encoder.origin.recipe_sha256 not in ("", facts.recipe_sha256):
            walk.name(*of, f"run {plain(run_id, 120)} has another recipe than the contract")
    for place, row in ablation.table.rows.items():
        runs = {
            str(each.seed): run
            for run, each in contract.runs.items()
            if (each.arm, each.cohort) == (row.arm, row.cohort)
        }
        scored = [each for each in evaluations if each.settings.run_id and each.settings.cohort == row.cohort]
        unlike = _find_other_row(row, runs, scored)
        if unlike:
            walk.name(*of, f"row {plain(place, 40)} says {unlike}, no evaluation does")


def _find_other_row(row: ArmRow, runs: Mapping[str, str], evaluations: Sequence[Evaluation]) -> str:
    """Return a number of a row that no evaluation of its run has; empty where there is none."""
    for metric in METRICS:
        for seed, value in getattr(row, metric).by_seed.items():
            of_run = [each.scores for each in evaluations if each.settings.run_id == runs.get(seed)]
            values = [getattr(each, f"macro_{metric}").value for each in of_run]
            if values and value not in values and not math.isnan(value):
                return f"{metric} {value:.6f} of seed {plain(seed, 20)}"
    return ""


def _verify_report(
    walk: Walk,
    workspace: Workspace,
    path: Path,
    published: Published,
    numbers: dict[SmallCells, list[ByFile]],
) -> None:
    """Name what of a report is not as published or not as its records; `numbers` keeps those for further reports."""
    report = walk.open(path, KIND)
    if report is None:
        return
    known = {each.eval_id: each for each in published.evaluations}
    named = report.settings.get("evaluations", [])
    gone = [str(each) for each in named if str(each) not in known] if isinstance(named, list) else []
    damaged = {each.name for each in walk.breaks if each.kind == EVALUATION}
    for eval_id in gone:
        if eval_id not in damaged:
            walk.name(KIND, path.name, f"shows evaluation {plain(eval_id, 120)}, which is gone")
    damaged_ablations = {each.name for each in walk.breaks if each.kind == ABLATION}
    there = {each.name for each in published.ablations} | damaged_ablations
    without = [name for name in list_ablations_of(path) if name not in there]
    for name in without:
        walk.name(KIND, path.name, f"shows ablation {plain(name, 120)}, which is gone")
    small: SmallCells = "show" if report.settings.get("small_cells") == "show" else "hide"
    if small not in numbers:
        with conditions_as(small):
            numbers[small] = list_known(workspace, published, small)
    is_whole = not (gone or without or damaged or damaged_ablations or published.damage)
    of = ReportOf({str(each) for each in named} if isinstance(named, list) and named else None, is_whole)
    for wrong in find_wrong_numbers(path, numbers[small], of):
        walk.name(KIND, path.name, wrong)
