"""Scores without what rests on few subjects, as they may leave the hospital.

In: scores, comparisons, means over seeds. Out: the same with small cells out. Never: a count of 1 to 9 people, a score
that rests on so few, or digits from which either could be computed.
Source: the cell size policy of the US Centers for Medicare & Medicaid Services; see `report.small`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from cxrssl.core.durable import hash_settings
from cxrssl.records.encoder import EncoderOrigin
from cxrssl.records.members import Member
from cxrssl.records.run import RunDescription
from cxrssl.records.scores import FEATURES_ON_RECORD, Decoding, EvalScores
from cxrssl.stats.resample import Interval
from cxrssl.stats.scores import Comparison, FindingScore
from cxrssl.stats.seeds import SeedMean, SeedNumbers, SeedScores

CONDITION = "(a condition, which stays inside)"
SMALL, DIGITS = 10, 3
"""Counts below are small; where one is hidden, scores keep as many digits as a report prints."""
TENS = frozenset({
    "num_films", "num_subjects", "num_scored", "num_ignored", "num_pos", "num_pos_subjects", "num_neg_subjects",
    "num_rarer", "num_not_packed", "num_twins_left_out", "num_without_sex", "num_left_out",
    "num_train_subjects", "train_pos_subjects", "num_shared_patients", "num_outside_where",
})  # fmt: skip
"""Counts of films and subjects."""
RECORDS = (EvalScores, Comparison, FindingScore, Decoding, SeedScores, SeedNumbers, RunDescription, Member)
Record = TypeVar("Record")
Table = TypeVar("Table", EvalScores, Comparison)


@dataclass(frozen=True)
class Cut:
    """What had to go from an evaluation."""

    hidden: tuple[str, ...] = ()
    """Findings that rest on few subjects."""
    features: tuple[str, ...] = ()
    """What was decoded of the record for few subjects."""
    is_coarse: bool = False
    """Whether counts are rounded down to tens, and scores to three digits, since the exact ones would tell more."""


def is_small(num: int | None) -> bool:
    """Return whether a count is one to nine; of a count that was not recorded nobody knows."""
    return num is None or 0 < num < SMALL


def find_cut(scores: EvalScores) -> Cut:
    """Return what has to go from the scores of an evaluation."""
    hidden = _few_findings(scores.findings)
    few = [name for name, each in scores.decoded.items() if _is_few(each)]
    few += [FEATURES_ON_RECORD] if scores.record_r2 and _is_few(scores.record_r2) else []
    kept = [score for name, score in scores.findings.items() if name not in hidden]
    counts = [scores.num_films, scores.num_subjects, scores.num_not_packed, *scores.num_twins_left_out.values()]
    counts += [*scores.num_left_out.values(), scores.num_train_subjects, *scores.train_pos_subjects.values()]
    counts += [num for score in kept for num in _count_apart(score, scores.num_subjects)]
    counts += [score.num_ignored for score in kept] + [score.num_scored - score.num_pos for score in kept]
    counts += [scores.num_films - each.num_films for each in scores.decodings.values()]
    return Cut(hidden, tuple(few), bool(hidden or few) or any(map(is_small, counts)))


def cut_scores(scores: EvalScores, cut: Cut) -> EvalScores:
    """Return the scores of an evaluation without what has to go."""
    r2 = None if FEATURES_ON_RECORD in cut.features else scores.record_r2
    decoded = {name: each for name, each in scores.decoded.items() if name not in cut.features}
    return _coarsen(dataclasses.replace(_keep(scores, cut), decoded=decoded, record_r2=r2), cut)


def cut_comparison(comparison: Comparison, cuts: Iterable[Cut]) -> Comparison:
    """Return a comparison without what has to go from the two evaluations."""
    hidden = tuple(name for cut in cuts for name in cut.hidden) + _few_findings(comparison.findings)
    cut = Cut(hidden, is_coarse=bool(hidden) or any(each.is_coarse for each in cuts))
    return _coarsen(_keep(comparison, cut), cut)


def cut_means(scores: SeedScores, cuts: Collection[Cut]) -> SeedScores:
    """Return means over seeds without what has to go from the evaluations that they are of."""
    hidden = {name for cut in cuts for name in cut.hidden}
    hidden |= {name for name, each in scores.findings.items() if is_small(each.auroc.num_rarer)}
    findings = {name: each for name, each in scores.findings.items() if name not in hidden}
    kept = dataclasses.replace(scores, findings=findings)
    return _coarsen(kept, Cut(is_coarse=bool(hidden) or any(cut.is_coarse for cut in cuts)))


def cut_description(run: RunDescription, conditions: Sequence[str] = ()) -> RunDescription:
    """Return what a run is, without the words of its record, and with its counts in tens where one is small.

    Nor with those of a condition on its films, which may name anybody: its place among `conditions` tells it from
    others. The hash of the recipe goes with it, as few words that give it could be guessed.
    """
    counts = [run.num_films, run.num_twins_left_out, run.num_without_sex]
    counts += [run.num_shared_patients or 0, run.num_outside_where or 0]
    counts += [num for each in run.members or () for num in (each.num_films, each.num_left_out)]
    run = _coarsen(dataclasses.replace(run, ehr_columns=()), Cut(is_coarse=any(map(is_small, counts))))
    if not run.where:
        return run
    shown = name_condition(conditions.index(run.where))
    recipe = {**run.recipe, "data": {**run.recipe["data"], "where": shown}}
    return dataclasses.replace(run, recipe=recipe, recipe_sha256=hash_settings(recipe))


def name_condition(place: int) -> str:
    """Return what replaces a condition in an archive: its place among those of the archive, from 0 on."""
    return CONDITION.replace("a condition", f"condition {place + 1}")


def cut_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe without the words of a condition on films, which may name anybody."""
    data = recipe.get("data", {})
    return {**recipe, "data": {**data, "where": CONDITION}} if data.get("where") else dict(recipe)


