"""Intervals of AUROC, and of its difference between two models, from placement values; a check of the bootstrap.

In: scores and labels of one finding, subject_ids of the films. Out: Interval without resamples.
Never: an interval for films that rank each other across folds, or where the bootstrap has none.

Suffix letters: N films, L findings, P films with the finding, Q films without it, S subjects, J models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.stats.metrics import Floats, Integers, check_finite
from cxrssl.stats.resample import DELONG, Interval, count_subjects


def check_findings(
    models: Sequence[npt.ArrayLike],
    labels_NL: npt.NDArray[np.int8],
    subject_ids_N: npt.NDArray[Any],
    fold_N: npt.NDArray[np.int64] | None = None,
    level: float = 0.95,
) -> list[Interval | None]:
    """Return the AUROC of each finding, of one model or of the first minus the second, with its interval.

    None with several folds: placement values are of films that are ranked together.

    Shapes: a model [N, L], [N, L], [N], [N].
    """
    if fold_N is not None and len(np.unique(fold_N)) > 1:
        return [None] * labels_NL.shape[1]
    _, subject_N = np.unique(subject_ids_N, return_inverse=True)
    probs = [np.asarray(each, dtype=np.float64) for each in models]
    return [
        _check([each[:, column] for each in probs], labels_N, subject_N, level)
        for column, labels_N in enumerate(labels_NL.T)
    ]


def delong_interval(
    scores_N: npt.ArrayLike, labels_N: npt.ArrayLike, subject_ids_N: npt.NDArray[Any], level: float = 0.95
) -> Interval:
    """AUROC of one model with the interval value +- z SE; labels 1, 0, and -1 for "not scored".

    Where every subject has one film this is DeLong's interval. With several films it is that of Obuchowski, who adds up
    the placement values of a subject first: films of one person are not independent.

    Shapes: [N], [N], [N].
    Source: DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44:837), equations 4 to 6; placement values by midranks as
        in Sun & Xu 2014 (IEEE Signal Process Lett 21:1389); clusters: Obuchowski 1997 (Biometrics 53:567).
    Raises: DataError if a score is not finite.
    """
    return _check([scores_N], labels_N, subject_ids_N, level)


def delong_difference(
    a_N: npt.ArrayLike,
    b_N: npt.ArrayLike,
    labels_N: npt.ArrayLike,
    subject_ids_N: npt.NDArray[Any],
    level: float = 0.95,
) -> Interval:
    """AUROC of model a minus that of model b on the same films, with the interval value +- z SE.

    Shapes: [N], [N], [N], [N].
    Source: as of `delong_interval`.
    Raises: DataError if a score is not finite.
    """
    return _check([a_N, b_N], labels_N, subject_ids_N, level)


def _check(
    models: Sequence[npt.ArrayLike], labels_N: npt.ArrayLike, subject_ids_N: npt.NDArray[Any], level: float
) -> Interval:
    """AUROC of one model, or of the first of two minus the second."""
    assert 0 < level < 1, "level is a fraction"
    scores_NJ = np.stack([np.asarray(each, np.float64) for each in models], axis=1)
    areas_J, covariance_JJ = area_covariance(scores_NJ, labels_N, subject_ids_N)
    contrast_J = np.array([1.0, -1.0][: len(models)])
    value, variance = float(contrast_J @ areas_J), float(contrast_J @ covariance_JJ @ contrast_J)
    half = math.nan if math.isnan(variance) else math.sqrt(max(variance, 0.0)) * NormalDist().inv_cdf((1 + level) / 2)
    (with_it,), (without_it,) = count_subjects(np.asarray(labels_N)[:, None], subject_ids_N)
    rarer = int(min(with_it, without_it))
    return Interval(value, value - half, value + half, 0, method=DELONG).counted(rarer, 0)


def area_covariance(
    scores_NJ: Floats, labels_N: npt.ArrayLike, subject_ids_N: npt.NDArray[Any]
) -> tuple[Floats, Floats]:
    """AUROC of each model [J], and the covariance of these estimates [J, J]; nan where it is not defined.

    With V the share of negatives below a positive film, W the share of positives above a negative one, and v_s, w_s
    the sums over the films of subject s of V - AUROC and W - AUROC:
        cov = n1 / ((n1 - 1) P^2) sum v v' + n0 / ((n0 - 1) Q^2) sum w w' + n / ((n - 1) P Q) sum (v w' + w v')
    where n1 and n0 are the subjects with a positive and with a negative film, n all of them. The last sum is that of
    subjects with both. Without such subjects, and with one film each, this is DeLong's covariance.

    Shapes: [N, J], [N], [N].
    Source: Obuchowski 1997, equations 3 to 7.
    Raises: DataError if a score is not finite.
    """
    labels_N = np.asarray(labels_N)
    assert scores_NJ.ndim == 2, "scores are [N, J]"
    assert labels_N.shape == subject_ids_N.shape == scores_NJ.shape[:1], "one label and one subject_id for each film"
    check_finite(scores_NJ)
    num_models, is_scored_N = scores_NJ.shape[1], labels_N >= 0
    scores_NJ, labels_N = scores_NJ[is_scored_N], labels_N[is_scored_N]
    pos_P, neg_Q = np.flatnonzero(labels_N == 1), np.flatnonzero(labels_N == 0)
    if not len(pos_P) or not len(neg_Q):
        return np.full(num_models, np.nan), np.full((num_models, num_models), np.nan)
    _, subject_N = np.unique(subject_ids_N[is_scored_N], return_inverse=True)
    num_subjects, num_pairs = int(subject_N.max()) + 1, len(pos_P) * len(neg_Q)
    twice_above = [_place(scores_N[pos_P], scores_N[neg_Q]) for scores_N in scores_NJ.T]
    twice_wins_J = np.array([below_P.sum() for below_P, _ in twice_above])
    v_JS, w_JS = (
        np.stack([_deviate(each[k], subject_N[films], num_subjects) for each in twice_above])
        / (2 * len(films_of_other))
        for k, (films, films_of_other) in enumerate(((pos_P, neg_Q), (neg_Q, pos_P)))
    )
    areas_J = twice_wins_J / (2 * num_pairs)
    num_with, num_without = len(np.unique(subject_N[pos_P])), len(np.unique(subject_N[neg_Q]))
    if min(num_with, num_without) < 2:
        return areas_J, np.full((num_models, num_models), np.nan)
    of_pos = v_JS @ v_JS.T * num_with / ((num_with - 1) * len(pos_P) ** 2)
    of_neg = w_JS @ w_JS.T * num_without / ((num_without - 1) * len(neg_Q) ** 2)
    crossed = v_JS @ w_JS.T * num_subjects / (num_subjects - 1)
    return areas_J, of_pos + of_neg + (crossed + crossed.T) / num_pairs


def _place(pos_P: Floats, neg_Q: Floats) -> tuple[Integers, Integers]:
    """Twice the negatives below each positive [P] and the positives above each negative [Q]; equal ones count once."""
    ranked_P, ranked_Q = np.sort(pos_P), np.sort(neg_Q)
    below_P = np.searchsorted(ranked_Q, pos_P, "left") + np.searchsorted(ranked_Q, pos_P, "right")
    below_Q = np.searchsorted(ranked_P, neg_Q, "left") + np.searchsorted(ranked_P, neg_Q, "right")
    return below_P, 2 * len(pos_P) - below_Q


def _deviate(values_M: Integers, subject_M: npt.NDArray[np.intp], num_subjects: int) -> Floats:
    """Sums over the films of each subject of value - mean, [S]; in integers, so that no order of films matters."""
    sums_S, films_S = np.bincount(subject_M, values_M, num_subjects), np.bincount(subject_M, None, num_subjects)
    deviations_S: Floats = (len(values_M) * sums_S - films_S * values_M.sum()) / len(values_M)
    return deviations_S
