"""Means over seeds with an interval for other seeds. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cxrssl.stats.student import t_quantile

LEVEL = 0.95
SeedMean = tuple[float, float, float, int]
"""Mean over seeds, both ends of its interval, number of seeds that it is of; nan where it is not defined."""


def mean_over_seeds(values: Sequence[float]) -> tuple[float, float, float, int]:
    """Return the mean, both ends of its 95 % interval for other seeds, and the number of finite values.

    Source: Student 1908; the ends are nan for fewer than two values.
    """
    known = [value for value in values if math.isfinite(value)]
    num = len(known)
    if not num:
        return math.nan, math.nan, math.nan, 0
    mean = math.fsum(known) / num
    if num < 2:
        return mean, math.nan, math.nan, num
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (num - 1))
    half = t_quantile((1 + LEVEL) / 2, num - 1) * sd / math.sqrt(num)
    return mean, mean - half, mean + half, num
