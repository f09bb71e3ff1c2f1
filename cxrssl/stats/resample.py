"""Resamples of whole subjects, and the interval that the values of a metric in them span.

In: subject_ids of the films of a test set; a metric in each resample. Out: counts of films, Interval.
Never: resample films one by one (films of a subject are not independent).

Suffix letters: N films, R resamples.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.core.errors import DataError
from cxrssl.core.numbers import encode_numbers
from cxrssl.core.seed import derive_seed
from cxrssl.stats.metrics import Floats

Counts = npt.NDArray[np.uint16]


def draw_subject_counts(subject_ids_N: npt.NDArray[Any], num_resamples: int, seed: int) -> Counts:
    """How often each film occurs in each resample: S of the S subjects drawn with replacement, each with all its films.

    A function of the seed and the sorted distinct subjects: the order of the films does not matter, and the first
    resamples stay the same when more are asked for.

    Shapes: [N] -> [R, N].
    Source: Davison & Hinkley 1997 (Bootstrap Methods and their Application), section 3.8: resample whole clusters.
    Raises: DataError if a subject_id is missing.
    """
    assert subject_ids_N.ndim == 1, "one subject_id for each film"
    assert num_resamples > 0, "at least one resample"
    _check_subjects(subject_ids_N)
    subjects, subject_N = np.unique(subject_ids_N, return_inverse=True)
    counts_RN = np.empty((num_resamples, len(subject_ids_N)), dtype=np.uint16)
    for resample, counts_N in enumerate(counts_RN):
        generator = np.random.Generator(np.random.PCG64(derive_seed(seed, resample, "bootstrap")))
        drawn = generator.choice(len(subjects), size=len(subjects)) if len(subjects) else np.empty(0, np.int64)
        counts_N[:] = np.bincount(drawn, minlength=len(subjects))[subject_N]
    return counts_RN


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value with its percentile interval; nan where it is not defined."""

    value: float
    """On the full test set."""
    lo: float
    hi: float
    num_defined: int
    """Resamples in which the value is defined; lo and hi come from these only."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0; False where it is not defined."""
        return self.lo > 0 or self.hi < 0

    def to_text(self, signed: bool = False) -> str:
        """Return "0.734 [0.702, 0.765]", or "not defined"."""
        if math.isnan(self.value):
            return "not defined"
        pattern = "{:+.3f}" if signed else "{:.3f}"
        if math.isnan(self.lo) or math.isnan(self.hi):
            return pattern.format(self.value)
        return f"{pattern.format(self.value)} [{pattern.format(self.lo)}, {pattern.format(self.hi)}]"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        return {key: encode_numbers(value, as_null=True) for key, value in dataclasses.asdict(self).items()}


def percentile_interval(value: float, samples_R: Floats, level: float = 0.95) -> Interval:
    """The interval between the (1 - level) / 2 and (1 + level) / 2 quantiles of the resamples in which it is defined.

    Source: Efron & Tibshirani 1993 (An Introduction to the Bootstrap), section 13.3, percentile interval.
    """
    assert 0 < level < 1, "level is a fraction"
    defined = samples_R[~np.isnan(samples_R)]
    if not len(defined) or math.isnan(value):
        return Interval(value, math.nan, math.nan, len(defined))
    lo, hi = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(lo), float(hi), len(defined))


def _check_subjects(subject_ids_N: npt.NDArray[Any]) -> None:
    is_missing_N = subject_ids_N != subject_ids_N
    if subject_ids_N.dtype == object:
        is_missing_N |= np.array([subject_id is None for subject_id in subject_ids_N], dtype=bool)
    if is_missing_N.any():
        raise DataError(f"{int(is_missing_N.sum())} of {len(subject_ids_N)} films have no subject_id")
