"""Linear probe: one L2-penalised logistic regression for each finding on frozen features, all findings at once.

In: features and labels of the train and val rows. Out: LinearProbe, small enough to print. Never: fit anything (means,
scales, weights) on other rows than train; use val for anything but the choice of the strength; see a test row.

Suffix letters: N films, D features, L findings, F findings that are fitted, S strengths.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cxrssl.core.errors import DataError
from cxrssl.evaluate.newton import fit_path
from cxrssl.stats.metrics import Floats, auroc, check_finite
from cxrssl.stats.resample import MIN_SUBJECTS

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
    strength_L: Floats
    """Chosen inverse L2 strength (scikit-learn's C); nan where a finding is not fitted."""
    is_fitted_L: npt.NDArray[np.bool_]
    """False where train holds one class only (or no label), so that the prediction is constant."""
    is_chosen_L: npt.NDArray[np.bool_]
    """Whether val chose the strength of this finding; False too where it is not fitted."""

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
    """The probe with, for each finding, the strength of highest val AUROC (of equals the smallest); -1 is ignored.

    A finding without a defined val AUROC, or whose val rows are all of one subject, takes the strength with the best
    mean over the others, or the middle one if there are none. A finding with one class in train predicts its
    prevalence. Equal inputs give equal bits on one machine with one number of threads.

    Shapes: [N, D], [N, L] for train and for val; val_subject_ids_N [N], None for a subject a row.
    Differs: the published code trains a head with Adam on augmented films and stops early (paper.md 1.3); here the
        optimum itself is found, so the result depends on no learning rate, batch order or patience.
    Raises: DataError if a feature is not finite, there is no train row, or the fit does not converge.
    """
    train_x_ND, val_x_ND = _as_features(train_x_ND, "train features"), _as_features(val_x_ND, "val features")
    train_y_NL, val_y_NL = _as_labels(train_y_NL, train_x_ND), _as_labels(val_y_NL, val_x_ND)
    assert val_x_ND.shape[1] == train_x_ND.shape[1], "as many features in val as in train"
    assert val_y_NL.shape[1] == train_y_NL.shape[1], "as many findings in val as in train"
    assert len(strengths) > 0, "at least one strength"
    assert min(strengths) > 0, "strengths are positive"
    if not len(train_x_ND):
        raise DataError("there is no train row to fit the probe on")

    mean_D, scale_D = _fit_scaling(train_x_ND)
    is_fitted_L = (train_y_NL == 1).any(axis=0) & (train_y_NL == 0).any(axis=0)
    strength_S = np.unique(np.asarray(strengths, dtype=np.float64))
    weights_SLD = np.zeros((len(strength_S), train_y_NL.shape[1], train_x_ND.shape[1]))
    biases_SL = np.tile(_prevalence_logit(train_y_NL), (len(strength_S), 1))
    if is_fitted_L.any():
        varies_D = (train_x_ND != mean_D).any(axis=0)
        train_z_ND = ((train_x_ND - mean_D) / scale_D)[:, varies_D]
        weights_SFD, biases_SL[:, is_fitted_L] = fit_path(train_z_ND, train_y_NL[:, is_fitted_L], strength_S, device)
        weights_SLD[np.ix_(range(len(strength_S)), is_fitted_L, varies_D)] = weights_SFD

    val_z_ND = (val_x_ND - mean_D) / scale_D
    aurocs_SL = np.full(biases_SL.shape, np.nan)
    for s, finding in np.argwhere(np.broadcast_to(is_fitted_L, biases_SL.shape)):
        logits_N = val_z_ND @ weights_SLD[s, finding] + biases_SL[s, finding]
        aurocs_SL[s, finding] = auroc(logits_N, val_y_NL[:, finding])
    may_choose_L = _count_scored_subjects(val_y_NL, val_subject_ids_N) >= MIN_SUBJECTS
    is_chosen_L = may_choose_L & ~np.isnan(aurocs_SL).any(axis=0)
    chosen_L = _choose(aurocs_SL, is_chosen_L)
    findings_L = np.arange(len(chosen_L))
    return LinearProbe(
        weight_LD=weights_SLD[chosen_L, findings_L],
        bias_L=biases_SL[chosen_L, findings_L],
        mean_D=mean_D,
        scale_D=scale_D,
        strength_L=np.where(is_fitted_L, strength_S[chosen_L], np.nan),
        is_fitted_L=is_fitted_L,
        is_chosen_L=is_chosen_L,
    )


def _as_features(features_ND: npt.ArrayLike, where: str) -> Floats:
    features_ND = np.asarray(features_ND, dtype=np.float64)
    assert features_ND.ndim == 2, "features are [N, D]"
    check_finite(features_ND, where)
    return features_ND


def _as_labels(labels_NL: npt.ArrayLike, features_ND: Floats) -> npt.NDArray[np.int8]:
    labels_NL = np.asarray(labels_NL)
    assert labels_NL.ndim == 2, "labels are [N, L]"
    assert len(labels_NL) == len(features_ND), "a row of labels for each row of features"
    assert bool(np.isin(labels_NL, (1, 0, -1)).all()), "labels are 1, 0 or -1 (unknown)"
    return labels_NL.astype(np.int8)


def _fit_scaling(train_x_ND: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature; exactly the value and 1 where it is constant."""
    is_constant_D = (train_x_ND == train_x_ND[0]).all(axis=0)
    mean_D = np.where(is_constant_D, train_x_ND[0], train_x_ND.mean(axis=0))
    scale_D = np.where(is_constant_D, 1.0, train_x_ND.std(axis=0))
    return mean_D, np.where(scale_D > 0, scale_D, 1.0)


def _prevalence_logit(labels_NL: npt.NDArray[np.int8]) -> Floats:
    """Log odds of each finding among its known labels: -inf or inf with one class only, 0 with no known label."""
    num_pos_L, num_neg_L = (labels_NL == 1).sum(axis=0), (labels_NL == 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(num_pos_L + num_neg_L > 0, np.log(num_pos_L) - np.log(num_neg_L), 0.0)


def _count_scored_subjects(
    labels_NL: npt.NDArray[np.int8], subject_ids_N: npt.NDArray[Any] | None
) -> npt.NDArray[np.int64]:
    """Subjects with a known label of each finding."""
    ids_N = np.arange(len(labels_NL)) if subject_ids_N is None else subject_ids_N
    assert len(ids_N) == len(labels_NL), "a subject for each val row"
    return np.array([len(np.unique(ids_N[labels_N >= 0])) for labels_N in labels_NL.T], dtype=np.int64)


def _choose(aurocs_SL: Floats, is_chosen_L: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Row of the highest AUROC of each finding, the first of equals; see fit_linear_probe for those with none."""
    others = (len(aurocs_SL) - 1) // 2
    if is_chosen_L.any():
        others = int(np.argmax(aurocs_SL[:, is_chosen_L].mean(axis=1)))
    return np.where(is_chosen_L, np.argmax(np.nan_to_num(aurocs_SL), axis=0), others)
