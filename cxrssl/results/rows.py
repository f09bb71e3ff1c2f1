"""Scores and differences one number a row, as results.csv and the store hold them.

In: published evaluations and comparisons. Out: frozen rows, "macro" first; what is not defined is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cxrssl.core.text import valid
from cxrssl.evaluate.groups import SeedGroup, find_seed
from cxrssl.records.comparison import ComparisonRecord
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.group import GroupRecord
from cxrssl.stats.holm import adjust_named, p_of_interval
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import Comparison, Scores
from cxrssl.stats.seeds import SeedMean, SeedScores

Metric = Literal["auroc", "auprc"]
METRICS: tuple[Metric, ...] = ("auroc", "auprc")
NOT_SHOWN = ("num_rarer", "method", "few_below")
"""Of an interval: `mark` and `ci_method` say what follows from them."""
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
    ci_method: str
    """How its interval was made, in words; empty for a number without one."""


@dataclass(frozen=True)
class _Scored:
    eval_id: str
    candidate_id: str
    kind: str
    label: str
    cohort: str
    split: str
    seed: int | None
    """Of the run, or of the untrained encoder; None for what has none."""
    control: str | None
    """How the record of the run is wrong, "none" where it is not; None where that is not known."""
    group_id: str
    """The same for evaluations that differ in the seed alone."""
    num_subjects: int


@dataclass(frozen=True)
class _Compared:
    comparison_id: str
    eval_id: str
    against_id: str
    candidate_id: str
    against_candidate_id: str
    num_subjects: int


@dataclass(frozen=True)
class DecodingRow:
    """How well one feature of the record is decoded from the features of an evaluation."""

    eval_id: str
    candidate_id: str
    label: str
    cohort: str
    split: str
    feature: str
    metric: str
    value: float | None
    lo: float | None
    hi: float | None
    mark: str
    num_defined: int
    num_resamples: int
    num_films: int
    num_subjects: int
    ci_method: str


@dataclass(frozen=True)
class ResultRow(_Number, _Scored):
    """One metric of one finding of an evaluation."""


@dataclass(frozen=True)
class _Tested:
    p: float | None
    """Of no difference, two-sided, as the interval is; None for a number without one."""
    p_holm: float | None
    """Adjusted for the findings of this difference and metric; None for the mean over them."""


@dataclass(frozen=True)
class DifferenceRow(_Tested, _Number, _Compared):
    """One metric of one finding of a comparison."""


@dataclass(frozen=True)
class _Averaged:
    group_id: str
    label: str
    kind: str
    cohort: str
    split: str
    control: str | None
    seeds: str
    """Joined by comma."""
    against: str
    """What was subtracted: untrained, vanilla, or the control of the wrong record; empty for the scores themselves."""
    finding: str
    metric: str
    value: float | None
    """Mean over the seeds."""
    lo: float | None
    hi: float | None
    mark: str
    num_seeds: int
    """With one seed the interval is of the subjects alone."""
    sd_seeds: float | None
    se_subjects: float | None
    is_paired: bool
    by_seed: str
    """Joined by comma, in the order of the seeds; empty where they are not paired."""
    num_defined: int
    num_resamples: int
    ci_method: str


@dataclass(frozen=True)
class SeedRow(_Tested, _Averaged):
    """One metric of one finding of a group of seeds, or of its difference to another; a score has no p-value."""


def group_of(groups: Iterable[SeedGroup]) -> dict[str, SeedGroup]:
    """Return the group of each evaluation, by eval_id."""
    return {each.eval_id: group for group in groups for each in (*group.evaluations, *group.repeats)}


def result_rows(evaluation: Evaluation, group: SeedGroup | None = None) -> list[ResultRow]:
    """Return one row for each finding and metric of an evaluation, which belongs to a group."""
    scores, settings = evaluation.scores, evaluation.settings
    about = _Scored(
        eval_id=valid(evaluation.eval_id),
        candidate_id=valid(settings.candidate_id),
        kind=valid(settings.kind),
        label=valid(settings.label),
        cohort=valid(settings.cohort),
        split=valid(settings.split),
        seed=find_seed(evaluation),
        control=valid(group.control) if group and group.control is not None else None,
        group_id=group.group_id if group else "",
        num_subjects=scores.num_subjects,
    )
    numbers = [number for metric in METRICS for number, _ in _numbers_of(scores, metric)]
    return [ResultRow(**vars(about), **vars(number)) for number in numbers]


def decoding_rows(evaluation: Evaluation) -> list[DecodingRow]:
    """Return one row for each feature of the record that was decoded."""
    about = {key: valid(getattr(evaluation.settings, key)) for key in ("candidate_id", "label", "cohort", "split")}
    rows = []
    for feature, decoding in evaluation.scores.decodings.items():
        numbers: dict[str, Any] = {**about, **number_fields(decoding.score)}
        rows.append(
            DecodingRow(
                eval_id=valid(evaluation.eval_id),
                feature=valid(feature),
                metric=valid(decoding.metric),
                num_films=decoding.num_films,
                num_subjects=decoding.num_subjects,
                ci_method=evaluation.scores.method_of(decoding.score),
                **numbers,
            )
        )
    return rows


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
    )
    rows = []
    for metric in METRICS:
        numbers = _numbers_of(differences, metric)
        tests: dict[str, Any] = _test(
            {number.finding: p_of_interval(each, differences.level) for number, each in numbers}
        )
        rows += [DifferenceRow(**vars(about), **vars(number), **tests[number.finding]) for number, _ in numbers]
    return rows


def seed_rows(record: GroupRecord, names: Mapping[str, str] | None = None) -> list[SeedRow]:
    """Return one row for each finding and metric of a group, then of its differences.

    `against` is as it is published; a pinned baseline has its name, where `names` by their keys are given.
    """
    settings, numbers = record.settings, record.numbers
    about: dict[str, Any] = {
        "group_id": valid(settings.group_id),
        **{key: valid(getattr(settings, key)) for key in ("label", "kind", "cohort", "split")},
        "control": None if settings.control is None else valid(settings.control),
        "seeds": ",".join(map(str, settings.seeds)),
    }
    tables = {"": numbers.scores, **numbers.differences}
    return [
        SeedRow(**about, against=valid((names or {}).get(against, against)), is_paired=scores.is_paired, **row)
        for against, scores in tables.items()
        for row in _seed_numbers(scores, is_difference=bool(against))
    ]


def _seed_numbers(scores: SeedScores, is_difference: bool) -> Iterator[dict[str, Any]]:
    for metric in METRICS:
        named = {MACRO: scores.macro, **{name_finding(name): each for name, each in scores.findings.items()}}
        means: dict[str, SeedMean] = {name: getattr(numbers, metric) for name, numbers in named.items()}
        tests = _test({name: mean.p_value if is_difference else math.nan for name, mean in means.items()})
        for finding, mean in means.items():
            values = mean.to_dict() | tests[finding]
            kept = (
                "value", "lo", "hi", "num_seeds", "sd_seeds", "se_subjects", "num_defined", "num_resamples",
                "p", "p_holm",
            )  # fmt: skip
            by_seed = ",".join(f"{value:.17g}" for value in mean.by_seed)
            row = {key: values[key] for key in kept} | {"by_seed": by_seed, "ci_method": mean.method_text}
            yield {"finding": valid(finding), "metric": metric, "mark": mean.interval.mark, **row}


def _test(p_values: Mapping[str, float]) -> dict[str, dict[str, float | None]]:
    """Return both p-values of each number of a metric, by finding."""
    adjusted = adjust_named({name: p for name, p in p_values.items() if name != MACRO})
    return {name: {"p": _or_none(p), "p_holm": _or_none(adjusted.get(name, math.nan))} for name, p in p_values.items()}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def name_finding(finding: str) -> str:
    """Return the name of a finding; one that is called as the mean must not be taken for it."""
    return f"{MACRO} (finding)" if finding == MACRO else finding


def _numbers_of(scores: Scores | Comparison, metric: Metric) -> list[tuple[_Number, Interval]]:
    """Return the numbers of a metric, that of the mean first."""
    macro: Interval = getattr(scores, f"macro_{metric}")
    nothing = {"num_pos": None, "num_pos_subjects": None, "num_neg_subjects": None}
    named: list[tuple[str, Interval, dict[str, Any]]] = [(MACRO, macro, {"num_scored": scores.num_films, **nothing})]
    for finding, score in scores.findings.items():
        counts = {key: getattr(score, key) for key in ("num_scored", *nothing)}
        named.append((name_finding(finding), getattr(score, metric), counts))
    return [
        (_Number(valid(name), metric, **number_fields(each), **counts, ci_method=scores.method_of(each)), each)
        for name, each, counts in named
    ]


def number_fields(interval: Interval) -> dict[str, Any]:
    """Return the columns of a number that a plain score has, too."""
    return {name: value for name, value in interval.to_dict().items() if name not in NOT_SHOWN}
