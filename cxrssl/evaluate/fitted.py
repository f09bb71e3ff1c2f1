"""What an evaluation keeps of its probe: weights to be applied elsewhere, thresholds and calibration fitted on val.

In: a fitted probe, features and labels of val films, predictions of test films. Out: FitFiles.
Never: a threshold or a map fitted on a test film, or on fewer than ten subjects with or without the finding.

Suffix letters: N films, D features, L findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cxrssl.evaluate.fitting import AnyProbe
from cxrssl.evaluate.patches import PatchProbe
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.evaluate.probe import LinearProbe
from cxrssl.records.arrays import PatchWeights, Predictions, Weights
from cxrssl.records.eval_settings import JOINED, PIXELS, EvalSettings, ProbeSettings
from cxrssl.records.evaluation import NOT_SCORED
from cxrssl.records.fitted import (
    CLASS_TOKEN,
    RECORD,
    Calibrations,
    FindingCalibration,
    FindingPoints,
    FitFiles,
    Fitted,
    FittedAbout,
    FittedPatches,
    Point,
    Thresholds,
)
from cxrssl.records.packing import read_pack
from cxrssl.records.reading import Pooling, parse_reading
from cxrssl.stats.calibration import Calibration, Platt, fit_isotonic, fit_platt, score_calibration, sigmoid
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import FEW_SUBJECTS, count_subjects
from cxrssl.stats.thresholds import DEFAULT_RULES, fit_threshold, parse_rule, score_decisions

MAX_LOGIT = 500.0
TOO_FEW = f"val has fewer than {FEW_SUBJECTS} subjects with the finding or without it"
FALLS = "on val films the finding is not likelier where the score is higher"
NO_PROBE = "there is no probe"


def clip_logits(logits_NL: Floats) -> Floats:
    """Return log odds that can be ranked and written; a finding that could not be fitted is infinite.

    They rank better than probabilities near 0 and 1, which tie.
    """
    return np.clip(logits_NL, -MAX_LOGIT, MAX_LOGIT)


def record_fit(
    plan: EvalPlan,
    probe: AnyProbe,
    features_ND: Any,
    labels_NL: NDArray[np.int8],
    test: Predictions,
) -> FitFiles:
    """Return the probe as it was fitted, its thresholds and its maps of calibration, scored on the test films."""
    settings = plan.settings
    val = predict_rows(plan, probe, features_ND, labels_NL, plan.rows["val"])
    where = name_films(plan)
    rules = settings.probe.thresholds or DEFAULT_RULES
    return FitFiles(
        score_thresholds(fit_thresholds(val, rules, where), test, settings.probe),
        score_calibrations(fit_calibrations(val, where), test, settings.probe),
        _record_weights(plan, probe),
    )


def _record_weights(plan: EvalPlan, probe: AnyProbe) -> Fitted | FittedPatches | None:
    """Return a probe as it was fitted; None of neighbours."""
    settings, cohort, names = plan.settings, plan.cohort, np.array(plan.findings)
    about = FittedAbout(
        strength=probe.strength,
        reads=_name_inputs(settings),
        weights_sha256=settings.candidate.weights_sha256 or "",
        uncertain=settings.probe.uncertain_text,
        blank=settings.probe.blank,
        cohort=cohort.name,
        dataset=cohort.dataset,
        split=settings.split,
        pack=read_pack(plan.images.path),
        architecture=settings.candidate.architecture,
    )
    scaled = probe.mean_D, probe.scale_D, probe.is_fitted_L
    if isinstance(probe, LinearProbe):
        return Fitted(Weights(names, probe.weight_LD, probe.bias_L, *scaled), about)
    if isinstance(probe, PatchProbe):
        query_LD, weight_LD, bias_L = (
            each.double().numpy() for each in (probe.query_LD, probe.weight_LD, probe.bias_L)
        )
        return FittedPatches(PatchWeights(names, query_LD, weight_LD, bias_L, *scaled), about)
    return None


def _name_inputs(settings: EvalSettings) -> str:
    """Return which features a probe reads."""
    if settings.kind == JOINED:
        read = parse_reading(settings.candidate.read).words if settings.candidate.read else CLASS_TOKEN
        return f"{read}, {RECORD}"
    if settings.probe.protocol and settings.candidate.weights_sha256:
        return f"films as protocol {settings.probe.protocol} shows them"
    if settings.candidate.read:
        return parse_reading(settings.candidate.read).words
    return CLASS_TOKEN if settings.candidate.weights_sha256 else PIXELS if settings.kind == PIXELS else RECORD


def to_probe(fitted: Fitted) -> LinearProbe:
    """Return a probe that was recorded, ready to be applied; it was judged elsewhere."""
    kept = fitted.weights
    return LinearProbe(
        weight_LD=kept.weight_LD,
        bias_L=kept.bias_L,
        mean_D=kept.mean_D,
        scale_D=kept.scale_D,
        strength=fitted.about.strength,
        is_fitted_L=kept.is_fitted_L,
        is_judged_L=np.zeros_like(kept.is_fitted_L),
    )


def to_patch_probe(fitted: FittedPatches, pooling: Pooling) -> PatchProbe:
    """Return a probe of patches that was recorded, ready to be applied; it was judged elsewhere."""
    kept = fitted.weights
    query_LD, weight_LD, bias_L = (
        torch.from_numpy(each).float() for each in (kept.query_LD, kept.weight_LD, kept.bias_L)
    )
    return PatchProbe(
        pooling=pooling,
        query_LD=query_LD,
        weight_LD=weight_LD,
        bias_L=bias_L,
        mean_D=kept.mean_D,
        scale_D=kept.scale_D,
        strength=fitted.about.strength,
        is_fitted_L=kept.is_fitted_L,
        is_judged_L=np.zeros_like(kept.is_fitted_L),
    )


def predict_rows(
    plan: EvalPlan,
    probe: AnyProbe,
    features_ND: Any,
    labels_NL: NDArray[np.int8],
    rows: NDArray[np.int64],
) -> Predictions:
    """Return what the probe says of some films of the cohort; findings without a probe are not scored."""
    width = features_ND.shape[1]
    logits = clip_logits(probe.predict_logits(features_ND[rows])) if len(rows) else np.zeros((0, len(plan.findings)))
    assert width == len(probe.mean_D), "as many features as in train"
    truth = np.where(probe.is_fitted_L, labels_NL[rows], NOT_SCORED).astype(np.int8)
    ids = plan.cohort.image_id[rows], plan.cohort.subject_id[rows]
    return Predictions(*ids, logits, truth, np.array(plan.findings))


def name_films(plan: EvalPlan) -> str:
    """Return how files call the val films of a plan."""
    return f"{plan.cohort.name}, split {plan.settings.split}"


def fit_thresholds(val: Predictions, rules: Sequence[str], where: str) -> Thresholds:
    """Return the thresholds of each finding by these rules, fitted on val films; no test film has been scored."""
    found = {}
    for name, logits_N, labels_N, pos, neg in _findings_of(val):
        why = _why_not(labels_N, pos, neg)
        points = {}
        for rule in () if why else map(parse_rule, rules):
            logit, sens, spec = fit_threshold(logits_N, labels_N, val.subject_id, rule)
            points[rule.name] = Point(float(sigmoid(np.array(logit))), logit, sens, spec)
        found[name] = FindingPoints(pos, neg, points, why)
    return Thresholds(where, tuple(parse_rule(rule).name for rule in rules), found)


def score_thresholds(thresholds: Thresholds, test: Predictions, probe: ProbeSettings) -> Thresholds:
    """Return the thresholds with what they decide on test films; findings that are not scored keep none."""
    names = [str(name) for name in test.finding_names]
    meant = [(name, rule) for name in names for rule in thresholds.findings[name].points]
    if not meant:
        return thresholds
    columns = [names.index(name) for name, _ in meant]
    logit_K = np.array([thresholds.findings[name].points[rule].threshold_logit for name, rule in meant])
    is_called_NK = test.logits[:, columns] >= logit_K
    scored = score_decisions(
        is_called_NK, test.labels[:, columns], test.subject_id, num_resamples=probe.num_resamples, seed=probe.seed
    )
    found = {name: replace(each, points=dict(each.points)) for name, each in thresholds.findings.items()}
    for (name, rule), decisions in zip(meant, scored, strict=True):
        found[name].points[rule] = replace(found[name].points[rule], test=decisions)
    return replace(thresholds, findings=found)


def fit_calibrations(val: Predictions, where: str) -> Calibrations:
    """Return the maps of each finding fitted on val films; no test film has been scored."""
    found = {}
    for name, logits_N, labels_N, pos, neg in _findings_of(val):
        why = _why_not(labels_N, pos, neg)
        platt = None if why else fit_platt(logits_N, labels_N)
        if platt is None:
            found[name] = FindingCalibration(why_none=why or FALLS)
        else:
            found[name] = FindingCalibration(platt=platt, isotonic=fit_isotonic(logits_N, labels_N))
    return Calibrations(where, findings=found)


def score_calibrations(calibrations: Calibrations, test: Predictions, probe: ProbeSettings) -> Calibrations:
    """Return the maps with how true the probabilities of test films are without them and with each."""
    found: dict[str, FindingCalibration] = {}
    for name, logits_N, labels_N, _, _ in _findings_of(test):
        kept = calibrations.findings[name]
        if not (labels_N >= 0).any():
            found[name] = kept
            continue
        found[name] = _score_maps(kept, logits_N, labels_N, test.subject_id, probe)
    return replace(calibrations, findings=found)


def _score_maps(
    kept: FindingCalibration,
    logits_N: Floats,
    labels_N: NDArray[np.int8],
    subject_id_N: NDArray[np.str_],
    probe: ProbeSettings,
) -> FindingCalibration:
    def score(logits_N: Floats, probs_N: Floats | None = None) -> Calibration:
        drawn = {"num_resamples": probe.num_resamples, "seed": probe.seed}
        return score_calibration(logits_N, labels_N, subject_id_N, probs_N=probs_N, **drawn)

    def score_platt(platt: Platt | None) -> Calibration | None:
        return None if platt is None else score(platt.intercept + platt.slope * logits_N)

    steps = kept.isotonic
    return replace(
        kept,
        raw=score(logits_N),
        after_platt=score_platt(kept.platt),
        after_isotonic=None if steps is None else score(logits_N, steps.apply(logits_N)),
        after_there=score_platt(kept.there_platt),
    )


def _findings_of(films: Predictions) -> Iterator[tuple[str, Floats, NDArray[np.int8], int, int]]:
    """Yield name, log odds, labels, and the subjects with and without each finding."""
    pos_L, neg_L = count_subjects(films.labels, films.subject_id)
    for column, name in enumerate(films.finding_names.tolist()):
        yield str(name), films.logits[:, column], films.labels[:, column], int(pos_L[column]), int(neg_L[column])


def _why_not(labels_N: NDArray[np.int8], num_pos: int, num_neg: int) -> str:
    """Return why nothing can be fitted on these val films; empty where it can."""
    if min(num_pos, num_neg) >= FEW_SUBJECTS:
        return ""
    return TOO_FEW if (labels_N >= 0).any() or not len(labels_N) else NO_PROBE