def cut_origin(origin: EncoderOrigin, recipe: Mapping[str, Any]) -> EncoderOrigin:
    """Return where an encoder is from, with counts in tens where one is small; see `cut_description` for the hash."""
    members = origin.members or ()
    cut = Cut(is_coarse=any(is_small(num) for each in members for num in (each.num_films, each.num_left_out)))
    coarse = tuple(_coarsen(each, cut) for each in members) or None
    sha256 = hash_settings(cut_recipe(recipe)) if recipe.get("data", {}).get("where") else origin.recipe_sha256
    return dataclasses.replace(origin, members=coarse, recipe_sha256=sha256)


def _few_findings(findings: Mapping[str, FindingScore]) -> tuple[str, ...]:
    return tuple(
        name for name, each in findings.items() if is_small(each.num_pos_subjects) or is_small(each.num_neg_subjects)
    )


def _count_apart(score: FindingScore, num_subjects: int) -> list[int]:
    """Return how many people have no film with a finding, none without it, and films of both kinds."""
    pos, neg = score.num_pos_subjects or 0, score.num_neg_subjects or 0
    return [num_subjects - pos, num_subjects - neg, pos + neg - num_subjects]


def _is_few(decoding: Decoding) -> bool:
    rarer = decoding.score.num_rarer
    return is_small(decoding.num_subjects) or (rarer is not None and 0 < rarer < SMALL)


def _keep(table: Table, cut: Cut) -> Table:
    findings = {name: score for name, score in table.findings.items() if name not in cut.hidden}
    return dataclasses.replace(table, findings=findings)


def _coarsen(record: Record, cut: Cut) -> Record:
    """Return a record, if need be with counts of people rounded down to tens and scores to three digits."""
    return cast(Record, _coarse(record)) if cut.is_coarse else record


def _coarse(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _coarse(each) for name, each in value.items()}
    if isinstance(value, tuple) and any(isinstance(each, Member) for each in value):
        return tuple(_coarse(each) for each in value)
    if isinstance(value, Interval | SeedMean):
        value = _round(value)
    elif not isinstance(value, RECORDS):
        return value
    changes = {}
    for field in dataclasses.fields(value):
        each = getattr(value, field.name)
        changes[field.name] = _to_tens(each) if field.name in TENS else _coarse(each)
    return dataclasses.replace(value, **changes)


def _to_tens(value: Any) -> Any:
    """Return a count rounded down, so that one of 10 or more stays so, and those that differ by 10 still differ."""
    if isinstance(value, Mapping):
        return {name: _to_tens(each) for name, each in value.items()}
    return None if value is None else value // SMALL * SMALL


def _round(mean: Any) -> Any:
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(mean):
        value = getattr(mean, field.name)
        if isinstance(value, float) and field.name != "level":
            changes[field.name] = round(value, DIGITS)
        elif isinstance(value, tuple):
            changes[field.name] = tuple(round(each, DIGITS) for each in value)
    return dataclasses.replace(mean, **changes)
