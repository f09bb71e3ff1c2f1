"""Smoothing without lag: each value becomes the mean of its neighbours on both sides, weighted by a bell curve.

In: buckets of a curve and how many records each holds. Out: the smoothed curve. Pure numpy.

Suffix letter: N buckets.
"""

from __future__ import annotations

import numpy as np

from cxrssl.records.curve import Floats

STRENGTHS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Standard deviation of the bell, as a share of the curve; 0 draws the values as they are."""
DEFAULT_STRENGTH = 0.01
REACH = 3.0
"""Standard deviations on each side; beyond them a bell has 0.3 % of its weight."""


def smooth_centred(mean_N: Floats, count_N: Floats, strength: float = DEFAULT_STRENGTH) -> Floats:
    """Return the curve smoothed by a centred bell; nan where `mean_N` is not finite.

    At the ends the bell is cut off and its rest is weighted up, so the curve begins and ends at its own values' mean.

    Shapes: [N], [N] -> [N].
    Source: Nadaraya 1964; Watson 1964 (kernel regression with a Gaussian kernel).
    """
    is_known_N = np.isfinite(mean_N)
    num = int(is_known_N.sum())
    width = strength * num
    out_N = np.where(is_known_N, mean_N, np.nan)
    if width < 0.3 or num < 3:
        return out_N
    reach = min(max(int(REACH * width), 1), num - 1)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    weight = count_N[is_known_N]
    total = np.convolve(mean_N[is_known_N] * weight, bell, "full")[reach : reach + num]
    norm = np.convolve(weight, bell, "full")[reach : reach + num]
    out_N[is_known_N] = total / norm
    return out_N
