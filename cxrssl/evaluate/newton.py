"""The optimum of an L2-penalised logistic regression, for all findings and each of several strengths at once.

In: standardised features, labels. Out: weights and biases at which the gradient vanishes.
Never: an answer that has not converged.
Suffix letters: N films, D features, E features and the bias, F findings, S strengths.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxrssl.core.errors import DataError
from cxrssl.stats.metrics import Floats

MAX_NEWTON_STEPS = 200
MAX_CG_STEPS = 100


def fit_path(
    z_ND: Floats, labels_NF: npt.NDArray[np.int8], strength_S: Floats, device: str | torch.device
) -> tuple[Floats, Floats]:
    """Weights [S, F, D] and biases [S, F] at each strength, each started from the one before."""
    x_ND = torch.from_numpy(z_ND).to(device)
    labels_FN = torch.from_numpy(np.ascontiguousarray(labels_NF.T)).to(device)
    mask_NF, y_NF = (labels_FN >= 0).double().T, (labels_FN == 1).double().T
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
    logits_NF = _project(x_ND, weight_DF) + bias_F
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
        slopes_NF = _project(x_ND, step_EF[:-1]) + step_EF[-1]
        length_F = (
            _search_line(logits_NF, slopes_NF, side_NF, mask_NF, penalty, weight_DF, step_EF, grad_EF) * is_open_F
        )
        weight_DF = weight_DF + length_F * step_EF[:-1]
        bias_F = bias_F + length_F * step_EF[-1]
        logits_NF = _project(x_ND, weight_DF) + bias_F
    raise DataError("the probe did not converge", hint="the features may hold values of very different size")


def _project(x_ND: Tensor, weight_DF: Tensor) -> Tensor:
    """Return x w, the films of a finding side by side in memory as everything [N, F] here: so products with x are fast.

    Measured for 250,000 x 192 x 14: 68 ms where x @ w takes 107, and 56 ms for x.T @ r of such an r where it takes 80.
    """
    return (weight_DF.T @ x_ND.T).T


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
        bent_NF = curvature_NF * (_project(x_ND, direction_EF[:-1]) + direction_EF[-1])
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
