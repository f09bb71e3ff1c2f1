"""The table that an ablation ends in: every arm, every arm minus its baseline and its controls, the primary first.

In: the evaluations of the runs that are done. Out: AblationTable. No torch.
Never: a difference of arms that have not the same seeds, or one that was not declared called primary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from cxrssl.ablate.grid import Grid
from cxrssl.ablate.row import Row
from cxrssl.core.errors import DataError
from cxrssl.evaluate.groups import Resamples, SeedGroup, SeedScores, compare_groups, score_group
from cxrssl.records.ablation import (
    BASELINE,
    CONTROL,
    PRIMARY,
    UNTRAINED,
    AblationTable,
    ArmRow,
    DifferenceRow,
    Metric,
    Number,
    place_name,
)
from cxrssl.records.evaluation import Evaluation
from cxrssl.stats.seeds import SeedMean

Found = Mapping[tuple[str, int], Evaluation]
"""By the name of a row and the seed."""
NOT_DEFINED = Number(math.nan, math.nan, math.nan, math.nan, {})


def make_table(grid: Grid, cohorts: Mapping[str, str], found: Found, untrained: Found | None = None) -> AblationTable:
    """Return the table of the runs that were found done; `cohorts` are those of the rows, by their names.

    `untrained` are the encoders of the baseline's rows before their first step.

    Raises: DataError when two evaluations of a cohort were not made on the same films and labels, or not in one way.
    """
    groups = {row.name: _group(row, found) for row in grid.rows}
    _check_terms([group for group in groups.values() if group is not None], cohorts)
    resamples = Resamples()
    starts = _starts_of(grid, untrained or {})
    rows = [_make_row(row, cohorts[row.name], groups[row.name], resamples) for row in grid.rows]
    rows += [_make_row(start, cohorts[row.name], group, resamples) for row, start, group in starts]
    differences = [
        DifferenceRow(row.arm, against.arm, cohorts[row.name], why, *_numbers(a, compare_groups(a, b, resamples)))
        for row, against, why in list_differences(grid)
        if (a := groups[row.name]) and (b := groups[against.name]) and a.seeds == b.seeds == tuple(sorted(row.seeds))
    ]
    differences += [
        DifferenceRow(row.arm, start.arm, cohorts[row.name], UNTRAINED, *_numbers(a, compare_groups(a, b, resamples)))
        for row, start, b in starts
        if (a := groups[row.name]) and a.seeds == b.seeds == tuple(sorted(row.seeds))
    ]
    settings = grid.settings
    return AblationTable(
        question=settings.question,
        metric=cast(Metric, settings.primary.metric),
        min_difference=settings.min_difference,
        seeds=tuple(str(seed) for seed in settings.seeds),
        rows={place_name(place): row for place, row in enumerate(rows)},
        differences={place_name(place): difference for place, difference in enumerate(differences)},
        remarks=_remarks([group for group in groups.values() if group is not None]),
        missing=tuple(
            f"{row.name}, seed {seed}" for row in grid.rows for seed in row.seeds if (row.name, seed) not in found
        ),
    )


def list_differences(grid: Grid) -> Iterator[tuple[Row, Row, str]]:
    """Yield what is compared: the primary comparison, then every row with its baseline and its controls."""
    primary = grid.primary
    yield (*primary, PRIMARY)
    for row in grid.rows:
        baseline = grid.baseline_of(row)
        others = [(baseline, BASELINE)] if baseline else []
        others += [(control, CONTROL) for control in grid.controls_of(row) if control is not baseline]
        yield from ((row, other, why) for other, why in others if (row, other) != primary)


def _group(row: Row, found: Found) -> SeedGroup | None:
    """Return the evaluations of a row; None while none of its runs is done."""
    seeds = tuple(seed for seed in sorted(row.seeds) if (row.name, seed) in found)
    return SeedGroup(row.name, tuple(found[row.name, seed] for seed in seeds), seeds) if seeds else None


def _starts_of(grid: Grid, untrained: Found) -> list[tuple[Row, Row, SeedGroup]]:
    """Return each row of the baseline with that of its untrained encoders; encoders of two such rows count once."""
    starts, seen = [], set()
    for row in grid.rows:
        group = _group(row, untrained)
        ids = tuple(each.eval_id for each in group.evaluations) if group else ()
        if group and row.base == grid.settings.baseline and ids not in seen:
            seen.add(ids)
            starts.append((row, replace(row, arm=UNTRAINED + row.arm.removeprefix(row.base)), group))
    return starts


def _remarks(groups: Sequence[SeedGroup]) -> tuple[str, ...]:
    """Return what a reader must know beside the numbers, in sentences."""
    settings = [each.settings for group in groups for each in group.evaluations]
    folds = dict.fromkeys(f"{each.probe.folds} folds of cohort {each.cohort}" for each in settings if each.probe.folds)
    said = [f"every film is scored by a probe of the other folds: {', '.join(folds)}"] if folds else []
    # Without numbers: a table may be shared, and these count people.
    for group in groups:
        if any(each.settings.transductive for each in group.evaluations):
            said.append(
                f"{group.group_id} is transductive: pretraining saw films that are scored, without their labels"
            )
        if any(each.settings.leak for each in group.evaluations):
            said.append(f"{group.group_id} is no fair test: its evaluation names a leak")
    return tuple(said)


def _check_terms(groups: Sequence[SeedGroup], cohorts: Mapping[str, str]) -> None:
    first: dict[str, Evaluation] = {}
    for group in groups:
        for each in group.evaluations:
            other = first.setdefault(cohorts[group.group_id], each)
            if other.settings.terms != each.settings.terms:
                what = "these evaluations were not made on the same films and labels in the same way"
                raise DataError(what, f"{other.eval_id}, {each.eval_id}", "probe both runs again")


def _make_row(row: Row, cohort: str, group: SeedGroup | None, resamples: Resamples) -> ArmRow:
    if group is None:
        return ArmRow(row.arm, cohort, 0, NOT_DEFINED, NOT_DEFINED, 0, 0)
    scores = group.evaluations[0].scores
    auroc, auprc = _numbers(group, score_group(group, resamples))
    return ArmRow(row.arm, cohort, group.num_seeds, auroc, auprc, scores.num_films, scores.num_subjects)


def _numbers(group: SeedGroup, scores: SeedScores) -> tuple[Number, Number]:
    return _to_number(scores.macro.auroc, group.seeds), _to_number(scores.macro.auprc, group.seeds)


def _to_number(mean: SeedMean, seeds: Sequence[int]) -> Number:
    by_seed = {str(seed): value for seed, value in zip(seeds, mean.by_seed, strict=True)}
    counts = mean.num_defined, mean.num_resamples, mean.num_rarer
    return Number(mean.value, mean.lo, mean.hi, mean.sd_seeds, by_seed, *counts, freedom=mean.freedom)
