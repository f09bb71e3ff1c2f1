"""P-values of differences, and what is left of them when many were looked at: Holm's step-down adjustment.

In: differences with their intervals. Out: adjusted p-values of a declared family. Never: a family that its table does
not name, or a number without a p-value counted as if it had none of the family's error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TypeVar

from cxrssl.stats.resample import Interval
from cxrssl.stats.student import p_of_t, t_quantile

Name = TypeVar("Name")
LEVEL = 0.05
MARK = "^"
"""Behind a number whose adjusted p-value is LEVEL at most."""


def p_of_interval(difference: Interval, level: float = 0.95, freedom: float = math.inf) -> float:
    """Return the two-sided p-value of no difference that belongs to an interval; nan where there is none.

    The distance of the value from zero, in standard errors: half an interval is a quantile of them, of Student's t with
    its degrees of freedom or of the normal distribution. Of the half that lies towards zero, so that p is below .05
    where a 95 % interval excludes zero, and above it where not.

    Source: Altman & Bland 2011 (BMJ 343:d2304), a p-value from a confidence interval.
    """
    if not difference.has_interval:
        return math.nan
    towards_zero = difference.value - difference.lo if difference.value > 0 else difference.hi - difference.value
    if towards_zero <= 0:  # an interval by BCa may lie beyond its value
        towards_zero = min((difference.hi - difference.lo) / 2, abs(difference.value))
    end = (1 + level) / 2
    quantile = NormalDist().inv_cdf(end) if math.isinf(freedom) else t_quantile(end, freedom)
    return p_of_t(difference.value / towards_zero * quantile, freedom)


def p_of_mean(difference: Interval, num_seeds: int, freedom: float | None, level: float = 0.95) -> float:
    """Return the p-value of a mean difference over seeds; of one seed that of its subjects alone.

    Without recorded degrees of freedom they are the fewest that they can be, so that a p-value below 1 - level is too
    large rather than too small.
    """
    if num_seeds < 2:
        return p_of_interval(difference, level)
    return p_of_interval(difference, level, freedom or num_seeds - 1)


def adjust(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number, in their order; a nan stays one and does not count.

    The smallest of m times m, the next times m - 1, and so on, none below the one before it, none above 1. Of families
    without any difference one in twenty at most has one up to .05, however their numbers depend on each other.

    Source: Holm 1979 (Scand J Stat 6:65).
    """
    ranked = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted, floor = [math.nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(ranked):
        assert 0 <= p <= 1, "p-values are probabilities"
        floor = max(floor, min(1.0, p * (len(ranked) - rank)))
        adjusted[place] = floor
    return adjusted


def adjust_named(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Return the adjusted p-value of each number of a family by its name; nan where it has none."""
    return dict(zip(p_values, adjust(list(p_values.values())), strict=True))


def has_mark(p_adjusted: float) -> bool:
    """Whether a number differs after the adjustment; False where it has no p-value."""
    return p_adjusted <= LEVEL


def explain_mark(adjusted: Sequence[float], family: str) -> str:
    """Return what MARK means under a table of these p-values, in a sentence; empty where none is defined."""
    if all(map(math.isnan, adjusted)):
        return ""
    none = "" if any(map(has_mark, adjusted)) else "; none does"
    return f"{MARK}: differs at {LEVEL:g} when p is adjusted for the number of {family} (Holm 1979){none}."
