"""Scores and differences one number a row, as results.csv and the store hold them.

In: published evaluations and comparisons. Out: frozen rows, "macro" first; what is not defined is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cxrssl.core.text import valid
from cxrssl.records.comparison import ComparisonRecord
from cxrssl.records.evaluation import Evaluation
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import Comparison, Scores

Metric = Literal["auroc", "auprc"]
METRICS: tuple[Metric, ...] = ("auroc", "auprc")
MACRO = "macro"
"""In the place of a finding: the mean over the defined ones."""


@dataclass(frozen=True)
class _Number:
    finding: str
    metric: str
    value: float | None
    lo: float | None
    hi: float | None
    mark: str
    """What a reader must know of the number: few, no interval, not defined, or nothing."""
    num_defined: int
    """Resamples in which it is defined."""
    num_resamples: int
    num_scored: int
    num_pos: int | None
    num_pos_subjects: int | None
    num_neg_subjects: int | None


@dataclass(frozen=True)
class _Scored:
    eval_id: str
    candidate_id: str
    kind: str
    label: str
    cohort: str
    split: str
    num_subjects: int
    ci_method: str


@dataclass(frozen=True)
class _Compared:
    comparison_id: str
    eval_id: str
    against_id: str
    candidate_id: str
    against_candidate_id: str
    num_subjects: int
    ci_method: str


@dataclass(frozen=True)
class ResultRow(_Number, _Scored):
    """One metric of one finding of an evaluation."""


@dataclass(frozen=True)
class DifferenceRow(_Number, _Compared):
    """One metric of one finding of a comparison."""


def result_rows(evaluation: Evaluation) -> list[ResultRow]:
    """Return one row for each finding and metric of an evaluation."""
    scores, settings = evaluation.scores, evaluation.settings
    about = _Scored(
        eval_id=valid(evaluation.eval_id),
        candidate_id=valid(settings.candidate_id),
        kind=valid(settings.kind),
        label=valid(settings.label),
        cohort=valid(settings.cohort),
        split=valid(settings.split),
        num_subjects=scores.num_subjects,
        ci_method=scores.method,
    )
    return [ResultRow(**vars(about), **vars(number)) for number in _numbers(scores)]


def difference_rows(record: ComparisonRecord) -> list[DifferenceRow]:
    """Return one row for each finding and metric of a comparison."""
    settings, differences = record.settings, record.differences
    about = _Compared(
        comparison_id=valid(record.comparison_id),
        eval_id=valid(settings.eval_id),
        against_id=valid(settings.against_id),
        candidate_id=valid(settings.candidate_id),
        against_candidate_id=valid(settings.against_candidate_id),
        num_subjects=differences.num_subjects,
        ci_method=differences.method,
    )
    return [DifferenceRow(**vars(about), **vars(number)) for number in _numbers(differences)]


def _numbers(scores: Scores | Comparison) -> Iterator[_Number]:
    for metric in METRICS:
        macro: Interval = getattr(scores, f"macro_{metric}")
        nothing = {"num_pos": None, "num_pos_subjects": None, "num_neg_subjects": None}
        yield _make_number(MACRO, metric, macro, {"num_scored": scores.num_films, **nothing})
        for finding, score in scores.findings.items():
            counts = {key: getattr(score, key) for key in ("num_scored", *nothing)}
            # A finding that is called as the mean is must not be taken for it.
            name = f"{MACRO} (finding)" if finding == MACRO else finding
            yield _make_number(name, metric, getattr(score, metric), counts)


def _make_number(finding: str, metric: str, interval: Interval, counts: Mapping[str, Any]) -> _Number:
    numbers = interval.to_dict()
    del numbers["num_rarer"]
    return _Number(valid(finding), metric, **numbers, **counts)
