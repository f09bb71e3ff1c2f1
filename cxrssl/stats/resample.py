"""Resamples of whole subjects, and the interval that the values of a metric in them span.

In: subject_ids of the films of a test set; a metric in each resample. Out: counts of films, Interval.
Never: resample films one by one (films of a subject are not independent); an interval where the resamples cannot show
how uncertain a value is.

Suffix letters: N films, L findings, R resamples.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrssl.core.errors import DataError
from cxrssl.core.numbers import encode_numbers, score_text
from cxrssl.core.seed import derive_seed
from cxrssl.stats.metrics import Floats

Counts = npt.NDArray[np.uint16]
MIN_SUBJECTS = 2
"""Subjects with a finding, and without it, below which resamples say nothing: one subject is the same in all."""
FEW_SUBJECTS = 10
"""Below so many the interval is too narrow and is marked; see `Interval.is_few`."""
FEW_OF_NUMBER, FEW_OF_MANY = 30, 150
"""The same of an R2 of one number, and of many, of which the interval is narrower than what the mean of few films takes
off R2. The manual (numbers) has what was measured."""
BEHIND = {
    FEW_SUBJECTS: "with the finding or without it",
    FEW_OF_NUMBER: "behind an R2 of a number",
    FEW_OF_MANY: "behind an R2 of features",
}
BCA_BELOW = 15
"""Below so many the interval is BCa, which holds the truth more often; the manual (numbers) has what was measured."""
NO_WIDTH = 1e-12
PERCENTILE, CENTRED, BCA, DELONG, STUDENT = "percentile", "centred percentile", "BCa", "DeLong", "Student's t"
"""How an interval was made."""


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
    _, subject_N = np.unique(subject_ids_N, return_inverse=True)
    return _draw_counts(subject_N.astype(np.int64).tobytes(), num_resamples, seed)


@functools.lru_cache(maxsize=1)
def _draw_counts(subject_N_bytes: bytes, num_resamples: int, seed: int) -> Counts:
    """Return the counts for subjects by their rank; those drawn last are kept, as one test set is scored many times."""
    subject_N = np.frombuffer(subject_N_bytes, np.int64)
    num_subjects = int(subject_N.max(initial=-1)) + 1
    counts_RN = np.empty((num_resamples, len(subject_N)), dtype=np.uint16)
    for resample, counts_N in enumerate(counts_RN):
        generator = np.random.Generator(np.random.PCG64(derive_seed(seed, resample, "bootstrap")))
        drawn = generator.choice(num_subjects, size=num_subjects) if num_subjects else np.empty(0, np.int64)
        counts_N[:] = np.bincount(drawn, minlength=num_subjects)[subject_N]
    counts_RN.flags.writeable = False
    return counts_RN


def count_subjects(
    labels_NL: npt.NDArray[Any], subject_ids_N: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How many subjects have a film with each finding (1), and how many one without it (0); some have both.

    Shapes: [N, L], [N] -> [L], [L].
    """
    _, subject_N = np.unique(subject_ids_N, return_inverse=True)
    pos_L, neg_L = (
        np.array([len(np.unique(subject_N[labels_N == wanted])) for labels_N in labels_NL.T], dtype=np.int64)
        for wanted in (1, 0)
    )
    return pos_L, neg_L


