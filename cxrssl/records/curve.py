"""The course of one run's metrics in bounded memory: buckets that keep the minimum, mean and maximum of what they hold.

In: the metrics journals of a run, as they grow. Out: Curve, one metric over steps.
Never: more than `max_points` buckets, or a step counted twice after a resume.

Suffix letters: N buckets, K metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxrssl.core.numbers import number_of
from cxrssl.records.run import RunFiles
from cxrssl.records.steps import NO_METRICS, find_cuts
from cxrssl.records.tail import PIECE_BYTES, JournalTail, Record, is_metric

Floats = npt.NDArray[np.float64]
MAX_POINTS = 20_000
MAX_METRICS = 64
SMOOTHED_FRAC, MAX_DECAY = 1 / 40, 0.99
"""The moving average looks back over this share of the curve, but no further than about 100 records."""


@dataclass(frozen=True, eq=False)
class Curve:
    """One metric of one run; all arrays [N], steps ascending."""

    run_id: str
    metric: str
    step: Floats
    epoch: Floats
    elapsed_s: Floats
    low: Floats
    mean: Floats
    high: Floats
    """Of the finite values of a bucket; nan where there is none."""
    ema: Floats
    is_bad: npt.NDArray[np.bool_]
    """Whether a bucket holds a value that is not finite."""
    read_frac: float = 1.0
    """How much of the journals has been read."""


class History:
    """Buckets of records. When there are too many, neighbours are merged in pairs: older ones are then the coarser."""

    def __init__(self, max_points: int = MAX_POINTS) -> None:
        self.max_points = max_points
        self.metrics: list[str] = []
        self.count_N = np.zeros(0)
        self.x_N3 = np.zeros((0, 3))
        """Step, epoch and seconds since the first record."""
        self.low_NK, self.mean_NK, self.high_NK = (np.zeros((0, 0)) for _ in range(3))
        self.is_bad_NK = np.zeros((0, 0), bool)
        self.latest: dict[str, tuple[int, float]] = {}
        """Step and value of each metric when it was last logged."""
        self._last_ts: float | None = None

    def add(self, records: list[Record]) -> None:
        """Take in records of ascending steps; one that goes back is passed over."""
        fresh: list[Record] = []
        last = self.x_N3[-1, 0] if len(self.x_N3) else -1
        for record in records:
            if is_metric(record) and record["step"] > last:
                fresh.append(record)
                last = record["step"]
        if not fresh:
            return
        self._add_metrics(fresh)
        value_NK = np.array([[number_of(record.get(key)) for key in self.metrics] for record in fresh])
        value_NK = value_NK.reshape(len(fresh), len(self.metrics))
        is_logged_NK = np.array([[key in record for key in self.metrics] for record in fresh]).reshape(value_NK.shape)
        for record, value_K in zip(fresh, value_NK.tolist(), strict=True):
            known = zip(self.metrics, value_K, strict=True)
            self.latest.update({key: (int(record["step"]), value) for key, value in known if key in record})
        is_finite_NK = np.isfinite(value_NK)
        finite_NK = np.where(is_finite_NK, value_NK, np.nan)
        self.count_N = np.concatenate([self.count_N, np.ones(len(fresh))])
        self.x_N3 = np.concatenate([self.x_N3, self._axes(fresh)])
        self.low_NK, self.mean_NK, self.high_NK = (
            np.concatenate([old, finite_NK]) for old in (self.low_NK, self.mean_NK, self.high_NK)
        )
        self.is_bad_NK = np.concatenate([self.is_bad_NK, is_logged_NK & ~is_finite_NK])
        while len(self.count_N) > self.max_points:
            self._merge_pairs()

    def curve(self, run_id: str, metric: str, read_frac: float = 1.0) -> Curve | None:
        """Return one metric, None when it has never been logged."""
        if metric not in self.metrics:
            return None
        k = self.metrics.index(metric)
        step, epoch, elapsed = self.x_N3.T.copy()
        low, mean, high = (values[:, k].copy() for values in (self.low_NK, self.mean_NK, self.high_NK))
        ema = smooth(mean, self.count_N, choose_decay(float(self.count_N.sum())))
        return Curve(run_id, metric, step, epoch, elapsed, low, mean, high, ema, self.is_bad_NK[:, k].copy(), read_frac)

    def _add_metrics(self, records: list[Record]) -> None:
        known = set(self.metrics) | NO_METRICS
        new = list(dict.fromkeys(key for record in records for key in record if key not in known))
        new = [key for key in new if any(not np.isnan(number_of(record.get(key))) for record in records)]
        new = new[: MAX_METRICS - len(self.metrics)]
        if new:
            self.metrics += new
            wide = ((0, 0), (0, len(new)))
            self.low_NK, self.mean_NK, self.high_NK = (
                np.pad(old, wide, constant_values=np.nan) for old in (self.low_NK, self.mean_NK, self.high_NK)
            )
            self.is_bad_NK = np.pad(self.is_bad_NK, wide)

    def _axes(self, records: list[Record]) -> Floats:
        """A clock that goes back adds no time."""
        ts = np.array([float(record["ts"]) for record in records])
        before = ts[0] if self._last_ts is None else self._last_ts
        elapsed = (self.x_N3[-1, 2] if len(self.x_N3) else 0.0) + np.cumsum(np.maximum(np.diff(ts, prepend=before), 0))
        self._last_ts = float(ts[-1])
        epoch = [number_of(record.get("epoch")) for record in records]
        return np.column_stack([[float(record["step"]) for record in records], epoch, elapsed])

    def _merge_pairs(self) -> None:
        pairs = len(self.count_N) // 2
        even, odd, rest = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2), slice(2 * pairs, None)
        share_N = self.count_N[even] / (self.count_N[even] + self.count_N[odd])
        a_NK, b_NK, share_N1 = self.mean_NK[even], self.mean_NK[odd], share_N[:, None]
        mean_NK = np.where(
            np.isnan(a_NK), b_NK, np.where(np.isnan(b_NK), a_NK, share_N1 * a_NK + (1 - share_N1) * b_NK)
        )
        self.mean_NK = np.concatenate([mean_NK, self.mean_NK[rest]])
        self.low_NK = np.concatenate([np.fmin(self.low_NK[even], self.low_NK[odd]), self.low_NK[rest]])
        self.high_NK = np.concatenate([np.fmax(self.high_NK[even], self.high_NK[odd]), self.high_NK[rest]])
        self.is_bad_NK = np.concatenate([self.is_bad_NK[even] | self.is_bad_NK[odd], self.is_bad_NK[rest]])
        self.x_N3 = np.concatenate([self.x_N3[odd], self.x_N3[rest]])
        self.count_N = np.concatenate([self.count_N[even] + self.count_N[odd], self.count_N[rest]])


class RunHistory:
    """The history of a run, read on from where the last reading ended.

    A step done again after a resume counts once, as done last: of each journal only the steps below the first step of
    every later journal are taken. A resume therefore starts the reading over, once.
    """

    def __init__(self, folder: Path, max_points: int = MAX_POINTS) -> None:
        self.files, self.max_points = RunFiles(folder), max_points
        self.read_frac = 0.0
        self._start_over({})

    def poll(self, max_bytes: int = PIECE_BYTES) -> History:
        """Read at most about `max_bytes` more and return what is known."""
        paths = self.files.journals()
        cuts = find_cuts(paths, self._first)
        if cuts != self._cuts:
            self._start_over(cuts)
        left = max_bytes
        for path in paths:
            tail = self._tails.setdefault(path, JournalTail(path))
            start, before = tail.offset, tail.num_replaced
            records = tail.read(left)
            if tail.num_replaced != before:
                self._start_over({})
                return self.poll(max_bytes)
            self.history.add([r for r in records if is_metric(r) and r["step"] < cuts.get(path, math.inf)])
            left -= tail.offset - start
            if not tail.is_at_end or left <= 0:
                break
        self.read_frac = self._measure(paths)
        return self.history

    def _measure(self, paths: list[Path]) -> float:
        if all(path in self._tails and self._tails[path].is_at_end for path in paths):
            return 1.0
        total = sum(path.stat().st_size for path in paths if path.exists())
        return sum(tail.offset for tail in self._tails.values()) / max(total, 1)

    def _start_over(self, cuts: dict[Path, int]) -> None:
        self.history = History(self.max_points)
        self._tails: dict[Path, JournalTail] = {}
        self._first: dict[Path, int] = {}
        self._cuts = cuts


def choose_decay(num_records: float) -> float:
    """Return the decay per logged record that fits a curve of this length; a short curve is not smoothed away."""
    return min(MAX_DECAY, 1 - 1 / max(2.0, num_records * SMOOTHED_FRAC))


def smooth(mean_N: Floats, count_N: Floats, decay: float) -> Floats:
    """Return the exponential moving average, its start corrected for having no past; nan where `mean_N` is nan.

    Source: Kingma & Ba 2015 (Adam), section 3, bias correction.
    """
    total = weight = 0.0
    out = []
    keeps = (decay**count_N).tolist()
    for value, keep in zip(mean_N.tolist(), keeps, strict=True):
        if value == value:
            total = keep * total + (1 - keep) * value
            weight = keep * weight + (1 - keep)
            out.append(total / weight)
        else:
            out.append(value)
    return np.array(out, dtype=np.float64)
