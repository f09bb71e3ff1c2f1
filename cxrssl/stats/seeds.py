"""Two arms of several seeds each on one test set: by how much one is better, with what both patients and seeds leave
open.

In: the metric of each seed on the whole test set and in resamples of its subjects. Out: SeedDifference.
Never: an interval over seeds from a single one.

Suffix letters: S seeds, R resamples.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cxrssl.core.numbers import encode_numbers
from cxrssl.stats.metrics import Floats

T_POINTS = 2001


@dataclasses.dataclass(frozen=True)
class SeedDifference:
    """a - b, paired by seed and by film; nan where it is not defined."""

    value: float
    """Mean over the seeds."""
    lo: float
    hi: float
    """With one seed the interval is of the patients alone, and says nothing about another seed."""
    by_seed: tuple[float, ...]
    sd_seeds: float
    """Of the differences of the seeds; nan for one."""
    se_subjects: float
    """Standard error that the choice of test subjects leaves in the mean."""
    level: float

    @property
    def num_seeds(self) -> int:
        return len(self.by_seed)

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0; False where it is not defined."""
        return self.lo > 0 or self.hi < 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        return {key: encode_numbers(value, as_null=True) for key, value in dataclasses.asdict(self).items()}


def compare_seeds(a_S: Floats, b_S: Floats, a_SR: Floats, b_SR: Floats, level: float = 0.95) -> SeedDifference:
    """Return the mean difference of paired seeds with an interval for other seeds and other subjects.

    The variance of the mean is that over resamples of the subjects, which all seeds share, plus that over seeds divided
    by their number. The second is estimated with S - 1 degrees of freedom, so the interval is of Student's t with
    Satterthwaite's degrees of freedom: with three seeds that differ much it is wide, as it should be.
    Shapes: a and b on the whole test set [S], on the same resamples [S, R].
    Source: Satterthwaite 1946; Bouthillier et al. 2021 (Accounting for variance in machine learning benchmarks).
    """
    assert a_S.shape == b_S.shape == a_SR.shape[:1] == b_SR.shape[:1], "arms have the same seeds"
    by_seed_S, means_R = a_S - b_S, (a_SR - b_SR).mean(axis=0)
    num_seeds, value = len(by_seed_S), float(by_seed_S.mean())
    defined = means_R[~np.isnan(means_R)]
    se_subjects = float(defined.std(ddof=1)) if len(defined) > 1 else math.nan
    sd_seeds = float(by_seed_S.std(ddof=1)) if num_seeds > 1 else math.nan
    lo = hi = math.nan
    if num_seeds == 1 and len(defined) > 1:
        lo, hi = (float(q) for q in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
    elif num_seeds > 1:
        of_subjects, of_seeds = se_subjects**2, sd_seeds**2 / num_seeds
        freedom = math.inf if of_seeds == 0 else (num_seeds - 1) * ((of_subjects + of_seeds) / of_seeds) ** 2
        half = t_quantile((1 + level) / 2, freedom) * math.sqrt(of_subjects + of_seeds)
        lo, hi = value - half, value + half
    return SeedDifference(value, lo, hi, tuple(by_seed_S.tolist()), sd_seeds, se_subjects, level)


def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t, for a probability above a half, within 1e-6.

    By bisection on the integral of its density, in the variable t = sqrt(freedom) tan(angle), where it is bounded.
    """
    assert 0.5 < probability < 1, "an upper quantile"
    freedom = min(freedom, 1e6)  # where it is the normal one
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        angles = np.linspace(0, middle, T_POINTS)
        heights = np.cos(angles) ** (freedom - 1)
        # Simpson's rule.
        mass = scale * middle * float(heights[0] + heights[-1] + 4 * heights[1::2].sum() + 2 * heights[2:-1:2].sum())
        mass /= 3 * (T_POINTS - 1)
        low, high = (middle, high) if mass < probability - 0.5 else (low, middle)
    return math.sqrt(freedom) * math.tan((low + high) / 2)
