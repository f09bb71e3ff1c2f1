"""The smallest difference of two arms that a test set can show, before anything is trained.

In: how many test subjects have each finding and how many do not, the number of seeds. Out: differences of AUROC.
Never: a number without its assumptions, which `Assumptions` names.

Suffix letters: L findings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.core.numbers import encode_numbers
from cxrssl.core.text import count_noun, plain
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import MIN_SUBJECTS
from cxrssl.stats.student import t_quantile

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Assumptions:
    """What is not known before the runs; the defaults are near what was measured on the demo's cohort."""

    auroc: float = 0.75
    """Of every finding."""
    of_arms: float = 0.6
    """Correlation of two arms' AUROC of a finding over other test subjects: they rank the same films."""
    of_findings: float = 0.02
    """Correlation of the differences of two findings over other test subjects."""
    sd_seeds: float = 0.01
    """Standard deviation over seeds of the difference of two arms."""
    power: float = 0.8
    """Chance that the interval of a true difference of this size excludes zero."""
    level: float = 0.95
    """Of that interval."""

    def __str__(self) -> str:
        return (
            f"{self.power:.0%} power, {self.level:.0%} interval; assumed: AUROC {self.auroc:g}, correlation "
            f"{self.of_arms:g} of two arms and {self.of_findings:g} of two findings, sd over seeds {self.sd_seeds:g}"
        )


USUAL = Assumptions()


def find_smallest_difference(pos_L: Counts, neg_L: Counts, num_seeds: int, given: Assumptions = USUAL) -> float:
    """Return the difference in macro AUROC that two arms must have for its interval to exclude zero so often.

    Subjects count as independent, each once for a finding. Findings with fewer than two subjects of either class are
    left out; nan if that leaves none. With one seed the variance over seeds is left out, as in its interval.
    Shapes: subjects with the finding and without it, [L], [L].
    Source: Hanley & McNeil 1982 (Radiology 143:29) for the variance of an AUROC, 1983 (Radiology 148:839) for that of
        the difference of two on the same cases; the degrees of freedom as in `stats.seeds.compare_seeds`.
    """
    is_defined_L = np.minimum(pos_L, neg_L) >= MIN_SUBJECTS
    of_arms_L = 2 * (1 - given.of_arms) * auroc_variance(given.auroc, pos_L[is_defined_L], neg_L[is_defined_L])
    num = len(of_arms_L)
    if not num:
        return math.nan
    shared = np.sqrt(of_arms_L).sum() ** 2 - of_arms_L.sum()
    of_subjects = float(of_arms_L.sum() + given.of_findings * shared) / num**2
    of_seeds = given.sd_seeds**2 / num_seeds if num_seeds > 1 else 0.0
    variance = of_subjects + of_seeds
    freedom = (num_seeds - 1) * (variance / of_seeds) ** 2 if of_seeds else math.inf
    quantiles = t_quantile((1 + given.level) / 2, freedom) + t_quantile(given.power, freedom)
    return quantiles * math.sqrt(variance)


def find_smallest_differences(pos_L: Counts, neg_L: Counts, num_seeds: int, given: Assumptions = USUAL) -> Floats:
    """Return the same of each finding alone, [L]; nan for one with fewer than two subjects of either class."""
    alone = zip(pos_L[:, None], neg_L[:, None], strict=True)
    return np.array([find_smallest_difference(*pair, num_seeds, given) for pair in alone])


def describe_smallest(findings: Sequence[str], pos_L: Counts, neg_L: Counts, num_seeds: int) -> dict[str, Any]:
    """Return the smallest differences as JSON, by finding and of the macro mean; null where there is none."""
    macro = find_smallest_difference(pos_L, neg_L, num_seeds)
    by_finding = find_smallest_differences(pos_L, neg_L, num_seeds)
    named = {name: encode_numbers(float(value), as_null=True) for name, value in zip(findings, by_finding, strict=True)}
    macro_number = encode_numbers(macro, as_null=True)
    return {"macro": macro_number, "findings": named, "num_seeds": num_seeds, "assumptions": str(USUAL)}


def describe_in_words(smallest: Mapping[str, Any], subjects: str = "test subjects") -> str:
    """Return them in a sentence about these `subjects`, with the findings that show the smallest and the largest."""
    known = {name: value for name, value in smallest["findings"].items() if value is not None}
    if smallest["macro"] is None or not known:
        return f"These {subjects} show no difference: no finding has two with it and two without."
    ordered = sorted(known, key=lambda name: known[name])
    ends = f"{known[ordered[0]]:.3f} ({plain(ordered[0], 60)}) to {known[ordered[-1]]:.3f} ({plain(ordered[-1], 60)})"
    seeds = f" of {count_noun(smallest['num_seeds'], 'seed')}" if smallest["num_seeds"] > 1 else ""
    return (
        f"Smallest difference in AUROC of two arms{seeds} that these {subjects} can show: macro "
        f"{smallest['macro']:.3f}, by finding {ends}. {smallest['assumptions']}."
    )


def auroc_variance(auroc: float, pos_L: Counts, neg_L: Counts) -> Floats:
    """Return the variance of an AUROC estimated on so many positives and negatives.

    Source: Hanley & McNeil 1982, equations 1 and 2, for scores that are exponentially distributed.
    """
    of_pos, of_neg = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    total = auroc * (1 - auroc) + (pos_L - 1) * (of_pos - auroc**2) + (neg_L - 1) * (of_neg - auroc**2)
    return np.asarray(total / (pos_L * neg_L), np.float64)
