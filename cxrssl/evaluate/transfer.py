"""A probe applied unchanged to other cohorts, beside one that is fitted there.

In: an evaluation with its fitted probe, cohorts by name. Out: for each cohort two published evaluations on the same
test films, of the findings that both cohorts have, and their paired difference.
Never: a weight, a threshold or a map of the carried probe that has seen the other cohort, a cohort whose test films the
encoder or the probe has seen, unless that is allowed and said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from cxrssl.cohort.finding_names import explain_unlike, shared_findings
from cxrssl.cohort.read import Cohort
from cxrssl.core.artefact import is_published
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.apart import find_fitted_on, measure_change
from cxrssl.evaluate.asked import Asked, settle
from cxrssl.evaluate.before import check_elsewhere, check_findings, compare_packs
from cxrssl.evaluate.candidate import Candidate, open_run, run_candidate
from cxrssl.evaluate.compare import compare_published
from cxrssl.evaluate.evaluation import DROPPED, evaluate_plan, list_dropped, look_at_boxes
from cxrssl.evaluate.external import external_candidate, read_seen
from cxrssl.evaluate.fitted import (
    fit_calibrations,
    name_films,
    predict_rows,
    score_calibrations,
    score_thresholds,
)
from cxrssl.evaluate.fitting import AnyProbe
from cxrssl.evaluate.plan import EvalPlan, plan_evaluation
from cxrssl.evaluate.reading import read_candidate
from cxrssl.evaluate.run import ProbeChoices
from cxrssl.evaluate.shown import shown_candidate
from cxrssl.evaluate.subgroups import add_groups, is_grouped
from cxrssl.evaluate.taken import MakeCandidate, choose_findings, reading_of, take_probe
from cxrssl.images.store import ImageStore
from cxrssl.model.external import ExternalChoices, open_external
from cxrssl.records.eval_settings import CARRIED_LABEL, Carried, ProbeSettings
from cxrssl.records.evaluation import KIND, Evaluation, open_evaluation, publish_evaluation
from cxrssl.records.fitted import (
    Calibrations,
    CarriedFrom,
    FindingCalibration,
    FindingPoints,
    FitFiles,
    Thresholds,
    find_calibrations,
    find_source,
    find_thresholds,
)
from cxrssl.records.scores import EvalScores
from cxrssl.records.subgroups import write_subgroups
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import Comparison, score_predictions
from cxrssl.train.device import choose_devices
from cxrssl.train.pooled import open_films

Pairs = tuple[tuple[str, str], ...]
"""Names of findings where the probe was fitted, and where it is carried to."""


@dataclass(frozen=True)
class Transfer:
    """What came of a probe in another cohort."""

    carried: Evaluation
    there: Evaluation
    """The same encoder with a probe fitted there, on the same findings."""
    difference: Comparison
    """Fitted there minus carried, on the same resamples."""
    change: dict[str, Interval]
    """AUROC of the carried probe there minus at home, by finding and as "macro"; each cohort resampled apart."""
    unlike: tuple[str, ...]
    """Findings that are taken for each other and are not the same, in sentences."""
    packed: str
    """How the films there are packed otherwise, in a sentence; empty where they are alike."""
    left_out: tuple[str, ...]
    """Shared findings without both classes in train there, which cannot be fitted there."""


def run_maker(workspace: Workspace, evaluation: Evaluation, device: str, num_gpus: int = 1) -> MakeCandidate:
    """Return what makes the run of an evaluation a candidate for other cohorts."""
    settings = evaluation.settings
    which = settings.candidate.encoder or "target"
    run_id, encoder = open_run(workspace, settings.run_id, which)
    places = choose_devices(device, num_gpus)
    return lambda cohort, images, scheme: run_candidate(workspace, run_id, encoder, images, places, which)


def external_maker(
    workspace: Workspace, external: ExternalChoices, seen_path: Path | None, device: str, num_gpus: int = 1
) -> MakeCandidate:
    """Return what makes an encoder of others a candidate for other cohorts."""
    seen = read_seen(seen_path) if seen_path else None
    encoder, origin = open_external(external)
    places, name = choose_devices(device, num_gpus), external.path.absolute().name.removesuffix(".safetensors")

    def make(cohort: Cohort, images: ImageStore, scheme: str) -> Candidate:
        return external_candidate(workspace, name, encoder, origin, (cohort, images, scheme), seen, places)

    return make


def check_carriable(settings: ProbeSettings) -> None:
    """Raise UsageError for a probe that cannot be carried."""
    if settings.folds:
        what = "--folds fits a probe for each fold, and none that could be carried to another cohort"
        raise UsageError(what, hint="leave out --folds or --test-on")


def carry_probe(
    workspace: Workspace,
    source: Evaluation,
    cohort_names: Sequence[str],
    make_candidate: MakeCandidate,
    choices: ProbeChoices,
) -> list[Transfer]:
    """Apply the fitted probe of an evaluation to the test films of other cohorts, beside a probe fitted there.

    Raises: UsageError for the cohort that it was fitted on, DataError when no finding is shared or the probe was not
        recorded, LeakageError when the encoder or the probe has seen test films or subjects there.
    """
    check_carriable(source.settings.probe)
    probe = take_probe(workspace, source, make_candidate)
    for name in cohort_names:
        check_elsewhere(name, source.settings.cohort)
    opened = [open_films(workspace, name) for name in dict.fromkeys(cohort_names)]
    for cohort, _ in opened:
        check_findings(cohort)
        compare_packs(workspace, source.settings.cohort, cohort)
    return [_carry_to(workspace, source, probe, films, make_candidate, choices) for films in opened]


def _carry_to(
    workspace: Workspace,
    source: Evaluation,
    probe: AnyProbe,
    films: tuple[Cohort, ImageStore],
    make_candidate: MakeCandidate,
    choices: ProbeChoices,
) -> Transfer:
    cohort, images = films
    about = source.settings
    is_alike = cohort.dataset == about.dataset and about.split in cohort.schemes
    scheme = about.split if is_alike else cohort.default_split
    places, own = choose_devices(choices.device, choices.num_gpus), make_candidate(cohort, images, scheme)
    candidate = read_candidate(workspace, own, reading_of(source), images, places)
    candidate = shown_candidate(workspace, candidate, choices.protocol, images, places)
    all_names = source.predictions().finding_names.tolist()
    names = [name for name in all_names if name not in source.scores.not_fitted]
    asked = Asked(where=about.probe.where or "", find_films=choices.asked.find_films)

    def plan_of(pairs: Pairs) -> EvalPlan:
        if not pairs:
            what = f"no finding of the probe means the same in cohort {cohort.name} and can be fitted there"
            raise DataError(what, cohort.folder, f"the probe has {', '.join(names)}")
        settings, is_kept_N = settle(_settings_there(about.probe, cohort, pairs), cohort, asked)
        return plan_evaluation(workspace, candidate, cohort, images, scheme, settings, choices.may_overlap, is_kept_N)

    shared = shared_findings(names, cohort.finding_names.tolist())
    plan = plan_of(shared)
    unfit = _find_unfit(plan)
    pairs = tuple(pair for pair in shared if pair[1] not in unfit)
    if unfit:
        plan = plan_of(pairs)
    leak = find_fitted_on(workspace, source, plan)
    if leak and not choices.may_overlap:
        hint = "test on a cohort of other patients; or --allow-overlap"
        raise LeakageError(leak, candidate.candidate_id, hint)
    features = cache(candidate.features)
    there = evaluate_plan(plan, features)
    packed = compare_packs(workspace, about.cohort, cohort)
    carried = _evaluate_carried(source, probe, pairs, _plan_carried(plan, source, leak), features, packed)
    difference = compare_published(workspace, there, carried).differences
    unlike = explain_unlike(names, cohort.finding_names.tolist())
    change = measure_change(source, carried)
    return Transfer(carried, there, difference, change, unlike, packed, tuple(unfit))


def _find_unfit(plan: EvalPlan) -> list[str]:
    """Return the findings of a plan of which train holds one class, or no label."""
    labels_NL = plan.labels()[plan.rows["train"]]
    has_both_L = (labels_NL == 1).any(axis=0) & (labels_NL == 0).any(axis=0)
    return [name for name, has_both in zip(plan.findings, has_both_L.tolist(), strict=True) if not has_both]


def _settings_there(probe: ProbeSettings, cohort: Cohort, pairs: Pairs) -> ProbeSettings:
    """Return the settings of a probe in another cohort: the shared findings, by the names that they have there."""
    name_there = dict(pairs)
    wanted = {name for _, name in pairs}
    chosen = tuple(name for name in cohort.finding_names.tolist() if name in wanted)
    policies = [each.rsplit("=", 1) for each in probe.uncertain_by or ()]
    own = tuple(f"{name_there[name]}={policy}" for name, policy in policies if name in name_there)
    is_all = len(chosen) == len(cohort.finding_names)
    return replace(probe, findings=None if is_all else chosen, uncertain_by=own or None, where=None, where_sha256=None)


def _plan_carried(plan: EvalPlan, source: Evaluation, leak: str) -> EvalPlan:
    """Return the plan of the same test films for the probe that was fitted elsewhere."""
    about = source.settings
    origin = Carried(about.cohort, about.split, about.cohort_sha256, hash_settings([about.terms]))
    said = "; ".join(part for part in (plan.settings.leak, leak) if part)
    label = f"{plan.settings.label}{CARRIED_LABEL}{about.cohort}"
    settings = replace(plan.settings, label=label, carried=origin, leak=said)
    name = f"{settings.candidate_id}-on-{settings.cohort}-{settings.split}"
    eval_id = f"{name}-{hash_settings(settings.to_dict())[:8]}"
    return replace(plan, eval_id=eval_id, path=plan.path.parent / eval_id, settings=settings)


def _evaluate_carried(
    source: Evaluation,
    probe: AnyProbe,
    pairs: Pairs,
    plan: EvalPlan,
    features: Callable[[], Any],
    packed: str,
) -> Evaluation:
    """Score the test films by the carried probe and publish that, unless it is published of this very probe."""
    findings = {there: here for here, there in pairs}
    origin = CarriedFrom(source.eval_id, source.content_sha256, findings, packed or None)
    if is_published(plan.path, KIND, plan.settings.to_dict()):
        made = open_evaluation(plan.path)
        if find_source(made) == origin and (made.scores.is_matched or not is_grouped(plan)):
            return made
    here, at_home = {there: name for name, there in pairs}, source.predictions().finding_names.tolist()
    probe = choose_findings(probe, [at_home.index(here[name]) for name in plan.findings])
    features_ND, labels_NL = features(), plan.labels()
    test = predict_rows(plan, probe, features_ND, labels_NL, plan.rows["test"])
    val = predict_rows(plan, probe, features_ND, labels_NL, plan.rows["val"])
    how = plan.settings.probe
    scores = EvalScores.of(
        score_predictions(
            test.logits, test.labels, test.subject_id, plan.findings, num_resamples=how.num_resamples, seed=how.seed
        ),
        plan.num_not_packed,
        plan.num_twins_left_out,
        (),
        num_left_out=plan.num_left_out,
        strengths=source.scores.strengths,
        head=source.scores.head,
        selected_on=source.scores.selected_on,
        num_dropped={split: len(rows) for split, rows in plan.dropped.items()},
    )
    thresholds, calibrations = find_thresholds(source), find_calibrations(source)
    assert thresholds is not None, "recorded with the probe"
    assert calibrations is not None, "recorded with the probe"
    points = {there: thresholds.findings[here] for here, there in pairs}
    maps = {there: calibrations.findings[here] for here, there in pairs}
    files = FitFiles(
        score_thresholds(_unscored(thresholds, points), test, how),
        score_calibrations(_with_maps_there(calibrations, maps, fit_calibrations(val, name_films(plan))), test, how),
        source=origin,
    )
    scores, groups = add_groups(plan, scores, test, None)
    more = look_at_boxes(plan, probe, features_ND) | ({DROPPED: list_dropped(plan)} if plan.dropped else {})
    more |= write_subgroups(groups)
    publish_evaluation(plan.path, plan.settings, scores, test, None, {**files.to_files(), **more})
    return open_evaluation(plan.path)


def _unscored(thresholds: Thresholds, findings: dict[str, FindingPoints]) -> Thresholds:
    """Return the thresholds by the names of findings in another cohort, without what they decided in their own."""
    bare = {
        name: replace(each, points={rule: replace(point, test=None) for rule, point in each.points.items()})
        for name, each in findings.items()
    }
    return replace(thresholds, findings=bare)


def _with_maps_there(
    calibrations: Calibrations, findings: dict[str, FindingCalibration], there: Calibrations
) -> Calibrations:
    """Return the carried maps, with those fitted on val films of the other cohort beside them."""
    bare = {
        name: FindingCalibration(
            platt=each.platt,
            isotonic=each.isotonic,
            there_platt=there.findings[name].platt,
            why_none=each.why_none,
        )
        for name, each in findings.items()
    }
    return Calibrations(calibrations.fitted_on, there.fitted_on, bare)
