"""Whether predicted probabilities are true as numbers, and two maps that make them so, fitted on validation films.

In: log odds, labels and subject_ids of films. Out: Calibration with intervals over subjects; Platt or Isotonic maps.
Never: one number for all bins, as its value depends on how many there are; a map fitted on test films.

Suffix letters: N films, R resamples, P parameters, B bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.stats.metrics import Floats, check_finite
from cxrssl.stats.resample import (
    Interval,
    centred_interval,
    count_subjects,
    draw_subject_counts,
    percentile_interval,
)

NUM_BINS = 10
MAX_STEPS, MAX_STEP = 50, 4.0
CHUNK_VALUES = 2**20
Labels = npt.NDArray[Any]


def sigmoid(logits: Floats) -> Floats:
    """Return the probability of log odds, without overflow."""
    probs: Floats = 0.5 * (1 + np.tanh(0.5 * logits))
    return probs


@dataclass(frozen=True)
class Platt:
    """New log odds = intercept + slope x log odds."""

    intercept: float
    slope: float

    def apply(self, logits: Floats) -> Floats:
        """Return calibrated probabilities."""
        return sigmoid(self.intercept + self.slope * logits)


@dataclass(frozen=True)
class Isotonic:
    """A probability that never falls as the log odds rise, linear between the points given, constant beyond them."""

    logits: tuple[float, ...]
    probs: tuple[float, ...]

    def apply(self, logits: Floats) -> Floats:
        """Return calibrated probabilities."""
        probs: Floats = np.interp(logits, self.logits, self.probs)
        return probs


@dataclass(frozen=True)
class Bin:
    """Films of neighbouring scores: predicted and observed share of the finding."""

    num_films: int
    num_pos: int
    num_pos_subjects: int
    num_neg_subjects: int
    mean_score: float
    observed: Interval


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are true; perfect are intercept 0 and slope 1."""

    intercept: Interval
    """Log odds that must be added to all scores so that their mean is true; below 0 the scores are too high."""
    slope: Interval
    """Below 1 the scores are too extreme."""
    brier: Interval
    """Mean squared distance of probability and label."""
    bins: tuple[Bin, ...]


def fit_platt(logits_N: Floats, labels_N: Labels) -> Platt | None:
    """Return the map of highest likelihood; labels 1, 0, -1 = left out. None where it is not found, or falls.

    Labels are smoothed to (positives + 1) / (positives + 2) and 1 / (negatives + 2), so that it is finite.
    Source: Platt 1999 (Advances in Large Margin Classifiers, 61); Lin, Lin & Weng 2007 (Mach Learn 68:267).
    Raises: DataError if a score is not finite.
    """
    logits_N, labels_N = _scored(logits_N, labels_N)
    pos, neg = int((labels_N == 1).sum()), int((labels_N == 0).sum())
    targets_N = np.where(labels_N == 1, (pos + 1) / (pos + 2), 1 / (neg + 2))
    intercept, slope = _fit_line(logits_N, targets_N, np.ones((1, len(logits_N))))[0]
    return Platt(float(intercept), float(slope)) if slope > 0 else None


def fit_isotonic(logits_N: Floats, labels_N: Labels) -> Isotonic:
    """Return the rising map of least squares; labels 1, 0, -1 = left out. Equal scores are one point.

    Source: pool adjacent violators, Ayer et al. 1955 (Ann Math Stat 26:641).
    Raises: DataError if a score is not finite.
    """
    logits_N, labels_N = _scored(logits_N, labels_N)
    values, at_N = np.unique(logits_N, return_inverse=True)
    weights, sums = np.bincount(at_N), np.bincount(at_N, labels_N)
    blocks: list[tuple[float, int, int, int]] = []  # sum, weight, first and last value
    for k, (total, weight) in enumerate(zip(sums.tolist(), weights.tolist(), strict=True)):
        first = k
        while blocks and blocks[-1][0] * weight >= total * blocks[-1][1]:
            before = blocks.pop()
            total, weight, first = total + before[0], weight + before[1], before[2]
        blocks.append((total, weight, first, k))
    points = [(float(values[at]), b[0] / b[1]) for b in blocks for at in dict.fromkeys(b[2:])]
    return Isotonic(tuple(x for x, _ in points), tuple(y for _, y in points))


