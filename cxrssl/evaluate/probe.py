"""Linear probe: one L2-penalised logistic regression for each finding on frozen features, all findings at once.

In: features and labels of the train and val rows. Out: LinearProbe, small enough to print. Never: fit anything (means,
scales, weights) on other rows than train; use val for anything but the choice of the strength; see a test row.

Suffix letters: N films, D features, E features and the bias, L findings (all), F findings that are fitted,
S strengths.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrssl.core.errors import DataError
from cxrssl.stats.metrics import Floats, auroc, check_finite

STRENGTHS = tuple(10.0**power for power in range(-4, 3))
MAX_NEWTON_STEPS = 200
MAX_CG_STEPS = 100


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
    device: str | torch.device = "cpu",
) -> LinearProbe:
    """The probe with, for each finding, the strength of highest val AUROC (of equals the smallest); -1 is ignored.

    A finding without a defined val AUROC takes the strength with the best mean over the others, or the middle one if
    there are none. A finding with one class in train predicts its prevalence. Equal inputs give equal bits on one
    machine with one number of threads.

    Shapes: [N, D], [N, L] for train and for val.
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
        weights_SFD, biases_SL[:, is_fitted_L] = _fit_path(train_z_ND, train_y_NL[:, is_fitted_L], strength_S, device)
        weights_SLD[np.ix_(range(len(strength_S)), is_fitted_L, varies_D)] = weights_SFD

    val_z_ND = (val_x_ND - mean_D) / scale_D
    aurocs_SL = np.full(biases_SL.shape, np.nan)
    for s, finding in np.argwhere(np.broadcast_to(is_fitted_L, biases_SL.shape)):
        logits_N = val_z_ND @ weights_SLD[s, finding] + biases_SL[s, finding]
        aurocs_SL[s, finding] = auroc(logits_N, val_y_NL[:, finding])
    chosen_L = _choose(aurocs_SL)
    findings_L = np.arange(len(chosen_L))
    return LinearProbe(
        weight_LD=weights_SLD[chosen_L, findings_L],
        bias_L=biases_SL[chosen_L, findings_L],
        mean_D=mean_D,
        scale_D=scale_D,
        strength_L=np.where(is_fitted_L, strength_S[chosen_L], np.nan),
        is_fitted_L=is_fitted_L,
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


def _choose(aurocs_SL: Floats) -> npt.NDArray[np.intp]:
    """Row of the highest AUROC of each finding, the first of equals; see fit_linear_probe for those with none."""
    is_defined_L = ~np.isnan(aurocs_SL).any(axis=0)
    others = (len(aurocs_SL) - 1) // 2
    if is_defined_L.any():
        others = int(np.argmax(aurocs_SL[:, is_defined_L].mean(axis=1)))
    return np.where(is_defined_L, np.argmax(np.nan_to_num(aurocs_SL), axis=0), others)


def _fit_path(
    z_ND: Floats, labels_NF: npt.NDArray[np.int8], strength_S: Floats, device: str | torch.device
) -> tuple[Floats, Floats]:
    """Weights [S, F, D] and biases [S, F] at each strength, each started from the one before."""
    x_ND = torch.from_numpy(z_ND).to(device)
    labels = torch.from_numpy(labels_NF).to(device)
    mask_NF, y_NF = (labels >= 0).double(), (labels == 1).double()
    eigenvalues_D, basis_DD = torch.linalg.eigh(x_ND.T @ x_ND / len(x_ND))
    spectrum = eigenvalues_D.clamp(min=0), basis_DD
    prevalence_F = y_NF.sum(0) / mask_NF.sum(0)
    weight_DF = x_ND.new_zeros(x_ND.shape[1], y_NF.shape[1])
    bias_F = torch.logit(prevalence_F)
    weights, biases = [], []
    for strength in strength_S:
        weight_DF, bias_F = _fit_one(x_ND, 1 - 2 * y_NF, mask_NF, 1.0 / float(strength), weight_DF, bias_F, spectrum)
        weights.append(weight_DF.T.cpu().numpy())
        biases.append(bias_F.cpu().numpy())
    return np.stack(weights), np.stack(biases)


def _fit_one(
    x_ND: Tensor,
    side_NF: Tensor,
    mask_NF: Tensor,
    penalty: float,
    weight_DF: Tensor,
    bias_F: Tensor,
    spectrum: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Minimum over w, b of sum_n mask log(1 + exp(side (x w + b))) + penalty / 2 |w|^2, side = 1 - 2 y, per finding.

    Newton steps, solved for all findings together by conjugate gradients, with a halving line search on x w + b.
    Ends when |gradient| <= 1e-6 penalty |w|: the loss minus penalty / 2 |w|^2 is convex, so |w - w*| is about 1e-6 |w|.

    Source: Nocedal & Wright 2006 (Numerical Optimization), algorithm 7.1, line search Newton-CG.
    Raises: DataError if the gradient does not vanish.
    """
    num_known_F = mask_NF.sum(0)
    logits_NF = x_ND @ weight_DF + bias_F
    for _ in range(MAX_NEWTON_STEPS):
        error_NF = mask_NF * torch.sigmoid(side_NF * logits_NF)
        residual_NF = side_NF * error_NF
        grad_EF = torch.cat([x_ND.T @ residual_NF + penalty * weight_DF, residual_NF.sum(0, keepdim=True)])
        size_F = torch.linalg.vector_norm(grad_EF, dim=0)
        tolerance_F = 1e-6 * penalty * torch.linalg.vector_norm(weight_DF, dim=0).clamp(min=1e-3)
        is_open_F = size_F > torch.maximum(tolerance_F, 1e-13 * num_known_F)
        if not is_open_F.any():
            return weight_DF, bias_F
        curvature_NF = error_NF * torch.sigmoid(-side_NF * logits_NF)
        step_EF = _solve_newton(x_ND, curvature_NF, penalty, grad_EF, is_open_F, spectrum)
        slopes_NF = x_ND @ step_EF[:-1] + step_EF[-1]
        length_F = (
            _search_line(logits_NF, slopes_NF, side_NF, mask_NF, penalty, weight_DF, step_EF, grad_EF) * is_open_F
        )
        weight_DF = weight_DF + length_F * step_EF[:-1]
        bias_F = bias_F + length_F * step_EF[-1]
        logits_NF = x_ND @ weight_DF + bias_F
    raise DataError("the probe did not converge", hint="the features may hold values of very different size")


def _solve_newton(
    x_ND: Tensor,
    curvature_NF: Tensor,
    penalty: float,
    grad_EF: Tensor,
    is_open_F: Tensor,
    spectrum: tuple[Tensor, Tensor],
) -> Tensor:
    """Step s with |H s + g| <= min(0.1, sqrt(|g| / N)) |g| for each open finding; 0 for the others.

    H is preconditioned by what it would be if the curvature were the same for all films: diagonal in the basis of the
    features' second moments. Where that is too far off (separable classes and hardly a penalty), H is solved directly.

    Source: Nocedal & Wright 2006, algorithm 5.3 (preconditioned conjugate gradients), equation 7.3 (forcing sequence).
    """
    eigenvalues_D, basis_DD = spectrum
    mass_F = curvature_NF.sum(0).clamp(min=1e-300)
    diagonal_DF = eigenvalues_D[:, None] * mass_F + penalty
    size_F = torch.linalg.vector_norm(grad_EF, dim=0)
    goal_F = size_F * (size_F / len(x_ND)).sqrt().clamp(max=0.1)

    def precondition(v_EF: Tensor) -> Tensor:
        return torch.cat([basis_DD @ ((basis_DD.T @ v_EF[:-1]) / diagonal_DF), v_EF[-1:] / mass_F])

    step_EF = torch.zeros_like(grad_EF)
    rest_EF = -grad_EF
    scaled_EF = precondition(rest_EF)
    direction_EF = scaled_EF
    product_F = (rest_EF * scaled_EF).sum(0)
    for _ in range(MAX_CG_STEPS):
        is_open_F = is_open_F & (torch.linalg.vector_norm(rest_EF, dim=0) > goal_F)
        if not is_open_F.any():
            break
        bent_NF = curvature_NF * (x_ND @ direction_EF[:-1] + direction_EF[-1])
        curved_EF = torch.cat([x_ND.T @ bent_NF + penalty * direction_EF[:-1], bent_NF.sum(0, keepdim=True)])
        length_F = torch.where(is_open_F, product_F / (direction_EF * curved_EF).sum(0), 0.0)
        step_EF = step_EF + length_F * direction_EF
        rest_EF = rest_EF - length_F * curved_EF
        scaled_EF = precondition(rest_EF)
        next_F = (rest_EF * scaled_EF).sum(0)
        direction_EF = scaled_EF + torch.where(is_open_F, next_F / product_F, 0.0) * direction_EF
        product_F = next_F
    for finding in is_open_F.nonzero().flatten().tolist():
        step_EF[:, finding] = _solve_directly(x_ND, curvature_NF[:, finding], penalty, grad_EF[:, finding])
    return step_EF


def _solve_directly(x_ND: Tensor, curvature_N: Tensor, penalty: float, grad_E: Tensor) -> Tensor:
    """Newton step of one finding by factorising its Hessian."""
    x_NE = torch.cat([x_ND, torch.ones_like(x_ND[:, :1])], dim=1)
    hessian_EE = x_NE.T @ (curvature_N[:, None] * x_NE)
    hessian_EE.diagonal()[:-1] += penalty
    step_E: Tensor = torch.linalg.solve(hessian_EE, -grad_E)
    return step_E


def _search_line(
    logits_NF: Tensor,
    slopes_NF: Tensor,
    side_NF: Tensor,
    mask_NF: Tensor,
    penalty: float,
    weight_DF: Tensor,
    step_EF: Tensor,
    grad_EF: Tensor,
) -> Tensor:
    """Largest of 1, 1/2, 1/4 ... for each finding at which the loss has fallen enough (to rounding).

    Source: Nocedal & Wright 2006, equation 3.4 (Armijo), constant 1e-4.
    """

    def loss(length_F: Tensor) -> Tensor:
        moved_NF = logits_NF + length_F * slopes_NF
        fit_F = -(mask_NF * torch.nn.functional.logsigmoid(-side_NF * moved_NF)).sum(0)
        return fit_F + penalty / 2 * (weight_DF + length_F * step_EF[:-1]).square().sum(0)

    length_F = torch.ones_like(step_EF[0])
    start_F = loss(torch.zeros_like(length_F))
    descent_F = (step_EF * grad_EF).sum(0)
    for _ in range(50):
        is_high_F = loss(length_F) > start_F + 1e-4 * length_F * descent_F + 1e-12 * start_F
        if not is_high_F.any():
            break
        length_F = torch.where(is_high_F, length_F / 2, length_F)
    return length_F
