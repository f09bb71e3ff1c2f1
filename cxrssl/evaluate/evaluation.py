"""One evaluation: a candidate's features, a linear probe on them, and its scores on every test film.

In: a plan and the features. Out: a published evaluation, see records.evaluation.
Never: a fit that has seen a row that it scores, or a test film left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.artefact import is_published
from cxrssl.evaluate.boxed import find_boxes, score_boxes
from cxrssl.evaluate.decode import decode_record, explain_features
from cxrssl.evaluate.descent import fit_heads
from cxrssl.evaluate.fitted import clip_logits, record_fit
from cxrssl.evaluate.fitting import AnyProbe, fit_folds, fit_split
from cxrssl.evaluate.folds import CrossFit, assign_folds
from cxrssl.evaluate.patches import PatchProbe
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.evaluate.probe import LinearProbe
from cxrssl.evaluate.shown import ShownFilms
from cxrssl.evaluate.subgroups import add_groups, is_grouped
from cxrssl.evaluate.tuned import EPOCHS, TunedFilms
from cxrssl.records.arrays import FoldFit, Predictions, ProbeFit
from cxrssl.records.boxes import find_box_scores
from cxrssl.records.eval_settings import JOINED
from cxrssl.records.evaluation import KIND, NOT_SCORED, Evaluation, open_evaluation, publish_evaluation
from cxrssl.records.fitted import find_thresholds, has_fitted, has_patches
from cxrssl.records.scores import DrawScores, EvalScores
from cxrssl.records.subgroups import write_subgroups
from cxrssl.stats.measure import lower_quartile
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import FEW_SUBJECTS, count_subjects, percentile_interval
from cxrssl.stats.scores import resample_metrics, score_predictions

DROPPED = "dropped.csv"
Features = NDArray[np.float32]
Labels = NDArray[np.int8]
Made = tuple[EvalScores, Predictions, ProbeFit | FoldFit, Mapping[str, bytes]]


def evaluate_plan(plan: EvalPlan, features: Callable[[], Any]) -> Evaluation:
    """Fit the probe on train films, choose its strength on validation films, score all test films, publish.

    With folds every film is scored by a probe of the other folds. `features` returns a row for each film of the cohort.
    An evaluation that is already published with the same settings is returned as it is, unless it is of an older
    version, which recorded less.
    """
    if not _is_made(plan):
        features_ND, labels_NL = features(), plan.labels()
        made = _score_folds if plan.group_N is not None else _score_split
        _publish(plan, *made(plan, features_ND, labels_NL))
    evaluation = open_evaluation(plan.path)
    if evaluation.scores.is_matched or not is_grouped(plan):
        return evaluation
    fit = evaluation.folds() or evaluation.fit()
    _publish(plan, evaluation.scores, evaluation.predictions(), fit, evaluation.read_more())
    return open_evaluation(plan.path)


def _publish(
    plan: EvalPlan,
    scores: EvalScores,
    predictions: Predictions,
    fit: ProbeFit | FoldFit | None,
    more: Mapping[str, bytes],
) -> None:
    """Publish an evaluation with its scores of alike films and of groups, which need no fit."""
    fold_R = fit.fold_N if isinstance(fit, FoldFit) else None
    scores, subgroups = add_groups(plan, scores, predictions, fold_R)
    publish_evaluation(plan.path, plan.settings, scores, predictions, fit, {**more, **write_subgroups(subgroups)})


def _is_made(plan: EvalPlan) -> bool:
    """Return whether an evaluation of these settings is published, with all that this version records."""
    if not is_published(plan.path, KIND, plan.settings.to_dict()):
        return False
    made = open_evaluation(plan.path)
    if made.imported:  # it came without what was predicted
        return False
    return made.was_counted and made.scores.is_decoded == _is_encoded(plan) and _has_fit(plan, made)


def _has_fit(plan: EvalPlan, made: Evaluation) -> bool:
    """Return whether it recorded its probe; of neighbours what val films made of it, and of folds nothing."""
    is_tuned = made.scores.head is not None and made.scores.head.is_tuned
    if plan.group_N is not None or is_tuned:  # what was fine-tuned is a run of its own
        return True
    if plan.reading.kind == "knn":
        return find_thresholds(made) is not None
    if not plan.reading.pooling:
        return has_fitted(made)
    boxes, scored = find_boxes(plan), find_box_scores(made.path)
    return has_patches(made) and (boxes is None or (scored is not None and scored.sha256 == boxes.sha256))


def _is_encoded(plan: EvalPlan) -> bool:
    """Return whether the features are those of an encoder, of which it is asked what they show of the record.

    It is not asked again of a share of the labels or under a protocol of others, as the record is no label, nor of
    neighbours, as it is decoded from the same features.
    """
    settings = plan.settings
    is_encoder = settings.candidate.weights_sha256 is not None and settings.kind != JOINED
    is_ours = settings.probe.fraction is None and settings.probe.protocol is None
    return is_encoder and is_ours and plan.reading.is_linear


def _decode(plan: EvalPlan, features_ND: Features, fold_R: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Return what the features show of the record, as fields of the scores; nothing of the record itself."""
    if not _is_encoded(plan):
        return {}
    decoded, r2 = decode_record(plan, features_ND, fold_R), explain_features(plan, features_ND, fold_R)
    return {"is_decoded": True, "decoded": decoded, "record_r2": r2}


