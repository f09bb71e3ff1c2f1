"""Scores and differences one number a row, as results.csv and the store hold them.

In: published evaluations and comparisons. Out: frozen rows, "macro" first; what is not defined is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

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
    num_scored: int
    num_pos: int | None


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
        yield _make_number(MACRO, metric, macro, scores.num_films, None)
        for finding, score in scores.findings.items():
            yield _make_number(finding, metric, getattr(score, metric), score.num_scored, score.num_pos)


def _make_number(finding: str, metric: str, interval: Interval, num_scored: int, num_pos: int | None) -> _Number:
    numbers = interval.to_dict()
    del numbers["num_defined"]
    return _Number(valid(finding), metric, **numbers, num_scored=num_scored, num_pos=num_pos)