Mark = Literal["", "few", "no interval", "not defined"]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value with its interval; nan where it is not defined."""

    value: float
    """On the full test set."""
    lo: float
    hi: float
    num_defined: int
    """Resamples in which the value is defined; lo and hi come from these only."""
    num_resamples: int = 0
    """Resamples that were drawn; 0 where that was not recorded."""
    num_rarer: int | None = None
    """Subjects with the finding or without it, whichever are fewer; of a mean, the lower quartile over its findings.
    None where that was not recorded."""
    method: str = PERCENTILE
    """PERCENTILE, CENTRED, BCA or DELONG; STUDENT of a mean over seeds."""
    few_below: int = FEW_SUBJECTS
    """Subjects that `num_rarer` must reach, or it is few; a key of BEHIND."""

    @property
    def has_interval(self) -> bool:
        return not (math.isnan(self.value) or math.isnan(self.lo) or math.isnan(self.hi))

    @property
    def is_few(self) -> bool:
        """Whether it rests on so few subjects that the interval is too narrow.

        Source: Cameron, Gelbach & Miller 2008 (Rev Econ Stat 90:414): with few clusters, intervals that resample or
            count clusters hold the truth less often than they say. The manual (numbers) has the shares measured here.
        """
        return self.num_rarer is not None and self.num_rarer < self.few_below

    @property
    def mark(self) -> Mark:
        """What a reader must know of the number, and "" when nothing: `to_text` shows it."""
        if math.isnan(self.value):
            return "not defined"
        return "no interval" if not self.has_interval else "few" if self.is_few else ""

    @property
    def is_partly_defined(self) -> bool:
        """Whether it has an interval that some resamples had no part in."""
        return self.has_interval and self.num_defined < self.num_resamples

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0; False where there is none."""
        return self.lo > 0 or self.hi < 0

    def counted(self, num_rarer: int, num_resamples: int) -> "Interval":
        """Return it with what it rests on, and without ends that would look certain.

        Below two subjects of either class every resample ranks the same subject; and where no resample differs, as in a
        perfect ranking, the width 0 is that of the method and not of the value.

        Source: Obuchowski & Lieber 2002 (Acad Radiol 9:526): an estimated area of 1 has an interval of width 0 by the
            usual methods, which is wrong.
        """
        is_certain = num_rarer < MIN_SUBJECTS or not self.hi - self.lo > NO_WIDTH
        counted = dataclasses.replace(self, num_rarer=num_rarer, num_resamples=num_resamples)
        return counted.without_interval() if is_certain else counted

    def without_interval(self) -> "Interval":
        """Return the value alone."""
        return dataclasses.replace(self, lo=math.nan, hi=math.nan)

    def to_text(self, signed: bool = False) -> str:
        """Return the number as every table shows it, with its mark.

        "0.734 [0.702, 0.765]"; "0.734 [0.402, 0.965]*" when it rests on few subjects; with " 627/1,000" when it is
        defined in so many of the resamples only; "0.573 no interval"; "not defined".
        """
        if self.mark == "not defined":
            return self.mark
        value, lo, hi = (score_text(each, signed) for each in (self.value, self.lo, self.hi))
        if not self.has_interval:
            return f"{value} no interval"
        share = f" {self.num_defined:,}/{self.num_resamples:,}" if self.is_partly_defined else ""
        return f"{value} [{lo}, {hi}]{'*' if self.is_few else ''}{share}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the mark: "not defined" is None; `method` and `few_below` only where not the usual ones."""
        values = {key: encode_numbers(value, as_null=True) for key, value in dataclasses.asdict(self).items()}
        if self.method == PERCENTILE:
            del values["method"]
        if self.few_below == FEW_SUBJECTS:
            del values["few_below"]
        return {**values, "mark": self.mark}


def explain_marks(intervals: Iterable[Interval]) -> list[str]:
    """Return a sentence for each mark that these numbers carry in a table; none for numbers without marks."""
    shown = list(intervals)
    few = sorted({each.few_below for each in shown if each.mark == "few"})
    sentences = {
        **{_explain_few(bound): True for bound in few},
        f"No interval: fewer than {MIN_SUBJECTS} such subjects, or all resamples give one value.": any(
            each.mark == "no interval" for each in shown
        ),
        "n/N: defined in n of N resamples.": any(each.is_partly_defined for each in shown),
    }
    return [sentence for sentence, is_met in sentences.items() if is_met]


def _explain_few(bound: int) -> str:
    whose = BEHIND.get(bound, "behind it")
    return f"*: fewer than {bound} subjects {whose}; the interval is too narrow."


def percentile_interval(value: float, samples_R: Floats, num_rarer: int, level: float = 0.95) -> Interval:
    """The interval between the (1 - level) / 2 and (1 + level) / 2 quantiles of the resamples in which it is defined.

    None (nan) below two subjects of the rarer class, or where the resamples do not differ; see `Interval.counted`.

    Source: Efron & Tibshirani 1993 (An Introduction to the Bootstrap), section 13.3, percentile interval.
    """
    assert 0 < level < 1, "level is a fraction"
    defined = samples_R[~np.isnan(samples_R)]
    lo, hi = math.nan, math.nan
    if len(defined) and not math.isnan(value):
        lo, hi = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(lo), float(hi), len(defined)).counted(num_rarer, len(samples_R))


def centred_interval(
    value: float, samples_R: Floats, num_rarer: int, level: float = 0.95, ends: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """The percentile interval, moved by what the median of the resamples lies above the value: for average precision,
    for R2, of which it lies below, and for the slope of a calibration.

    A film with the finding counts itself in the precision at its own rank, and one that is drawn twice counts itself
    twice, so that average precision is higher in resamples than in the films they are drawn of. The shift takes that
    out. The interval is for other test sets of this size, whose mean lies above the average precision of a whole
    population for the same reason. `ends` are the least and the largest value that there can be. The manual (numbers)
    has the shares that hold.

    Source: Davison & Hinkley 1997 (Bootstrap Methods and their Application), section 2.2: bias estimated by resamples.
    """
    plain = percentile_interval(value, samples_R, num_rarer, level)
    if not plain.has_interval:
        return dataclasses.replace(plain, method=CENTRED)
    shift = value - float(np.nanmedian(samples_R))
    lo, hi = max(plain.lo + shift, ends[0]), min(plain.hi + shift, ends[1])
    return dataclasses.replace(plain, lo=lo, hi=hi, method=CENTRED)


def _check_subjects(subject_ids_N: npt.NDArray[Any]) -> None:
    is_missing_N = subject_ids_N != subject_ids_N
    if subject_ids_N.dtype == object:
        is_missing_N |= np.array([subject_id is None for subject_id in subject_ids_N], dtype=bool)
    if is_missing_N.any():
        raise DataError(f"{int(is_missing_N.sum())} of {len(subject_ids_N)} films have no subject_id")
