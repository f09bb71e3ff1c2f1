"""Share of a variance that predictions explain, with an interval over subjects.

In: values and predictions of the films of a test set. Out: Interval of R2. Never: a share of a variance that is zero.

Suffix letters: N films, T values of a film, R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import FEW_OF_MANY, FEW_OF_NUMBER, Counts, Interval, centred_interval, draw_subject_counts

CHUNK_RESAMPLES = 50


def score_r2(
    predicted_NT: Floats,
    values_NT: Floats,
    subject_ids_N: npt.NDArray[Any],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """R2 = 1 - sum of squared errors / sum of squared distances from the mean, both over all films and values.

    1 is perfect, 0 no better than the mean of these films, and it may be negative. nan where the values do not differ.
    The mean is that of the films, so that R2 is lower in few films than in a population, and lower still in resamples
    of them: the interval is centred on the value.

    Shapes: [N, T], [N, T], [N].
    Raises: DataError if a subject_id is missing.
    """
    assert predicted_NT.shape == values_NT.shape, "a prediction for each value"
    counts_RN = draw_subject_counts(subject_ids_N, num_resamples, seed)
    once_1N = np.ones((1, len(values_NT)), dtype=np.uint16)
    errors_N = np.square(values_NT - predicted_NT).sum(axis=1)
    value = float(_r2(errors_N, values_NT, once_1N)[0])
    samples_R, num_subjects = _r2(errors_N, values_NT, counts_RN), len(np.unique(subject_ids_N))
    few_below = FEW_OF_NUMBER if values_NT.shape[1] == 1 else FEW_OF_MANY
    interval = centred_interval(value, samples_R, num_subjects, level, ends=(-math.inf, 1.0))
    return dataclasses.replace(interval, few_below=few_below)


def _r2(errors_N: Floats, values_NT: Floats, counts_RN: Counts) -> Floats:
    centred_NT = values_NT - values_NT.mean(axis=0)
    squares_N = np.square(centred_NT).sum(axis=1)
    r2_R = np.full(len(counts_RN), np.nan)
    for start in range(0, len(counts_RN), CHUNK_RESAMPLES):
        part = slice(start, start + CHUNK_RESAMPLES)
        counts = counts_RN[part].astype(np.float64)
        off_the_mean = np.square(counts @ centred_NT).sum(axis=1) / counts.sum(axis=1)
        spread = counts @ squares_N - off_the_mean
        is_spread = spread > 1e-12 * np.maximum(counts @ squares_N, 1e-300)
        r2_R[part] = np.where(is_spread, 1 - (counts @ errors_N) / np.where(is_spread, spread, 1.0), np.nan)
    return r2_R
