"""One evaluation: a candidate's features, a linear probe on them, and its scores on every test film.

In: a plan and the features. Out: `evals/<eval_id>/{predictions.npz, probe.npz, scores.json, manifest.json}`.
Never: a fit that has seen a test row, or a test film left out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.artefact import is_published
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.evaluate.probe import LinearProbe, fit_linear_probe
from cxrssl.records.arrays import Predictions, ProbeFit
from cxrssl.records.evaluation import ALL, KIND, NOT_SCORED, EvalScores, Evaluation, open_evaluation, publish_evaluation
from cxrssl.stats.resample import FEW_SUBJECTS, count_subjects
from cxrssl.stats.scores import score_predictions

MAX_LOGIT = 500.0


def evaluate_plan(plan: EvalPlan, features: Callable[[], NDArray[np.float32]]) -> Evaluation:
    """Fit the probe on train films, choose its strength on validation films, score all test films, publish.

    `features` returns a row for each film of the cohort. An evaluation that is already published with the same settings
    is returned as it is, unless it is of an older version, which recorded less.
    """
    if not _is_made(plan):
        features_ND, labels_NL, rows = features(), plan.labels(), plan.rows
        train, val = rows["train"], rows["val"]
        fitted = fit_linear_probe(
            features_ND[train],
            labels_NL[train],
            features_ND[val],
            labels_NL[val],
            val_subject_ids_N=plan.cohort.subject_id[val],
        )
        predictions = _predict(plan, fitted, features_ND, labels_NL)
        fit = ProbeFit(train, fitted.mean_D, fitted.scale_D)
        publish_evaluation(plan.path, plan.settings, _score(plan, fitted, predictions), predictions, fit)
    return open_evaluation(plan.path)


def _is_made(plan: EvalPlan) -> bool:
    """Return whether an evaluation of these settings is published, and says on how many subjects its numbers rest."""
    if not is_published(plan.path, KIND, plan.settings.to_dict()):
        return False
    return open_evaluation(plan.path).was_counted


def _predict(
    plan: EvalPlan, fitted: LinearProbe, features_ND: NDArray[np.float32], labels_NL: NDArray[np.int8]
) -> Predictions:
    """Return the logits and the labels of each test film."""
    test = plan.rows["test"]
    # Logits rank better than probabilities near 0 and 1, which tie; a finding that could not be fitted is infinite.
    logits = np.clip(fitted.predict_logits(features_ND[test]), -MAX_LOGIT, MAX_LOGIT)
    # A finding without both classes in train has no probe: it is not scored, rather than scored as a coin.
    truth = np.where(fitted.is_fitted_L, labels_NL[test], NOT_SCORED).astype(np.int8)
    cohort = plan.cohort
    return Predictions(cohort.image_id[test], cohort.subject_id[test], logits, truth, np.array(plan.findings))


def _score(plan: EvalPlan, fitted: LinearProbe, predictions: Predictions) -> EvalScores:
    probe = plan.settings.probe
    scores = score_predictions(
        predictions.logits,
        predictions.labels,
        predictions.subject_id,
        plan.findings,
        num_resamples=probe.num_resamples,
        seed=probe.seed,
    )
    val = plan.rows["val"]
    pos_L, neg_L = count_subjects(plan.labels()[val], plan.cohort.subject_id[val])
    return EvalScores.of(
        scores,
        plan.num_not_packed,
        plan.num_twins_left_out,
        _names(plan, ~fitted.is_fitted_L),
        not_chosen=_names(plan, fitted.is_fitted_L & ~fitted.is_judged_L),
        chosen_on_few=_names(plan, fitted.is_judged_L & (np.minimum(pos_L, neg_L) < FEW_SUBJECTS)),
        strengths={ALL: fitted.strength} if fitted.is_fitted_L.any() else {},
    )


def _names(plan: EvalPlan, is_meant_L: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, is_meant in zip(plan.findings, is_meant_L, strict=True) if is_meant)
