"""The course of every run in few numbers: best, last and smoothed value of each metric, and a trend to draw small.

In: the metrics journals, as they grow, so many bytes at a time. Out: Measure by metric, a trend.
Never: more than a few hundred buckets a run in memory.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cxrssl.dashboard.kept import Kept
from cxrssl.dashboard.smooth import smooth_centred
from cxrssl.dashboard.state import Measure
from cxrssl.records.curve import History, RunHistory

NUM_POINTS = 160
"""Buckets of a run."""
NUM_TREND = 24
"""Values of a trend."""
BUDGET_S = 0.15
PIECE_BYTES = 1 << 20


@dataclass
class _Course:
    """What has been read of one run."""

    history: RunHistory
    version: object = None
    """Of the journals when they were last read."""
    measures: Mapping[str, Measure] = field(default_factory=dict)
    trend: Kept[tuple[float, ...]] = field(default_factory=Kept)


class Courses:
    """What has been read of every run's journals."""

    def __init__(self) -> None:
        self._courses: dict[str, _Course] = {}

    def read(self, runs: Mapping[str, tuple[Path, object]], budget_s: float = BUDGET_S) -> float:
        """Read on for about so long, for a budget of 0 not at all, and return how much of all has been read.

        `runs` has each run's folder and something that is another when its journals are.
        """
        self._courses = {
            run_id: self._courses.get(run_id) or _Course(RunHistory(folder, NUM_POINTS))
            for run_id, (folder, _) in runs.items()
        }
        if budget_s <= 0:
            return self._measure_read()
        until = time.monotonic() + budget_s
        for run_id, (_, version) in runs.items():
            course = self._courses[run_id]
            while course.version != version or course.history.read_frac < 1.0:
                course.version = version
                course.measures = measure_history(course.history.poll(PIECE_BYTES))
                if time.monotonic() > until:
                    return self._measure_read()
        return self._measure_read()

    def measures(self, run_id: str) -> Mapping[str, Measure]:
        """Return the metrics of a run in a few numbers each."""
        return self._courses[run_id].measures

    def trend(self, run_id: str, metric: str) -> tuple[float, ...]:
        """Return a metric over the run in at most NUM_TREND values."""
        course = self._courses[run_id]
        history = course.history.history
        if metric not in history.metrics:
            return ()

        def make() -> tuple[float, ...]:
            return shrink(history.mean_NK[:, history.metrics.index(metric)].tolist(), NUM_TREND)

        return course.trend.get((course.measures, metric), make)

    def _measure_read(self) -> float:
        fracs = [course.history.read_frac for course in self._courses.values()]
        return sum(fracs) / len(fracs) if fracs else 1.0


def measure_history(history: History) -> dict[str, Measure]:
    """Return each metric of a history in a few numbers."""
    if not history.metrics or not len(history.count_N):
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a metric that was never finite
        low_K, high_K = np.nanmin(history.low_NK, axis=0), np.nanmax(history.high_NK, axis=0)
    found = {}
    for k, metric in enumerate(history.metrics):
        smoothed = smooth_centred(history.mean_NK[:, k], history.count_N)
        known = smoothed[np.isfinite(smoothed)]
        step, last = history.latest.get(metric, (0, math.nan))
        found[metric] = Measure(step, last, float(known[-1]) if len(known) else math.nan, low_K[k], high_K[k])
    return found


def shrink(values: Sequence[float], most: int) -> tuple[float, ...]:
    """Return at most `most` means of equal stretches of values; nan where a stretch has none that is finite."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < len(values) and len(finite) <= most:
        return tuple(finite)  # a metric that is measured seldom
    num = min(most, len(values))
    means = []
    for at in range(num):
        part = values[at * len(values) // num : (at + 1) * len(values) // num]
        known = [value for value in part if math.isfinite(value)]
        means.append(math.fsum(known) / len(known) if known else math.nan)
    return tuple(means)
