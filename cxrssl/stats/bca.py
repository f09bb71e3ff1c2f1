"""Which interval a metric has, and that of few subjects: the bootstrap corrected for bias and skewness (BCa).

In: a metric on the whole test set, in resamples of its subjects, and without each of them. Out: Interval.

Suffix letters: R resamples, S subjects.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

import numpy as np

from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import (
    BCA,
    BCA_BELOW,
    MIN_SUBJECTS,
    NO_WIDTH,
    Interval,
    centred_interval,
    percentile_interval,
)

NORMAL = NormalDist()


Metric = Literal["auroc", "auprc"]
METRICS: tuple[Metric, Metric] = ("auroc", "auprc")


def choose_interval(
    metric: Metric,
    value: float,
    samples_R: Floats,
    without_S: Floats | None,
    num_rarer: int,
    level: float = 0.95,
    is_difference: bool = False,
) -> Interval:
    """Of average precision the centred interval. Of the AUROC of a finding BCa where fewer than BCA_BELOW subjects have
    the rarer class. Elsewhere the percentile interval: of a difference the others hold the truth less often, and of a
    mean over findings BCa does. The manual (numbers) has the shares.

    `without_S` are the values without each subject; None or nan of a mean, and where they are not needed.
    """
    if is_difference:
        return percentile_interval(value, samples_R, num_rarer, level)
    if metric == "auprc":
        return centred_interval(value, samples_R, num_rarer, level)
    if without_S is None or np.isnan(without_S).all() or not MIN_SUBJECTS <= num_rarer < BCA_BELOW:
        return percentile_interval(value, samples_R, num_rarer, level)
    return bca_interval(value, samples_R, without_S, num_rarer, level)


def bca_interval(value: float, samples_R: Floats, without_S: Floats, num_rarer: int, level: float = 0.95) -> Interval:
    """The interval between the quantiles of the resamples that bias and acceleration call for.

    With z0 the normal quantile of the share of resamples below the value (half of those equal to it), and a the
    skewness of the jackknife over 6, the quantiles are Phi(z0 + (z0 + z) / (1 - a (z0 + z))) for z at both ends.

    Source: Efron 1987 (J Am Stat Assoc 82:171); Efron & Tibshirani 1993, equations 14.10 to 14.15.
    """
    plain = percentile_interval(value, samples_R, num_rarer, level)
    defined = samples_R[~np.isnan(samples_R)]
    if not plain.has_interval:
        return plain
    bias, acceleration = _find_bias(value, defined), find_acceleration(without_S)
    shares = [_shift(NORMAL.inv_cdf(share), bias, acceleration) for share in ((1 - level) / 2, (1 + level) / 2)]
    lo, hi = np.quantile(defined, shares)
    return Interval(value, float(lo), float(hi), len(defined), method=BCA).counted(num_rarer, len(samples_R))


def find_acceleration(without_S: Floats) -> float:
    """Return a sixth of the skewness of the jackknife; 0 where its values do not differ."""
    defined = without_S[~np.isnan(without_S)]
    deviations = defined.mean() - defined if len(defined) else defined
    spread = float((deviations**2).sum())
    return float((deviations**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0


def _find_bias(value: float, defined_R: Floats) -> float:
    is_equal_R = np.abs(defined_R - value) <= NO_WIDTH
    share = float(((defined_R < value) & ~is_equal_R).sum() + 0.5 * is_equal_R.sum()) / len(defined_R)
    least = 1 / (len(defined_R) + 1)
    return NORMAL.inv_cdf(min(max(share, least), 1 - least))


def _shift(z: float, bias: float, acceleration: float) -> float:
    """Return the share of resamples below an end of the interval."""
    room = 1 - acceleration * (bias + z)
    if room <= 0:
        return 1.0 if bias + z > 0 else 0.0
    share: float = NORMAL.cdf(bias + (bias + z) / room)
    return share if math.isfinite(share) else 0.5
