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

Name = TypeVar("Name")
LEVEL = 0.05


def p_of_interval(difference: Interval, level: float = 0.95) -> float:
    """Return the two-sided p-value of no difference that belongs to an interval; nan where there is none.

    The distance of the value from zero, in standard errors: half an interval is z of them. Of the half that lies
    towards zero, so that p is below .05 where a 95 % interval excludes zero, and above it where not.

    Source: Altman & Bland 2011 (BMJ 343:d2304), a p-value from a confidence interval.
    """
    if not difference.has_interval:
        return math.nan
    towards_zero = difference.value - difference.lo if difference.value > 0 else difference.hi - difference.value
    if towards_zero <= 0:
        return math.nan
    z = abs(difference.value) / towards_zero * NormalDist().inv_cdf((1 + level) / 2)
    return 2 * NormalDist().cdf(-z)


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


def adjust_family(differences: Mapping[Name, Interval], level: float = 0.95) -> dict[Name, float]:
    """Return the adjusted p-value of each difference of a family by its name; nan where it has no interval."""
    p_values = [p_of_interval(each, level) for each in differences.values()]
    return dict(zip(differences, adjust(p_values), strict=True))


def describe_family(differences: Mapping[str, Interval], what: str, level: float = 0.95) -> str:
    """Return which differences of a family are left after the adjustment, in a sentence; empty for less than two."""
    adjusted = {name: p for name, p in adjust_family(differences, level).items() if not math.isnan(p)}
    if len(adjusted) < 2:
        return ""
    left = [f"{name} (p {show_p(p)})" for name, p in sorted(adjusted.items(), key=lambda each: each[1]) if p <= LEVEL]
    return f"Holm over {what} ({len(adjusted)}): {', '.join(left) if left else 'none'} differs at {LEVEL:g}."


def show_p(p: float) -> str:
    """Return a p-value as people read it: ".031", "below .001"."""
    return "below .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
