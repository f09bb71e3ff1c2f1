"""Student's t: its quantiles, and the p-value of a statistic that follows it.

By Simpson's rule on its density in the variable t = sqrt(freedom) tan(angle), where it is bounded: proportional to
cos(angle) ** (freedom - 1).
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np

POINTS = 2001
MAX_STEPS = 100
LARGEST_FREEDOM = 1e6
"""From here on it is the normal distribution."""
TAIL = 12.0
"""So many standard deviations further on nothing of a tail is left."""


@functools.lru_cache(maxsize=8192)
def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t, for a probability above a half, within 1e-6.

    By Newton's method on the integral of the density, which is concave, so that from 0 the steps come to the quantile
    and never past it.
    """
    assert 0.5 < probability < 1, "an upper quantile"
    freedom = min(freedom, LARGEST_FREEDOM)
    scale, angle, mass = _scale(freedom), 0.0, 0.0
    for _ in range(MAX_STEPS):
        step = (probability - 0.5 - mass) / (scale * math.cos(angle) ** (freedom - 1))
        angle += step
        if abs(step) <= 1e-12 * angle:
            break
        mass = scale * _integrate(0, angle, freedom)
    return math.sqrt(freedom) * math.tan(angle)


def p_of_t(t: float, freedom: float) -> float:
    """Return the two-sided p-value of a statistic: the mass beyond it and beyond its negative."""
    if freedom >= LARGEST_FREEDOM:
        return 2 * NormalDist().cdf(-abs(t))
    angle = math.atan(abs(t) / math.sqrt(freedom))
    end = min(math.pi / 2, angle + TAIL / math.sqrt(freedom))
    return min(1.0, 2 * _scale(freedom) * _integrate(angle, end, freedom))


def _scale(freedom: float) -> float:
    return math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)


def _integrate(start: float, end: float, freedom: float) -> float:
    heights = np.cos(np.linspace(start, end, POINTS)).clip(min=0) ** (freedom - 1)
    total = heights[0] + heights[-1] + 4 * heights[1::2].sum() + 2 * heights[2:-1:2].sum()
    return float(total) * (end - start) / (3 * (POINTS - 1))
