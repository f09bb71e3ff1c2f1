"""A setup trained with several seeds, or two of them, on one test set: what patients and seeds together leave open.

In: the metric of each seed on the whole test set and in resamples of its subjects. Out: SeedMean.
Never: an interval over seeds from a single one.

Suffix letters: S seeds, R resamples; A the seeds of one arm, B those of another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from cxrssl.core.numbers import encode_numbers
from cxrssl.stats.bca import Metric, choose_interval
from cxrssl.stats.holm import p_of_mean
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import MIN_SUBJECTS, PERCENTILE, STUDENT, Interval
from cxrssl.stats.student import LARGEST_FREEDOM, t_quantile

ONE_SEED = "one seed: says nothing about the method"


@dataclasses.dataclass(frozen=True)
class SeedMean:
    """A metric, or a difference a - b, as its mean over seeds; nan where it is not defined."""

    value: float
    """Mean over the seeds; of arms that are not paired the mean of a minus the mean of b."""
    lo: float
    hi: float
    """With one seed the interval is of the patients alone, as that of one evaluation; it says nothing about another
    seed."""
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
    method: str = PERCENTILE
    """Of an interval of the subjects alone: PERCENTILE, CENTRED or BCA."""
    freedom: float | None = None
    """Degrees of freedom of Student's t; None of one seed, and where an older version did not record them."""

    @property
    def says_nothing_about_method(self) -> bool:
        """Whether it is of one seed: the interval then does not cover what another seed would give."""
        return self.num_seeds < 2

    @property
    def p_value(self) -> float:
        """Of no difference, two-sided, as the interval is; nan where there is none."""
        return p_of_mean(self.interval, self.num_seeds, self.freedom, self.level)

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0; False where it is not defined."""
        return self.lo > 0 or self.hi < 0

    @property
    def interval(self) -> Interval:
        """Its number as tables show it, with the mark that its test subjects give it."""
        counts = self.num_defined, self.num_resamples, self.num_rarer
        return Interval(self.value, self.lo, self.hi, *counts, self.method if self.num_seeds < 2 else STUDENT)

    @property
    def method_text(self) -> str:
        """How its interval was made, in words; empty without one."""
        if not self.interval.has_interval:
            return ""
        how = self.method if self.num_seeds < 2 else f"{STUDENT} over seeds and"
        return f"{self.level:.0%} {how} bootstrap over subjects, {self.num_resamples:,} resamples"

    def counted(self, num_rarer: int) -> SeedMean:
        """Return it with the subjects that it rests on, and without an interval that would look certain.

        See `Interval.counted`.
        """
        counted = self.interval.counted(num_rarer, self.num_resamples)
        return dataclasses.replace(self, lo=counted.lo, hi=counted.hi, num_rarer=num_rarer)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None; `method` and `freedom` are left out where they have their defaults."""
        values = {key: encode_numbers(value, as_null=True) for key, value in dataclasses.asdict(self).items()}
        left_out = {"method": PERCENTILE, "freedom": None}
        return {key: value for key, value in values.items() if key not in left_out or value != left_out[key]}


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


@dataclasses.dataclass(frozen=True, eq=False)
class LeftOut:
    """What an interval of few subjects alone needs more than resamples; see `stats.bca`."""

    without_S: Floats
    """The mean without each subject; here S are subjects."""
    num_rarer: int
    """Subjects with the finding or without it, whichever are fewer."""


Score: TypeAlias = tuple[Metric, LeftOut | None]
"""What is not a difference, and what its interval needs."""


def average_seeds(
    a_S: Floats, a_SR: Floats, level: float = 0.95, left_out: LeftOut | None = None, metric: Metric = "auroc"
) -> SeedMean:
    """Return the mean over seeds with an interval for other seeds and other subjects; see `compare_seeds`.

    Shapes: on the whole test set [S], on the same resamples for every seed [S, R].
    """
    return _conclude(a_S, a_SR.mean(axis=0), level, (metric, left_out))


