"""What of the health record is linearly decodable from frozen features, and how far the record explains the features.

In: a plan, the features. Out: Decodings with intervals over subjects. Never: a feature that the cohort does not know,
or a film scored by what was fitted on its patient.

Suffix letters: N films of the cohort, R scored films, D features, C categories.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.features import find_feature
from cxrssl.cohort.read import SPLITS
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.evaluate.probe import fit_linear_probe, prevalence_logit
from cxrssl.evaluate.record import known_features
from cxrssl.evaluate.ridge import Rows, predict_by_ridge
from cxrssl.records.scores import Decoding
from cxrssl.stats.explained import score_r2
from cxrssl.stats.metrics import Floats
from cxrssl.stats.scores import score_predictions

ASKED = ("sex", "age", "view", "icu", "race")
Index = NDArray[np.int64]


class Round(NamedTuple):
    """Rows of the cohort: what is fitted, what chooses the strength, what is scored."""

    fitted: Index
    val: Index
    scored: Index


def list_rounds(plan: EvalPlan, fold_R: Index | None) -> list[Round]:
    """Return the split as one round; with folds one for each, in which the next fold chooses the strength."""
    if fold_R is None:
        return [Round(*(plan.rows[split] for split in SPLITS))]
    rows, num_folds = plan.rows["test"], int(fold_R.max()) + 1
    pairs = [(k, (k + 1) % num_folds) for k in range(num_folds)]
    return [Round(rows[(fold_R != k) & (fold_R != j)], rows[fold_R == j], rows[fold_R == k]) for k, j in pairs]


def decode_record(
    plan: EvalPlan, features_ND: NDArray[np.floating[Any]], fold_R: Index | None = None
) -> dict[str, Decoding]:
    """Return by feature of ASKED how well it is decoded on the scored films; what the cohort does not know is left out.

    A word is decoded by the linear probe of the findings, with a strength of its own: AUROC for two words, and for more
    the mean over words of each against the others. A number is decoded by ridge regression: R2.
    """
    rounds, decoded = list_rounds(plan, fold_R), {}
    for name in ASKED:
        decode = _decode_words if find_feature(name).categories else _decode_number
        decoding = decode(plan, features_ND.astype(np.float64), rounds, name)
        if decoding is not None:
            decoded[name] = decoding
    return decoded


def explain_features(
    plan: EvalPlan, features_ND: NDArray[np.floating[Any]], fold_R: Index | None = None
) -> Decoding | None:
    """Return R2 of the features on the record: how much of their variance a ridge regression on the record explains.

    The record is what is known when the film is taken, unknown values as columns of their own. The variance is summed
    over the features as they are. None where the cohort knows nothing of the record.
    """
    names = known_features(plan.cohort)
    if not names:
        return None
    record_NM = plan.cohort.features(names, "mask").astype(np.float64)
    return _score_number(plan, record_NM, features_ND.astype(np.float64), list_rounds(plan, fold_R))


def _decode_words(plan: EvalPlan, features_ND: Floats, rounds: list[Round], name: str) -> Decoding | None:
    words, cohort, column = find_feature(name).categories, plan.cohort, plan.cohort.column_of(name)
    known_N, value_N = cohort.ehr_known[:, column], cohort.ehr_values[:, column]
    words = words[:1] if len(words) == 2 else words
    labels_NC = np.stack([value_N == place for place in range(len(words))], axis=1).astype(np.int8)
    labels_NC[~known_N] = -1
    logits_NC = np.zeros(labels_NC.shape)
    is_fitted_C = np.ones(len(words), np.bool_)
    for fitted, val, scored in rounds:
        probe = fit_linear_probe(
            features_ND[fitted],
            labels_NC[fitted],
            features_ND[val],
            labels_NC[val],
            val_subject_ids_N=cohort.subject_id[val],
        )
        is_fitted_C &= probe.is_fitted_L
        with np.errstate(invalid="ignore"):  # infinite where it is not fitted
            logits_NC[scored] = probe.predict_logits(features_ND[scored]) - prevalence_logit(labels_NC[fitted])
    rows = np.concatenate([each.scored for each in rounds])
    rows = np.sort(rows[known_N[rows]])
    truth_RC = np.where(is_fitted_C, labels_NC[rows], -1).astype(np.int8)
    round_N = np.zeros(len(cohort), np.int64)
    for number, each in enumerate(rounds):
        round_N[each.scored] = number
    settings = plan.settings.probe
    scores = score_predictions(
        np.where(is_fitted_C, np.round(logits_NC[rows], 9), 0.0),
        truth_RC,
        cohort.subject_id[rows],
        words,
        num_resamples=settings.num_resamples,
        seed=settings.seed,
        fold_N=round_N[rows],
    )
    if scores.macro_auroc.mark == "not defined":
        return None
    metric = "AUROC" if len(words) == 1 else "macro AUROC"
    return Decoding(metric, scores.macro_auroc, scores.num_films, scores.num_subjects)


def _decode_number(plan: EvalPlan, features_ND: Floats, rounds: list[Round], name: str) -> Decoding | None:
    column = plan.cohort.column_of(name)
    known_N = plan.cohort.ehr_known[:, column]
    values_N1 = plan.cohort.ehr_values[:, [column]].astype(np.float64)
    known_rounds = [Round(*(rows[known_N[rows]] for rows in each)) for each in rounds]
    return _score_number(plan, features_ND, values_N1, known_rounds)


def _score_number(plan: EvalPlan, inputs_ND: Floats, values_NT: Floats, rounds: list[Round]) -> Decoding | None:
    """Return R2 of what ridge regression predicts of the scored rows; None where there is nothing to fit or score."""
    if not all(len(each.fitted) for each in rounds):
        return None
    scored = np.concatenate([each.scored for each in rounds])
    predicted_RT = np.concatenate(list(_predict_rounds(inputs_ND, values_NT, rounds)))
    subjects = plan.cohort.subject_id[scored]
    settings = plan.settings.probe
    if not len(scored):
        return None
    score = score_r2(
        predicted_RT, values_NT[scored], subjects, num_resamples=settings.num_resamples, seed=settings.seed
    )
    return None if score.mark == "not defined" else Decoding("R2", score, len(scored), len(np.unique(subjects)))


def _predict_rounds(inputs_ND: Floats, values_NT: Floats, rounds: list[Round]) -> Iterator[Floats]:
    for fitted, val, scored in rounds:
        yield predict_by_ridge(
            Rows(inputs_ND[fitted], values_NT[fitted]), Rows(inputs_ND[val], values_NT[val]), inputs_ND[scored]
        )
