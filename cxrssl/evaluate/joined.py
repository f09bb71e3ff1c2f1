"""A frozen encoder and the health record in one probe: what a clinic that has the record at test time would get.

In: the candidate of an encoder, features of the record. Out: a candidate whose last columns are the record; its probe.
Never: a feature of the record that is known only after the film.

Suffix letters: N films, D features of the encoder and columns of the record, M columns of the record, L findings,
R ratios of the two strengths, S strengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.features import name_features
from cxrssl.cohort.read import Cohort
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.folds import CrossFit, Folds, choose_place, judge_pairs, score_folds
from cxrssl.evaluate.probe import STRENGTHS, LinearProbe, count_scored_subjects, fit_probe_path
from cxrssl.evaluate.shrink import weigh_columns
from cxrssl.records.eval_settings import JOINED, JOINED_WITH
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import MIN_SUBJECTS

RATIOS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""The strength of the record's columns, in those of the encoder's features."""
Features = NDArray[np.floating[Any]]
Labels = NDArray[np.int8]


def join_record(candidate: Candidate, cohort: Cohort, names: tuple[str, ...]) -> Candidate:
    """Return the encoder with the record beside its features, unknown values as columns of their own."""
    return replace(
        candidate,
        candidate_id=f"{candidate.candidate_id}{JOINED_WITH}{name_features(names, '+')}",
        kind=JOINED,
        label=f"{candidate.label}, joined with the record: {name_features(names, ', ')}",
        settings=replace(candidate.settings, features=names),
        features=lambda: np.concatenate([candidate.features(), cohort.features(names, "mask")], axis=1),
    )


def fit_joined_probe(
    train: tuple[Features, Labels],
    val: tuple[Features, Labels],
    val_subject_ids_N: NDArray[Any],
    num_columns: int,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[LinearProbe, float]:
    """Return the probe of highest mean val AUROC over pairs of strengths, of equals the first, and that of the record.

    An encoder has hundreds of features that each say little, the record a few of which some say much: under one
    strength either the record is held back or the encoder overfits. So the record's columns have a strength of their
    own, RATIOS times that of the features; with the smallest the probe is nearly that of the encoder alone. Among the
    columns the penalty is shared out by `shrink.weigh_columns` with power 1, so that more of them cost little.

    Shapes: [N, D], [N, L] for train and for val; the last `num_columns` features are the record's.
    Raises: DataError if a feature is not finite, there is no train row, or a fit does not converge.
    """
    paths = [fit_probe_path(*train, strengths, stretch_D=_stretch(num_columns, ratio)(*train)) for ratio in RATIOS]
    may_judge_L = count_scored_subjects(val[1], val_subject_ids_N) >= MIN_SUBJECTS
    aurocs_RSL = np.stack([np.where(may_judge_L, path.measure(*val), np.nan) for path in paths])
    ratio = choose_place(aurocs_RSL.reshape(1, -1, aurocs_RSL.shape[-1])) // aurocs_RSL.shape[1]
    probe = paths[ratio].choose(aurocs_RSL[ratio])
    return probe, probe.strength * RATIOS[ratio]


def cross_fit_joined(
    features_ND: Features,
    labels_NL: Labels,
    fold_N: Folds,
    subject_ids_N: NDArray[Any],
    num_columns: int,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[CrossFit, Floats]:
    """Return the probes of all folds and the record's strength in each; both are chosen as in `folds.cross_fit`."""
    strength_S = np.unique(strengths)
    aurocs_KKSL = np.concatenate(
        [
            judge_pairs(features_ND, labels_NL, fold_N, subject_ids_N, strengths, _stretch(num_columns, ratio))
            for ratio in RATIOS
        ],
        axis=2,
    )
    places_K = [divmod(choose_place(aurocs_KSL), len(strength_S)) for aurocs_KSL in aurocs_KKSL]

    def fit(k: int) -> LinearProbe:
        ratio, place = places_K[k]
        x_ND, y_NL = features_ND[fold_N != k], labels_NL[fold_N != k]
        stretch_D = _stretch(num_columns, RATIOS[ratio])(x_ND, y_NL)
        path = fit_probe_path(x_ND, y_NL, [strength_S[place]], stretch_D=stretch_D)
        return path.choose(np.full(path.biases_SL.shape, np.nan))

    is_judged_L = np.asarray(~np.isnan(aurocs_KKSL).all(axis=(0, 1, 2)))
    fitted = score_folds(features_ND, labels_NL, fold_N, fit, is_judged_L)
    return fitted, fitted.strength_K * np.array([RATIOS[ratio] for ratio, _ in places_K])


def _stretch(num_columns: int, ratio: float) -> Callable[[Features, Labels], Floats]:
    """Return what stretches fitted rows: 1 for the encoder's features, for the record's columns by ratio and weight."""

    def stretch(features_ND: Features, labels_NL: Labels) -> Floats:
        weights_M = weigh_columns(features_ND[:, -num_columns:], labels_NL, 1.0)
        return np.concatenate([np.ones(features_ND.shape[1] - num_columns), np.sqrt(ratio) * weights_M])

    return stretch