def compare_seeds(
    a_S: Floats,
    b_S: Floats,
    a_SR: Floats,
    b_SR: Floats,
    level: float = 0.95,
) -> SeedMean:
    """Return the mean difference of paired seeds with an interval for other seeds and other subjects.

    The variance of the mean is that over resamples of the subjects, which all seeds share, plus that over seeds divided
    by their number. The second is estimated with S - 1 degrees of freedom, so the interval is of Student's t with
    Satterthwaite's degrees of freedom: with three seeds that differ much it is wide, as it should be.
    With one seed it is of the subjects alone; see `stats.bca.choose_interval`.
    Shapes: a and b on the whole test set [S], on the same resamples [S, R].
    Source: Satterthwaite 1946; Bouthillier et al. 2021 (Accounting for variance in machine learning benchmarks).
    """
    assert a_S.shape == b_S.shape == a_SR.shape[:1] == b_SR.shape[:1], "arms have the same seeds"
    return _conclude(a_S - b_S, (a_SR - b_SR).mean(axis=0), level)


def compare_unpaired(
    a_A: Floats,
    b_B: Floats,
    a_AR: Floats,
    b_BR: Floats,
    level: float = 0.95,
) -> SeedMean:
    """Return the difference of the means of arms whose seeds are not the same, with an interval like that of paired.

    Each arm adds its own variance over seeds. Where one has a single seed the interval is of the subjects alone.
    Shapes: on the whole test set [A], [B], on the same resamples [A, R], [B, R].
    Source: Welch 1947, for the degrees of freedom of variances that are not equal.
    """
    value, means_R = float(a_A.mean() - b_B.mean()), a_AR.mean(axis=0) - b_BR.mean(axis=0)
    num_seeds = min(len(a_A), len(b_B))
    of_seeds = [(float(arm.var(ddof=1)) / len(arm), len(arm) - 1) for arm in (a_A, b_B)] if num_seeds > 1 else []
    found = _bound(value, means_R, of_seeds, level)
    return SeedMean(value=value, by_seed=(), sd_seeds=math.nan, level=level, num_seeds=num_seeds, **found)


def _conclude(by_seed_S: Floats, means_R: Floats, level: float, score: Score | None = None) -> SeedMean:
    """Return the mean of values of seeds, whose mean in each resample is known."""
    value, num_seeds = float(by_seed_S.mean()), len(by_seed_S)
    sd_seeds = float(by_seed_S.std(ddof=1)) if num_seeds > 1 else math.nan
    of_seeds = [(sd_seeds**2 / num_seeds, num_seeds - 1)] if num_seeds > 1 else []
    found = _bound(value, means_R, of_seeds, level, score)
    by_seed = tuple(by_seed_S.tolist())
    return SeedMean(value=value, by_seed=by_seed, sd_seeds=sd_seeds, level=level, num_seeds=num_seeds, **found)


def _bound(
    value: float, means_R: Floats, of_seeds: Sequence[tuple[float, int]], level: float, score: Score | None = None
) -> dict[str, Any]:
    """Return the ends of an interval, and the other fields that follow from the resamples.

    `of_seeds` has the variance that seeds leave in the mean, with its degrees of freedom, one an arm; without any the
    interval is of the subjects alone.
    """
    defined = means_R[~np.isnan(means_R)]
    se_subjects = float(defined.std(ddof=1)) if len(defined) > 1 else math.nan
    counts = {"se_subjects": se_subjects, "num_defined": len(defined), "num_resamples": len(means_R)}
    if not of_seeds:
        metric, left_out = score or ("auroc", None)
        rarer, without_S = (left_out.num_rarer, left_out.without_S) if left_out else (MIN_SUBJECTS, None)
        alone = choose_interval(metric, value, means_R, without_S, rarer, level, is_difference=score is None)
        return {**counts, "lo": alone.lo, "hi": alone.hi, "method": alone.method}
    variance = se_subjects**2 + sum(of for of, _ in of_seeds)
    spread = sum(of**2 / freedom for of, freedom in of_seeds)
    freedom = LARGEST_FREEDOM if spread == 0 else min(LARGEST_FREEDOM, variance**2 / spread)
    if math.isnan(variance):
        return {**counts, "lo": math.nan, "hi": math.nan}
    half = t_quantile((1 + level) / 2, freedom) * math.sqrt(variance)
    return {**counts, "lo": value - half, "hi": value + half, "freedom": freedom}
