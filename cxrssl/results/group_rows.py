"""Scores of alike films and of groups of people, one number a row, as the store holds them.

In: published evaluations. Out: frozen rows, "macro" first; what is not defined is None. Small counts and groups are in
them, as in every table of the store, which is its owner's own; a report leaves them out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import valid
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.subgroups import Subgroup
from cxrssl.results.rows import MACRO, name_finding, number_fields
from cxrssl.stats.resample import Interval

COUNTS = ("num_films", "num_subjects", "num_pos_subjects", "num_neg_subjects")


@dataclass(frozen=True)
class _Scored:
    eval_id: str
    candidate_id: str
    kind: str
    label: str
    cohort: str
    split: str
    finding: str
    value: float | None
    lo: float | None
    hi: float | None
    mark: str
    num_defined: int
    num_resamples: int
    ci_method: str


@dataclass(frozen=True)
class MatchedRow(_Scored):
    """AUROC of a finding over pairs of films that are alike."""

    matched_on: str
    """Features of the record, joined by +."""
    is_vacuous: bool | None
    """Whether too few pairs are alike for a number; None of the mean."""
    share_pairs: float | None
    """Of all pairs, those of films alike."""
    kept_of_expected: float | None
    """share_pairs in that of a finding that has nothing to do with what is matched on."""


@dataclass(frozen=True)
class SubgroupRow(_Scored):
    """AUROC of a finding in a group, or minus that in the rest."""

    attribute: str
    subgroup: str
    metric: str
    """auroc, or gap."""
    num_films: int
    num_subjects: int
    num_pos_subjects: int | None
    num_neg_subjects: int | None


def matched_rows(evaluation: Evaluation) -> list[MatchedRow]:
    """Return one row for the mean and for each finding; none where nothing was matched."""
    scores, rows = evaluation.scores, []
    matched_on = valid("+".join(scores.matched_on))
    if scores.macro_matched is not None:
        shares: dict[str, Any] = dict.fromkeys(("is_vacuous", "share_pairs", "kept_of_expected"))
        rows.append(MatchedRow(**_score(evaluation, MACRO, scores.macro_matched), matched_on=matched_on, **shares))
    for finding, each in scores.matched.items():
        shares = {name: _or_none(getattr(each, name)) for name in ("share_pairs", "kept_of_expected")}
        number = _score(evaluation, name_finding(finding), each.auroc)
        rows.append(MatchedRow(**number, matched_on=matched_on, is_vacuous=each.is_vacuous, **shares))
    return rows


def subgroup_rows(evaluation: Evaluation) -> Iterator[SubgroupRow]:
    """Yield AUROC and gap of each group: of the mean, then of each finding."""
    groups: tuple[Subgroup, ...] = ()
    with suppress(IntegrityError):  # of a version that writes them in another way
        groups = evaluation.subgroups()
    for each in groups:
        for place, score in enumerate(each.scores):
            finding = name_finding(score.finding) if place else MACRO
            counts = {key: getattr(score, key) for key in COUNTS}
            for metric, interval in (("auroc", score.auroc), ("gap", score.gap)):
                number = _score(evaluation, finding, interval)
                about = {"attribute": valid(each.attribute), "subgroup": valid(each.group), "metric": metric}
                yield SubgroupRow(**number | about | counts)


def _score(evaluation: Evaluation, finding: str, interval: Interval) -> dict[str, Any]:
    about = ("candidate_id", "kind", "label", "cohort", "split")
    return {
        "eval_id": valid(evaluation.eval_id),
        **{key: valid(getattr(evaluation.settings, key)) for key in about},
        "finding": valid(finding),
        **number_fields(interval),
        "ci_method": evaluation.scores.method_of(interval),
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