def _score_split(plan: EvalPlan, features_ND: Any, labels_NL: Labels) -> Made:
    """Fit on train, choose the strength on val, score test; a protocol of others trains heads and chooses one."""
    train, test = plan.rows["train"], plan.rows["test"]
    about: dict[str, Any] = {"strengths": {}, "num_dropped": {key: len(rows) for key, rows in plan.dropped.items()}}
    fitted: AnyProbe
    more: dict[str, bytes] = {DROPPED: list_dropped(plan)} if plan.dropped else {}
    if isinstance(features_ND, ShownFilms):
        fitted, about["head"], others = fit_heads(plan, features_ND, labels_NL)
        if others:
            about["over_draws"] = _score_draws(plan, (fitted, *others), features_ND, labels_NL)
    elif isinstance(features_ND, TunedFilms):
        fitted, about["head"], more[EPOCHS] = features_ND.tune(plan, labels_NL)
    else:
        fitted, about["strengths"] = fit_split(plan, features_ND, labels_NL)
    predictions = _predict(plan, fitted.predict_logits(features_ND[test]), labels_NL, fitted.is_fitted_L)
    about |= {"selected_on": about["head"].selected_on} if "head" in about else {}
    choose = plan.rows[about.get("selected_on", "val")]
    pos_L, neg_L = count_subjects(labels_NL[choose], plan.cohort.subject_id[choose])
    about |= {**_decode(plan, features_ND), **_count_labelled(plan, labels_NL)}
    scores = _score(plan, predictions, fitted, np.minimum(pos_L, neg_L), about)
    files = record_fit(plan, fitted, features_ND, labels_NL, predictions).to_files()
    files |= look_at_boxes(plan, fitted, features_ND)
    return scores, predictions, ProbeFit(train, fitted.mean_D, fitted.scale_D), {**files, **more}


def look_at_boxes(plan: EvalPlan, fitted: AnyProbe, features: Any) -> dict[str, bytes]:
    """Return, as files by name, where a probe of patches looks; nothing of other probes, or without boxes."""
    boxes = find_boxes(plan)
    if boxes is None or not isinstance(fitted, PatchProbe):
        return {}
    return score_boxes(plan, fitted, features, boxes).to_files()