def score_calibration(
    logits_N: Floats,
    labels_N: Labels,
    subject_ids_N: npt.NDArray[Any],
    *,
    probs_N: Floats | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Calibration:
    """Intercept, slope, Brier score and table of reliability on test films; labels 1, 0, -1 = not scored.

    Intercept: of a logistic regression of the labels with the log odds as offset. Slope: of one on the log odds. Both
    are not defined where the likelihood has no maximum, as for a perfect ranking. Where `probs_N` are given, they are
    the scores and may be 0 or 1, so that neither is defined. Bins hold tenths of the films, equal scores together.

    Source: Cox 1958 (Biometrika 45:562); Van Calster et al. 2019 (BMC Med 17:230); Brier 1950 (Mon Weather Rev 78:1).
    Raises: DataError if a score is not finite or a subject_id is missing.
    """
    scored = np.flatnonzero(labels_N >= 0)
    counts_RN = draw_subject_counts(subject_ids_N, num_resamples, seed)[:, scored]
    logits_N, labels_N, subject_ids_N = logits_N[scored], labels_N[scored], subject_ids_N[scored]
    check_finite(logits_N)
    scores_N = sigmoid(logits_N) if probs_N is None else probs_N[scored]
    pos_1, neg_1 = count_subjects(labels_N[:, None], subject_ids_N)
    rarer = min(int(pos_1[0]), int(neg_1[0]))
    all_RN = np.concatenate([np.ones((1, len(scored)), counts_RN.dtype), counts_RN])
    not_defined = np.full(len(all_RN), np.nan)
    has_both = rarer > 0 and probs_N is None
    intercepts = _fit_offset(logits_N, labels_N, all_RN) if has_both else not_defined
    slopes = _fit_line(logits_N, labels_N, all_RN)[:, 1] if has_both else not_defined
    errors_N = np.square(scores_N - labels_N)
    briers = _mean(all_RN, errors_N)
    intercept, brier = (percentile_interval(float(each[0]), each[1:], rarer, level) for each in (intercepts, briers))
    slope = centred_interval(float(slopes[0]), slopes[1:], rarer, level, ends=(-math.inf, math.inf))
    bins = _make_bins(scores_N, labels_N, subject_ids_N, all_RN, level) if len(scored) else ()
    return Calibration(intercept, slope, brier, bins)


def _scored(logits_N: Floats, labels_N: Labels) -> tuple[Floats, Labels]:
    is_scored_N = labels_N >= 0
    logits_N, labels_N = logits_N[is_scored_N], labels_N[is_scored_N]
    check_finite(logits_N)
    assert {0, 1} <= {*labels_N.tolist()}, "films with the finding and without it"
    return logits_N, labels_N


def _make_bins(
    scores_N: Floats, labels_N: Labels, subject_ids_N: npt.NDArray[Any], all_RN: npt.NDArray[Any], level: float
) -> tuple[Bin, ...]:
    edges = np.unique(np.quantile(scores_N, np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    bin_N = np.searchsorted(edges, scores_N, side="right")
    bins = []
    for number in np.unique(bin_N):
        rows = np.flatnonzero(bin_N == number)
        pos_1, neg_1 = count_subjects(labels_N[rows, None], subject_ids_N[rows])
        shares_R = _mean(all_RN[:, rows], labels_N[rows].astype(np.float64))
        num_subjects = len(np.unique(subject_ids_N[rows]))
        observed = percentile_interval(float(shares_R[0]), shares_R[1:], num_subjects, level)
        num_pos, mean = int((labels_N[rows] == 1).sum()), float(scores_N[rows].mean())
        bins.append(Bin(len(rows), num_pos, int(pos_1[0]), int(neg_1[0]), mean, observed))
    return tuple(bins)


def _mean(counts_RN: npt.NDArray[Any], values_N: Floats) -> Floats:
    """Mean in each resample, nan where it is empty."""
    num_R = counts_RN.sum(axis=1, dtype=np.int64)
    return np.where(num_R > 0, counts_RN @ values_N / np.maximum(num_R, 1), np.nan)


def _fit_offset(logits_N: Floats, targets_N: Labels, counts_RN: npt.NDArray[Any]) -> Floats:
    """Return the intercept of each resample with the log odds as offset, [R]; nan where it is not found."""
    return _fit(np.ones((len(logits_N), 1)), logits_N, targets_N, counts_RN)[:, 0]


def _fit_line(logits_N: Floats, targets_N: Labels, counts_RN: npt.NDArray[Any]) -> Floats:
    """Return the intercept and slope of each resample, [R, 2]; nan where they are not found."""
    middle, spread = logits_N.mean(), logits_N.std()
    if not spread > 1e-12 * max(1.0, abs(middle)):
        return np.full((len(counts_RN), 2), np.nan)
    design_N2 = np.stack([np.ones(len(logits_N)), (logits_N - middle) / spread], axis=1)
    fitted_R2 = _fit(design_N2, np.zeros(len(logits_N)), targets_N, counts_RN)
    slope_R = fitted_R2[:, 1] / spread
    return np.stack([fitted_R2[:, 0] - slope_R * middle, slope_R], axis=1)


def _fit(design_NP: Floats, offset_N: Floats, targets_N: Labels, counts_RN: npt.NDArray[Any]) -> Floats:
    """Return the coefficients of a logistic regression of each resample, [R, P], by Newton's method.

    The first row is fitted from zero, the others begin where it ended. nan where a likelihood has no maximum.
    """
    fitted_RP = np.full((len(counts_RN), design_NP.shape[1]), np.nan)
    fitted_RP[:1] = _ascend(design_NP, offset_N, targets_N, counts_RN[:1], np.zeros((1, design_NP.shape[1])), 1e-10)
    if np.isnan(fitted_RP[0]).any():
        return fitted_RP
    rows = max(1, CHUNK_VALUES // max(1, len(offset_N)))
    for start in range(1, len(counts_RN), rows):
        chunk = slice(start, start + rows)
        begin = np.repeat(fitted_RP[:1], len(counts_RN[chunk]), axis=0)
        # The error after a step is of the order of its square.
        fitted_RP[chunk] = _ascend(design_NP, offset_N, targets_N, counts_RN[chunk], begin, 1e-5)
    return fitted_RP


def _ascend(
    design_NP: Floats,
    offset_N: Floats,
    targets_N: Labels,
    counts_RN: npt.NDArray[Any],
    begin_RP: Floats,
    tolerance: float,
) -> Floats:
    """Return the maxima reached from `begin`, nan where a step is not defined or the last one is not small."""
    counts_RN = counts_RN.astype(np.float64)
    found_RP, now_RP = np.full_like(begin_RP, np.nan), begin_RP.copy()
    left = np.arange(len(counts_RN))
    size = design_NP.shape[1]
    outer_NQ = (design_NP[:, :, None] * design_NP[:, None, :]).reshape(len(design_NP), -1)
    for _ in range(MAX_STEPS):
        probs = sigmoid(now_RP[left] @ design_NP.T + offset_N)
        weighted = counts_RN[left]
        gradient = (weighted * (targets_N - probs)) @ design_NP
        hessian = ((weighted * probs * (1 - probs)) @ outer_NQ).reshape(-1, size, size)
        is_solid = np.linalg.det(hessian) > 1e-12 * np.maximum(weighted.sum(axis=1), 1) ** size
        left, gradient, hessian = left[is_solid], gradient[is_solid], hessian[is_solid]
        step = np.clip(np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0], -MAX_STEP, MAX_STEP)
        now_RP[left] += step
        is_there = np.abs(step).max(axis=1, initial=0.0) < tolerance
        found_RP[left[is_there]] = now_RP[left[is_there]]
        left = left[~is_there]
        if not len(left):
            break
    return found_RP


def is_off(interval: Interval, perfect: float = 0.0) -> bool:
    """Return whether the whole interval lies on one side of what is perfect; False where there is none."""
    return interval.has_interval and not math.isnan(interval.value) and not interval.lo <= perfect <= interval.hi
