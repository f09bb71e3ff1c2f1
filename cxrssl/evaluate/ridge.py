"""Ridge regression in closed form, several values at once, one strength chosen on val rows.

In: inputs and values of fitted, val and scored rows. Out: predictions of the scored rows.
Never: a mean, scale or weight of other rows than the fitted ones.

Suffix letters: N rows, D inputs, T values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxrssl.evaluate.probe import fit_scaling
from cxrssl.stats.metrics import Floats, check_finite

PENALTIES = tuple(10.0**power for power in range(-4, 3))
"""Of the squared weights, for a mean squared error over inputs of deviation 1."""


@dataclass(frozen=True)
class Rows:
    """Inputs [N, D] and values [N, T] of the same rows."""

    inputs_ND: Floats
    values_NT: Floats


def predict_by_ridge(fitted: Rows, val: Rows, inputs_ND: Floats) -> Floats:
    """Return predicted values [N, T] at the penalty of least val error, of equals the largest; without val the middle.

    Source: Hoerl & Kennard 1970 (Technometrics 12:55), by the eigenvectors of the inputs' second moments.
    Raises: DataError if an input is not finite.
    """
    for each, where in ((fitted.inputs_ND, "train features"), (val.inputs_ND, "val features"), (inputs_ND, "features")):
        check_finite(each, where)
    mean_D, scale_D = fit_scaling(fitted.inputs_ND)
    z_ND, mean_T = (fitted.inputs_ND - mean_D) / scale_D, fitted.values_NT.mean(axis=0)
    moments_D, basis_DD = np.linalg.eigh(z_ND.T @ z_ND / len(z_ND))
    reach_DT = basis_DD.T @ (z_ND.T @ (fitted.values_NT - mean_T)) / len(z_ND)

    def predict(rows_ND: Floats, penalty: float) -> Floats:
        weight_DT = basis_DD @ (reach_DT / (np.maximum(moments_D, 0) + penalty)[:, None])
        predicted: Floats = (rows_ND - mean_D) / scale_D @ weight_DT + mean_T
        return predicted

    penalties = sorted(PENALTIES, reverse=True)
    penalty = penalties[len(penalties) // 2]
    if len(val.inputs_ND):
        errors = [np.square(predict(val.inputs_ND, each) - val.values_NT).sum() for each in penalties]
        penalty = penalties[int(np.argmin(errors))]
    return predict(inputs_ND, penalty)
