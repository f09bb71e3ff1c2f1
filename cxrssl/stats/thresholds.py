"""Thresholds on scores, fitted on validation films, and what they decide on test films, with intervals over subjects.

In: scores, labels and subject_ids of val or test films. Out: thresholds, and Decisions. Never: a test film used for a
threshold.

A film is called positive when its score is at least the threshold.
Suffix letters: N films, K decisions (a finding and a rule), R resamples, V distinct scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrssl.core.errors import UsageError
from cxrssl.core.text import plain
from cxrssl.stats.metrics import Floats, check_finite
from cxrssl.stats.resample import FEW_SUBJECTS, Interval, count_subjects, draw_subject_counts, percentile_interval

CHUNK_RESAMPLES = 50
DEFAULT_RULES = ("youden", "sens=0.9", "spec=0.9")


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen on val films."""

    kind: Literal["youden", "sens", "spec"]
    at_least: float = 0.0
    """Sensitivity or specificity that the threshold must reach on val films."""

    @property
    def name(self) -> str:
        return self.kind if self.kind == "youden" else f"{self.kind}={self.at_least:g}"


def parse_rule(text: str) -> Rule:
    """Return the rule that "youden", "sens=0.9" or "spec=0.9" names. Raises: UsageError."""
    kind, _, number = text.strip().partition("=")
    try:
        at_least = float(number) if number else math.nan
    except ValueError:
        at_least = math.nan
    if kind == "youden" and not number:
        return Rule("youden")
    if kind == "sens" and 0 < at_least < 1:
        return Rule("sens", at_least)
    if kind == "spec" and 0 < at_least < 1:
        return Rule("spec", at_least)
    what = f'"{plain(text, 40)}" is no rule for a threshold'
    raise UsageError(what, hint="youden, or a share between 0 and 1 to reach on val films: sens=0.9, spec=0.95")


def has_enough(labels_N: npt.NDArray[Any], subject_ids_N: npt.NDArray[Any]) -> bool:
    """Return whether enough subjects have the finding, and lack it, to fit something on them."""
    pos_1, neg_1 = count_subjects(labels_N[:, None], subject_ids_N)
    return min(int(pos_1[0]), int(neg_1[0])) >= FEW_SUBJECTS


def fit_threshold(
    scores_N: Floats, labels_N: npt.NDArray[Any], subject_ids_N: npt.NDArray[Any], rule: Rule
) -> tuple[float, float, float]:
    """Return a threshold with its sensitivity and specificity on these films; labels 1, 0, -1 = left out.

    Each subject counts once among those with the finding and once among those without it, however many films they have.
    youden: the highest sensitivity + specificity - 1, of equals the most sensitive. sens: the highest threshold that is
    so sensitive. spec: the lowest that is so specific; it may lie above all scores.

    Source: Youden 1950 (Cancer 3:32).
    Raises: DataError if a score is not finite.
    """
    scored = labels_N >= 0
    scores_N, labels_N, subject_ids_N = scores_N[scored], labels_N[scored], subject_ids_N[scored]
    check_finite(scores_N)
    assert {0, 1} <= {*labels_N.tolist()}, "films with the finding and without it"
    values_V = np.unique(scores_N)
    values_V = np.append(values_V, np.nextafter(values_V[-1], np.inf))
    at_N = np.searchsorted(values_V, scores_N)
    pos_V, neg_V = (
        np.bincount(at_N, _weigh_subjects(labels_N == label, subject_ids_N), len(values_V)) for label in (1, 0)
    )
    # Sums of shares of subjects, so that the last digits say nothing.
    sens_V = np.round(np.cumsum(pos_V[::-1])[::-1] / pos_V.sum(), 12)
    spec_V = np.round((np.cumsum(neg_V) - neg_V) / neg_V.sum(), 12)
    best = _choose(sens_V, spec_V, rule)
    return float(values_V[best]), float(sens_V[best]), float(spec_V[best])


