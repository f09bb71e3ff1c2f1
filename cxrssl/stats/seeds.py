"""A setup trained with several seeds, or two of them, on one test set: what patients and seeds together leave open.

In: the metric of each seed on the whole test set and in resamples of its subjects. Out: SeedMean.
Never: an interval over seeds from a single one.

Suffix letters: S seeds, R resamples; A the seeds of one arm, B those of another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cxrssl.core.numbers import encode_numbers
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import Interval

T_POINTS = 2001
MAX_STEPS = 100
ONE_SEED = "one seed: says nothing about the method"


@dataclasses.dataclass(frozen=True)
class SeedMean:
    """A metric, or a difference a - b, as its mean over seeds; nan where it is not defined."""

    value: float
    """Mean over the seeds; of arms that are not paired the mean of a minus the mean of b."""
    lo: float
    hi: float
    """With one seed the interval is of the patients alone, and says nothing about another seed."""
    by_seed: tuple[float, ...]
    """In the order of the seeds; empty for a difference of arms that are not paired."""
    sd_seeds: float
    """Standard deviation of `by_seed`; nan for one seed, and where arms are not paired."""
    se_subjects: float
    """Standard error that the choice of test subjects leaves in the mean."""
    level: float
    num_seeds: int
    """Of arms that are not paired, those of the arm with fewer."""
    num_defined: int = 0
    """Resamples of the subjects in which the mean is defined."""
    num_resamples: int = 0
    num_rarer: int | None = None
    """Subjects with the finding or without it, whichever are fewer; see `Interval`."""

    @property
    def says_nothing_about_method(self) -> bool:
        """Whether it is of one seed: the interval then does not cover what another seed would give."""
        return self.num_seeds < 2

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0; False where it is not defined."""
        return self.lo > 0 or self.hi < 0

    @property
    def interval(self) -> Interval:
        """Its number as tables show it, with the mark that its test subjects give it."""
        return Interval(self.value, self.lo, self.hi, self.num_defined, self.num_resamples, self.num_rarer)

    def counted(self, num_rarer: int) -> SeedMean:
        """Return it with the subjects that it rests on, and without an interval that would look certain.

        See `Interval.counted`.
        """
        counted = self.interval.counted(num_rarer, self.num_resamples)
        return dataclasses.replace(self, lo=counted.lo, hi=counted.hi, num_rarer=num_rarer)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        return {key: encode_numbers(value, as_null=True) for key, value in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class SeedNumbers:
    """Both metrics of a finding, or of the mean over findings."""

    auroc: SeedMean
    auprc: SeedMean

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        return {"auroc": self.auroc.to_dict(), "auprc": self.auprc.to_dict()}


@dataclasses.dataclass(frozen=True)
class SeedScores:
    """How well a setup ranks the test films, or by how much better than another: means over seeds."""

    macro: SeedNumbers
    """Mean over the findings defined on the test set."""
    findings: dict[str, SeedNumbers]
    is_paired: bool = True
    """Whether every seed was compared with itself."""

    def find(self, metric: str = "auroc", finding: str = "") -> SeedMean:
        """Return the mean of a metric, auroc or auprc; without a finding the macro mean."""
        numbers = self.findings[finding] if finding else self.macro
        mean: SeedMean = getattr(numbers, metric)
        return mean

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        findings = {name: numbers.to_dict() for name, numbers in self.findings.items()}
        return {"macro": self.macro.to_dict(), "findings": findings, "is_paired": self.is_paired}


def average_seeds(a_S: Floats, a_SR: Floats, level: float = 0.95) -> SeedMean:
    """Return the mean over seeds with an interval for other seeds and other subjects; see `compare_seeds`.

    Shapes: on the whole test set [S], on the same resamples for every seed [S, R].
    """
    return _conclude(a_S, a_SR.mean(axis=0), level)


def compare_seeds(a_S: Floats, b_S: Floats, a_SR: Floats, b_SR: Floats, level: float = 0.95) -> SeedMean:
    """Return the mean difference of paired seeds with an interval for other seeds and other subjects.

    The variance of the mean is that over resamples of the subjects, which all seeds share, plus that over seeds divided
    by their number. The second is estimated with S - 1 degrees of freedom, so the interval is of Student's t with
    Satterthwaite's degrees of freedom: with three seeds that differ much it is wide, as it should be.
    Shapes: a and b on the whole test set [S], on the same resamples [S, R].
    Source: Satterthwaite 1946; Bouthillier et al. 2021 (Accounting for variance in machine learning benchmarks).
    """
    assert a_S.shape == b_S.shape == a_SR.shape[:1] == b_SR.shape[:1], "arms have the same seeds"
    return _conclude(a_S - b_S, (a_SR - b_SR).mean(axis=0), level)


def compare_unpaired(a_A: Floats, b_B: Floats, a_AR: Floats, b_BR: Floats, level: float = 0.95) -> SeedMean:
    """Return the difference of the means of arms whose seeds are not the same, with an interval like that of paired.

    Each arm adds its own variance over seeds. Where one has a single seed the interval is of the subjects alone.
    Shapes: on the whole test set [A], [B], on the same resamples [A, R], [B, R].
    Source: Welch 1947, for the degrees of freedom of variances that are not equal.
    """
    value, means_R = float(a_A.mean() - b_B.mean()), a_AR.mean(axis=0) - b_BR.mean(axis=0)
    num_seeds = min(len(a_A), len(b_B))
    of_seeds = [(float(arm.var(ddof=1)) / len(arm), len(arm) - 1) for arm in (a_A, b_B)] if num_seeds > 1 else []
    lo, hi, se_subjects = _limits(value, means_R, of_seeds, level)
    is_defined_R = ~np.isnan(means_R)
    return SeedMean(
        value, lo, hi, (), math.nan, se_subjects, level, num_seeds, int(is_defined_R.sum()), len(is_defined_R)
    )


def _conclude(by_seed_S: Floats, means_R: Floats, level: float) -> SeedMean:
    """Return the mean of values of seeds, whose mean in each resample is known."""
    value, num_seeds = float(by_seed_S.mean()), len(by_seed_S)
    sd_seeds = float(by_seed_S.std(ddof=1)) if num_seeds > 1 else math.nan
    of_seeds = [(sd_seeds**2 / num_seeds, num_seeds - 1)] if num_seeds > 1 else []
    lo, hi, se_subjects = _limits(value, means_R, of_seeds, level)
    num_defined = int((~np.isnan(means_R)).sum())
    by_seed = tuple(by_seed_S.tolist())
    return SeedMean(value, lo, hi, by_seed, sd_seeds, se_subjects, level, num_seeds, num_defined, len(means_R))


def _limits(
    value: float, means_R: Floats, of_seeds: Sequence[tuple[float, int]], level: float
) -> tuple[float, float, float]:
    """Return the ends of an interval and the standard error of the subjects.

    `of_seeds` has the variance that seeds leave in the mean, with its degrees of freedom, one an arm; without any the
    interval is the percentiles of the resamples of subjects.
    """
    defined = means_R[~np.isnan(means_R)]
    se_subjects = float(defined.std(ddof=1)) if len(defined) > 1 else math.nan
    if not of_seeds:
        if math.isnan(value) or not len(defined):
            return math.nan, math.nan, se_subjects
        lo, hi = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
        return float(lo), float(hi), se_subjects
    variance = se_subjects**2 + sum(of for of, _ in of_seeds)
    spread = sum(of**2 / freedom for of, freedom in of_seeds)
    freedom = math.inf if spread == 0 else variance**2 / spread
    half = math.nan if math.isnan(variance) else t_quantile((1 + level) / 2, freedom) * math.sqrt(variance)
    return value - half, value + half, se_subjects


def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t, for a probability above a half, within 1e-6.

    By Newton's method on the integral of its density in the variable t = sqrt(freedom) tan(angle), where it is bounded.
    The integral is concave there, so that from 0 the steps come to the quantile and never past it.
    """
    assert 0.5 < probability < 1, "an upper quantile"
    freedom = min(freedom, 1e6)  # where it is the normal one
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    angle, mass = 0.0, 0.0
    for _ in range(MAX_STEPS):
        step = (probability - 0.5 - mass) / (scale * math.cos(angle) ** (freedom - 1))
        angle += step
        if abs(step) <= 1e-12 * angle:
            break
        heights = np.cos(np.linspace(0, angle, T_POINTS)) ** (freedom - 1)
        # Simpson's rule.
        mass = scale * angle * float(heights[0] + heights[-1] + 4 * heights[1::2].sum() + 2 * heights[2:-1:2].sum())
        mass /= 3 * (T_POINTS - 1)
    return math.sqrt(freedom) * math.tan(angle)
