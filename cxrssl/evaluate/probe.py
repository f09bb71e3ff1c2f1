"""Linear probe: one L2-penalised logistic regression for each finding on frozen features, all findings at once.

In: features and labels of the train and val rows. Out: LinearProbe, small enough to print. Never: fit anything (means,
scales, weights) on other rows than train; use val for anything but the choice of the strength; see a test row.

Suffix letters: N films, D features, L findings, F findings that are fitted, S strengths.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cxrssl.core.errors import DataError
from cxrssl.evaluate.newton import fit_path
from cxrssl.stats.metrics import Floats, auroc, check_finite
from cxrssl.stats.resample import MIN_SUBJECTS

COLUMNS_AT_ONCE = 16
"""Of features that are made float64, so that there is no second copy of all."""
STRENGTHS = tuple(10.0**power for power in range(-4, 3))


@dataclasses.dataclass(frozen=True)
class LinearProbe:
    """A fitted probe: probability = sigmoid(weight (features - mean) / scale + bias)."""

    weight_LD: Floats
    """Of the standardised features; 0 where a finding is not fitted."""
    bias_L: Floats
    """Where a finding is not fitted: the logit of its prevalence in train, which may be infinite."""
    mean_D: Floats
    scale_D: Floats
    """Standard deviation in train; 1 for a constant feature."""
    strength: float
    """Inverse L2 strength (scikit-learn's C) of all findings; nan where none is fitted."""
    is_fitted_L: npt.NDArray[np.bool_]
    """False where train holds one class only (or no label), so that the prediction is constant."""
    is_judged_L: npt.NDArray[np.bool_]
    """Whether the val AUROC of this finding had a part in the choice of the strength."""

    def predict_logits(self, features_ND: npt.ArrayLike) -> Floats:
        """Log odds of each finding; these keep differences that probabilities near 1 round away.

        Shapes: [N, D] -> [N, L].
        Raises: DataError if a feature is not finite.
        """
        features_ND = _as_features(features_ND, "features")
        assert features_ND.shape[1] == len(self.mean_D), "as many features as in train"
        return ((features_ND - self.mean_D) / self.scale_D) @ self.weight_LD.T + self.bias_L

    def predict(self, features_ND: npt.ArrayLike) -> Floats:
        """Probability of each finding.

        Shapes: [N, D] -> [N, L].
        Raises: DataError if a feature is not finite.
        """
        probs_NL: Floats = torch.sigmoid(torch.from_numpy(self.predict_logits(features_ND))).numpy()
        return probs_NL


@dataclasses.dataclass(frozen=True)
class ProbePath:
    """The probes of all strengths, ascending, fitted on the same rows."""

    strength_S: Floats
    weights_SLD: Floats
    biases_SL: Floats
    mean_D: Floats
    scale_D: Floats
    is_fitted_L: npt.NDArray[np.bool_]

    def measure(self, features_ND: npt.ArrayLike, labels_NL: npt.ArrayLike) -> Floats:
        """AUROC of each strength and finding on other rows, [S, L]; nan where it is not fitted or a class is absent.

        Raises: DataError if a feature is not finite.
        """
        features_ND = _as_features(features_ND, "val features")
        labels_NL = _as_labels(labels_NL, features_ND)
        assert features_ND.shape[1] == len(self.mean_D), "as many features as in train"
        assert labels_NL.shape[1] == len(self.is_fitted_L), "as many findings as in train"
        z_ND = (features_ND - self.mean_D) / self.scale_D
        aurocs_SL = np.full(self.biases_SL.shape, np.nan)
        for s, finding in np.argwhere(np.broadcast_to(self.is_fitted_L, aurocs_SL.shape)):
            logits_N = z_ND @ self.weights_SLD[s, finding] + self.biases_SL[s, finding]
            aurocs_SL[s, finding] = auroc(logits_N, labels_NL[:, finding])
        return aurocs_SL

    def choose(self, aurocs_SL: Floats, may_judge_L: npt.NDArray[np.bool_] | None = None) -> LinearProbe:
        """The probe of highest mean AUROC over the findings that have one, the first of equals; else the middle one."""
        is_judged_L = np.asarray(~np.isnan(aurocs_SL).any(axis=0))
        if may_judge_L is not None:
            is_judged_L &= may_judge_L
        s = (len(self.strength_S) - 1) // 2
        if is_judged_L.any():
            s = int(np.argmax(aurocs_SL[:, is_judged_L].mean(axis=1)))
        return LinearProbe(
            weight_LD=self.weights_SLD[s],
            bias_L=self.biases_SL[s],
            mean_D=self.mean_D,
            scale_D=self.scale_D,
            strength=float(self.strength_S[s]) if self.is_fitted_L.any() else math.nan,
            is_fitted_L=self.is_fitted_L,
            is_judged_L=is_judged_L,
        )


def fit_linear_probe(
    train_x_ND: npt.ArrayLike,
    train_y_NL: npt.ArrayLike,
    val_x_ND: npt.ArrayLike,
    val_y_NL: npt.ArrayLike,
    strengths: Sequence[float] = STRENGTHS,
    *,
    val_subject_ids_N: npt.NDArray[Any] | None = None,
    device: str | torch.device = "cpu",
) -> LinearProbe:
    """The probe with the one strength of highest mean val AUROC over the findings (of equals the smallest).

    -1 is ignored. A finding without a defined val AUROC, or whose val rows are all of one subject, has no part in the
    choice; where none has, the strength is the middle one. A finding with one class in train predicts its prevalence.
    Equal inputs give equal bits on one machine with one number of threads.

    Shapes: [N, D], [N, L] for train and for val; val_subject_ids_N [N], None for a subject a row.
    Differs: the published code trains a head with Adam on augmented films and stops early (paper.md 1.3); here the
        optimum itself is found, so the result depends on no learning rate, batch order or patience.
    Raises: DataError if a feature is not finite, there is no train row, or the fit does not converge.
    """
    path = fit_probe_path(train_x_ND, train_y_NL, strengths, device)
    aurocs_SL = path.measure(val_x_ND, val_y_NL)
    return path.choose(aurocs_SL, count_scored_subjects(val_y_NL, val_subject_ids_N) >= MIN_SUBJECTS)


def fit_probe_path(
    train_x_ND: npt.ArrayLike,
    train_y_NL: npt.ArrayLike,
    strengths: Sequence[float] = STRENGTHS,
    device: str | torch.device = "cpu",
    stretch_D: Floats | None = None,
) -> ProbePath:
    """The probes of several strengths, fitted on train rows; -1 is ignored.

    The strength of feature d is multiplied by stretch_D[d] squared: it is fitted on its standardised values times that,
    and 0 leaves it out. None is 1 for all.

    Shapes: [N, D], [N, L], [D].
    Raises: DataError if a feature is not finite, there is no train row, or a fit does not converge.
    """
    train_x_ND = _check_features(np.asarray(train_x_ND), "train features")
    train_y_NL = _as_labels(train_y_NL, train_x_ND)
    assert len(strengths) > 0, "at least one strength"
    assert min(strengths) > 0, "strengths are positive"
    if not len(train_x_ND):
        raise DataError("there is no train row to fit the probe on")
    mean_D, scale_D = fit_scaling(train_x_ND)
    is_fitted_L = (train_y_NL == 1).any(axis=0) & (train_y_NL == 0).any(axis=0)
    strength_S = np.unique(np.asarray(strengths, dtype=np.float64))
    weights_SLD = np.zeros((len(strength_S), train_y_NL.shape[1], train_x_ND.shape[1]))
    biases_SL = np.tile(prevalence_logit(train_y_NL), (len(strength_S), 1))
    if is_fitted_L.any():
        stretch_D = np.ones(train_x_ND.shape[1]) if stretch_D is None else stretch_D
        train_z_ND, varies_D = _standardise(train_x_ND, mean_D, scale_D, stretch_D)
        weights_SFD, biases_SL[:, is_fitted_L] = fit_path(train_z_ND, train_y_NL[:, is_fitted_L], strength_S, device)
        weights_SLD[np.ix_(np.arange(len(strength_S)), is_fitted_L, varies_D)] = weights_SFD * stretch_D[varies_D]
    return ProbePath(strength_S, weights_SLD, biases_SL, mean_D, scale_D, is_fitted_L)


def _as_features(features_ND: npt.ArrayLike, where: str) -> Floats:
    return _check_features(np.asarray(features_ND, dtype=np.float64), where)


def _check_features(features_ND: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    assert features_ND.ndim == 2, "features are [N, D]"
    check_finite(features_ND, where)
    return features_ND


def _as_labels(labels_NL: npt.ArrayLike, features_ND: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    labels_NL = np.asarray(labels_NL)
    assert labels_NL.ndim == 2, "labels are [N, L]"
    assert len(labels_NL) == len(features_ND), "a row of labels for each row of features"
    assert bool(np.isin(labels_NL, (1, 0, -1)).all()), "labels are 1, 0 or -1 (unknown)"
    return labels_NL.astype(np.int8)


def fit_scaling(train_x_ND: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature; exactly the value and 1 where it is constant."""
    means, scales = [], []
    for x_NC in map(partial(_take, train_x_ND), _list_blocks(train_x_ND.shape[1])):
        is_constant_C = (x_NC == x_NC[0]).all(axis=0)
        means.append(np.where(is_constant_C, x_NC[0], x_NC.mean(axis=0)))
        scale_C = np.where(is_constant_C, 1.0, x_NC.std(axis=0))
        scales.append(np.where(scale_C > 0, scale_C, 1.0))
    return np.concatenate(means), np.concatenate(scales)


def _standardise(
    train_x_ND: npt.NDArray[Any], mean_D: Floats, scale_D: Floats, stretch_D: Floats
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the standardised features that vary and are not left out, times their stretch, and which those are.

    They are the one copy of all features in float64, column after column in memory.
    """
    blocks = _list_blocks(train_x_ND.shape[1])
    varies_D = np.concatenate([(_take(train_x_ND, at) != mean_D[at]).any(axis=0) for at in blocks]) & (stretch_D > 0)
    z_ND = np.empty((len(train_x_ND), int(varies_D.sum())), order="F")
    end = 0
    for at in blocks:
        z_NC = ((_take(train_x_ND, at) - mean_D[at]) / scale_D[at] * stretch_D[at])[:, varies_D[at]]
        start, end = end, end + z_NC.shape[1]
        z_ND[:, start:end] = z_NC
    return z_ND, varies_D


def _list_blocks(num_features: int) -> list[slice]:
    """Return which columns are worked on at once; one alone only if there is no other, as numpy sums it in pairs."""
    ends = np.linspace(0, num_features, max(1, num_features // COLUMNS_AT_ONCE) + 1).astype(int).tolist()
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def _take(x_ND: npt.NDArray[Any], at: slice) -> Floats:
    return np.asarray(x_ND[:, at], dtype=np.float64)


def prevalence_logit(labels_NL: npt.NDArray[np.int8]) -> Floats:
    """Log odds of each finding among its known labels: -inf or inf with one class only, 0 with no known label."""
    num_pos_L, num_neg_L = (labels_NL == 1).sum(axis=0), (labels_NL == 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(num_pos_L + num_neg_L > 0, np.log(num_pos_L) - np.log(num_neg_L), 0.0)


def count_scored_subjects(labels_NL: npt.ArrayLike, subject_ids_N: npt.NDArray[Any] | None) -> npt.NDArray[np.int64]:
    """Subjects with a known label of each finding."""
    labels_NL = np.asarray(labels_NL)
    ids_N = np.arange(len(labels_NL)) if subject_ids_N is None else subject_ids_N
    assert len(ids_N) == len(labels_NL), "a subject for each val row"
    return np.array([len(np.unique(ids_N[labels_N >= 0])) for labels_N in labels_NL.T], dtype=np.int64)