def _choose(sens_V: Floats, spec_V: Floats, rule: Rule) -> int:
    if rule.kind == "youden":
        return int(np.argmax(np.round(sens_V + spec_V, 12)))
    if rule.kind == "sens":
        return int(np.flatnonzero(sens_V >= rule.at_least)[-1])
    return int(np.flatnonzero(spec_V >= rule.at_least)[0])


def _weigh_subjects(is_meant_N: npt.NDArray[np.bool_], subject_ids_N: npt.NDArray[Any]) -> Floats:
    """Return a weight for each film: those that are meant share 1 among the films of a subject, others have 0."""
    _, subject_N = np.unique(subject_ids_N, return_inverse=True)
    num_N = np.bincount(subject_N, is_meant_N)[subject_N]
    return np.where(is_meant_N, 1.0 / np.maximum(num_N, 1), 0.0)


@dataclass(frozen=True)
class Decisions:
    """What a threshold decides on test films; every share is of films, its interval over subjects."""

    sensitivity: Interval
    specificity: Interval
    ppv: Interval
    """Share of the films called positive that have the finding; it holds for this share of positive films."""
    npv: Interval
    num_called: int
    """Films called positive."""
    num_scored: int


def score_decisions(
    is_called_NK: npt.NDArray[np.bool_],
    labels_NK: npt.NDArray[Any],
    subject_ids_N: npt.NDArray[Any],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Decisions]:
    """Sensitivity, specificity and predictive values of each decision; labels 1, 0, -1 = not scored.

    An interval rests on the subjects in its denominator: few are marked, below two there is none.
    Shapes: [N, K], [N, K], [N] -> K.
    Raises: DataError if a subject_id is missing.
    """
    assert is_called_NK.shape == labels_NK.shape == (len(subject_ids_N), is_called_NK.shape[1]), "a label for each call"
    is_pos_NK, is_neg_NK = labels_NK == 1, labels_NK == 0
    wholes = (is_pos_NK, is_neg_NK, is_called_NK & (labels_NK >= 0), ~is_called_NK & (labels_NK >= 0))
    parts = (is_pos_NK & is_called_NK, is_neg_NK & ~is_called_NK, is_pos_NK & is_called_NK, is_neg_NK & ~is_called_NK)
    counts_RN = draw_subject_counts(subject_ids_N, num_resamples, seed)
    once_1N = np.ones((1, len(subject_ids_N)), dtype=np.uint16)
    intervals = []
    for part_NK, whole_NK in zip(parts, wholes, strict=True):
        values_K = _share(once_1N, part_NK, whole_NK)[0]
        samples_RK = _share(counts_RN, part_NK, whole_NK)
        num_K, _ = count_subjects(whole_NK.astype(np.int8), subject_ids_N)
        columns = zip(values_K.tolist(), samples_RK.T, num_K.tolist(), strict=True)
        intervals.append([percentile_interval(value, samples, num, level) for value, samples, num in columns])
    called_K, scored_K = wholes[2].sum(axis=0).tolist(), (labels_NK >= 0).sum(axis=0).tolist()
    return [Decisions(*four) for four in zip(*intervals, called_K, scored_K, strict=True)]


def _share(counts_RN: npt.NDArray[Any], part_NK: npt.NDArray[np.bool_], whole_NK: npt.NDArray[np.bool_]) -> Floats:
    """Return the share of the films of `whole` that are of `part` in each resample; nan where it is empty: [R, K]."""
    both = np.concatenate([part_NK, whole_NK], axis=1).astype(np.float32)  # sums of films stay exact below 2^24
    sums = np.empty((len(counts_RN), both.shape[1]))
    for start in range(0, len(counts_RN), CHUNK_RESAMPLES):
        chunk = slice(start, start + CHUNK_RESAMPLES)
        sums[chunk] = counts_RN[chunk].astype(np.float32) @ both
    part_RK, whole_RK = np.split(sums, 2, axis=1)
    return np.where(whole_RK > 0, part_RK / np.maximum(whole_RK, 1), np.nan)
