"""The published imputation of view and position, as the function of two codes that it is. Numpy only.

In: two integer codes a film, -1 unknown. Out: the codes without -1. Never: use it but for `ehr.missing=paper`.
Source: nyuad-cai/CXR-EHR-MSN, notebooks/EHR-data-prep.ipynb [10]-[21]: scikit-learn's IterativeImputer around a random
forest regressor, 10 rounds, seed 24, on the label codes AP 0, LATERAL 1, LL 2, PA 3 and Erect 0, Recumbent 1, of the
films of all splits; then rounded. A regression on names, fitted on test rows: a defect that this reproduces.
Differs: a forest over one variable with few values averages trees with one leaf a value; here a leaf is the mean of all
its films, not of bootstrap samples, so there is no seed. Equal after rounding unless a mean is within sampling error of
one half.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ROUNDS = 10
TOLERANCE = 1e-3
Codes = NDArray[np.int64]


def impute_codes(first: Codes, second: Codes, is_fitted_on: NDArray[np.bool_]) -> tuple[Codes, Codes]:
    """Return both codes with unknown values filled; a code that no film has stays -1."""
    pairs, cell_N = np.unique(np.stack([first, second], axis=1), axis=0, return_inverse=True)
    cell_N = cell_N.ravel()
    weights = np.bincount(cell_N, is_fitted_on.astype(np.float64), len(pairs)).astype(np.float64)
    filled = _fill_cells(pairs, weights)
    return filled[cell_N, 0], filled[cell_N, 1]


def _fill_cells(pairs: Codes, weights: NDArray[np.float64]) -> Codes:
    """Return the distinct pairs of codes, [C, 2], with -1 filled by the published rounds."""
    is_known = (pairs >= 0) & (weights > 0)[:, None]
    filled = pairs.copy()
    columns = [j for j in (0, 1) if is_known[:, j].any()]
    values = pairs.astype(np.float64)
    for j in columns:
        values[pairs[:, j] < 0, j] = np.average(pairs[is_known[:, j], j], weights=weights[is_known[:, j]])
    if len(columns) == 2:
        num_unknown = [weights[pairs[:, j] < 0].sum() for j in columns]
        order = [j for _, j in sorted(zip(num_unknown, columns, strict=True))]
        limit = TOLERANCE * pairs[is_known].max(initial=0)
        for _ in range(MAX_ROUNDS):
            before = values.copy()
            for j in order:
                unknown, known = pairs[:, j] < 0, is_known[:, j]
                values[unknown, j] = _predict(
                    values[known, 1 - j], pairs[known, j], weights[known], values[unknown, 1 - j]
                )
            if np.abs(values - before).max(initial=0) < limit:
                break
    for j in columns:
        unknown, known = pairs[:, j] < 0, is_known[:, j]
        filled[unknown, j] = np.clip(np.round(values[unknown, j]), pairs[known, j].min(), pairs[known, j].max())
    return filled


def _predict(
    x: NDArray[np.float64], y: Codes, weights: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[Any]:
    """Return the prediction of a full-grown regression tree of y over x at `wanted`: the mean at the nearest x."""
    places, leaf = np.unique(x.astype(np.float32), return_inverse=True)
    means = np.bincount(leaf, weights * y) / np.bincount(leaf, weights)
    borders = (places[1:].astype(np.float64) + places[:-1]) / 2
    found: NDArray[Any] = means[np.searchsorted(borders, wanted.astype(np.float32), side="left")]
    return found