def list_dropped(plan: EvalPlan) -> bytes:
    """Return the films that a protocol leaves out, as a CSV of split and image_id."""
    lines = [["split", "image_id"]]
    lines += [[split, str(plan.cohort.image_id[row])] for split, rows in plan.dropped.items() for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def _score_folds(plan: EvalPlan, features_ND: Features, labels_NL: Labels) -> Made:
    """Score every film by a probe that was fitted on the other folds."""
    rows, probe = plan.rows["test"], plan.settings.probe
    assert plan.group_N is not None, "a plan with folds"
    subjects, labels_RL = plan.cohort.subject_id[rows], labels_NL[rows]
    fold_R = assign_folds(labels_RL, plan.group_N, probe.folds, probe.seed)
    fitted, strengths = fit_folds(plan, features_ND[rows], labels_RL, fold_R)
    predictions = _predict(plan, fitted.logits_NL, labels_NL, fitted.is_fitted_L)
    counts = [count_subjects(labels_RL[fold_R == k], subjects[fold_R == k]) for k in range(probe.folds)]
    rarer_L = np.sum([np.minimum(pos_L, neg_L) for pos_L, neg_L in counts], axis=0)
    about = {"strengths": strengths, **_decode(plan, features_ND, fold_R)}
    scores = _score(plan, predictions, fitted, rarer_L, about, fold_R)
    return scores, predictions, FoldFit(fold_R, fitted.mean_KD, fitted.scale_KD), {}


def _score_draws(plan: EvalPlan, probes: Sequence[LinearProbe], features: ShownFilms, labels_NL: Labels) -> DrawScores:
    """Return the mean over heads of their macro AUROC on the test films, on the same resamples."""
    test, how, found = plan.rows["test"], plan.settings.probe, []
    for probe in probes:
        films = _predict(plan, probe.predict_logits(features[test]), labels_NL, probe.is_fitted_L)
        truth = films.labels, films.subject_id, plan.findings
        values, samples = resample_metrics(films.logits, *truth, num_resamples=how.num_resamples, seed=how.seed)
        found.append((values[0, 0], samples[0, 0]))
    pos_L, neg_L = count_subjects(films.labels, films.subject_id)
    rarer_L = np.minimum(pos_L, neg_L)
    values_D, samples_DR = np.array([each for each, _ in found]), np.stack([each for _, each in found])
    rarer = lower_quartile(rarer_L[rarer_L > 0].tolist())
    mean = percentile_interval(float(values_D.mean()), samples_DR.mean(axis=0), rarer)
    return DrawScores(len(probes), mean, float(values_D.min()), float(values_D.max()))


def _count_labelled(plan: EvalPlan, labels_NL: Labels) -> dict[str, Any]:
    """Return whose labels were drawn, and how many of them have each finding, as fields of the scores."""
    if plan.settings.probe.fraction is None:
        return {}
    rows = plan.rows["train"]
    subjects = plan.cohort.subject_id[rows]
    pos_L, _ = count_subjects(labels_NL[rows], subjects)
    by_finding = dict(zip(plan.findings, map(int, pos_L), strict=True))
    return {"num_train_subjects": len(np.unique(subjects)), "train_pos_subjects": by_finding}


def _predict(plan: EvalPlan, logits_RL: Floats, labels_NL: Labels, is_fitted_L: NDArray[np.bool_]) -> Predictions:
    """Return the logits and the labels of each test film."""
    test, cohort = plan.rows["test"], plan.cohort
    logits = clip_logits(logits_RL)
    # A finding without both classes in train has no probe: it is not scored, rather than scored as a coin.
    truth = np.where(is_fitted_L, labels_NL[test], NOT_SCORED).astype(np.int8)
    return Predictions(cohort.image_id[test], cohort.subject_id[test], logits, truth, np.array(plan.findings))


def _score(
    plan: EvalPlan,
    predictions: Predictions,
    fitted: AnyProbe | CrossFit,
    rarer_L: NDArray[np.int64],
    about: dict[str, Any],
    fold_R: NDArray[np.int64] | None = None,
) -> EvalScores:
    """Return the scores; `rarer_L` are the subjects on which each finding had its part in the choice of strength."""
    probe = plan.settings.probe
    is_few_L = (rarer_L < FEW_SUBJECTS) & (not plan.is_chosen_in_train)
    scores = score_predictions(
        predictions.logits,
        predictions.labels,
        predictions.subject_id,
        plan.findings,
        num_resamples=probe.num_resamples,
        seed=probe.seed,
        fold_N=fold_R,
    )
    return EvalScores.of(
        scores,
        plan.num_not_packed,
        plan.num_twins_left_out,
        _names(plan, ~fitted.is_fitted_L),
        not_chosen=_names(plan, fitted.is_fitted_L & ~fitted.is_judged_L & bool(about["strengths"])),
        chosen_on_few=_names(plan, fitted.is_judged_L & is_few_L),
        num_left_out=plan.num_left_out,
        **about,
    )


def _names(plan: EvalPlan, is_meant_L: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, is_meant in zip(plan.findings, is_meant_L, strict=True) if is_meant)
