"""An ablation as it is compared: each arm on each cohort, and its difference to a pinned arm, by finding too.

In: contract and table of an ablation, evaluations of its runs. Out: Study. Pure.
Never: an interval of another kind than it says, or a difference of seeds that are not paired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cxrssl.dashboard.means import SeedMean, mean_over_seeds
from cxrssl.dashboard.state import RunRow
from cxrssl.records.ablation import (
    BASELINE,
    METRICS,
    AblationTable,
    ArmRow,
    DifferenceRow,
    Metric,
    Number,
)
from cxrssl.records.contract import Contract
from cxrssl.records.evaluation import Evaluation
from cxrssl.stats.resample import Interval

PAIRED, SEEDS_ONLY = "paired", "seeds"
"""A difference with an interval for other subjects and seeds, from the table; or for other seeds alone."""
OUTCOME_BADGE = "outcome"
OF_A_RUN = frozenset({"train.seed", "train.split"})  # recipe keys that runs of one arm may differ in
ByFinding = Mapping[str, Mapping[str, float]]
"""Values of seeds by finding."""


@dataclass(frozen=True)
class StudyRow:
    """An arm on a cohort."""

    arm: str
    cohort: str
    number: Interval
    seeds: Mapping[str, float]
    num_films: int
    num_subjects: int
    difference: Interval | None = None
    """To the pinned arm on the same cohort; None of that arm itself, and where there is none."""
    kind: str = ""
    """PAIRED or SEEDS_ONLY."""
    num_paired: int = 0
    """Seeds that the difference is of."""
    p_holm: float = math.nan
    """Of no difference, adjusted for all exploratory ones; nan of the primary comparison and where there is none."""
    is_primary: bool = False
    badge: str = ""
    """OUTCOME_BADGE where an outcome of the stay was an input of its runs."""


@dataclass(frozen=True)
class KeyPoint:
    """A value of a recipe key on a cohort: the metric of the arms that have it."""

    value: str
    cohort: str
    arms: tuple[str, ...]
    number: Interval
    seeds: Mapping[str, float]
    """Of several arms their mean."""
    kind: str
    """PAIRED where the interval is published, for other subjects and seeds; SEEDS_ONLY of several arms."""


@dataclass(frozen=True)
class Study:
    """An ablation."""

    names: tuple[str, ...] = ()
    """Of all ablations."""
    name: str = ""
    question: str = ""
    metric: Metric = "auroc"
    num_runs: int = 0
    num_finished: int = 0
    primary: str = ""
    min_difference: float = 0.0
    pinned: str = ""
    """An arm."""
    rows: tuple[StudyRow, ...] = ()
    findings: Mapping[tuple[str, str], ByFinding] = field(default_factory=dict)
    """By arm and cohort."""
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By arm, of the recipe keys in which arms differ."""
    is_reading: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The recipe keys in which arms differ."""
        return tuple(dict.fromkeys(key for values in self.settings.values() for key in values))

    def by_key(self, key: str) -> list[KeyPoint]:
        """Return the metric at each value of a recipe key, cohort by cohort; numbers in their order."""
        values = dict.fromkeys(self.settings[arm][key] for arm in self.arms if key in self.settings.get(arm, {}))
        points = []
        for cohort in self.cohorts:
            for value in sorted(values, key=_order_of):
                arms = [arm for arm in self.arms if self.settings.get(arm, {}).get(key) == value]
                rows = [row for row in self.rows if row.cohort == cohort and row.arm in arms]
                points += [_make_point(value, cohort, rows)] if rows else []
        return points

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.arm for row in self.rows))

    @property
    def cohorts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.cohort for row in self.rows))

    def find(self, arm: str, cohort: str) -> StudyRow | None:
        """Return the row of an arm on a cohort."""
        return next((row for row in self.rows if (row.arm, row.cohort) == (arm, cohort)), None)

    def by_finding(self, arm: str, cohort: str) -> dict[str, tuple[SeedMean, SeedMean]]:
        """Return the mean of each finding over seeds, and that of its paired differences to the pinned arm."""
        own, pinned = self.findings.get((arm, cohort), {}), self.findings.get((self.pinned, cohort), {})
        found = {}
        for finding, values in own.items():
            others = pinned.get(finding, {}) if arm != self.pinned else {}
            differences = [value - others[seed] for seed, value in values.items() if seed in others]
            found[finding] = mean_over_seeds(list(values.values())), mean_over_seeds(differences)
        return found


def _order_of(value: str) -> tuple[bool, float]:
    try:
        return False, float(value)
    except ValueError:
        return True, 0.0


def _make_point(value: str, cohort: str, rows: Sequence[StudyRow]) -> KeyPoint:
    """Return the metric of arms that share a value; of several, the mean over the seeds that all of them have."""
    arms = tuple(row.arm for row in rows)
    if len(rows) == 1:
        return KeyPoint(value, cohort, arms, rows[0].number, rows[0].seeds, PAIRED)
    shared = [seed for seed in rows[0].seeds if all(seed in row.seeds for row in rows)]
    seeds = {seed: math.fsum(row.seeds[seed] for row in rows) / len(rows) for seed in shared}
    mean, low, high, _ = mean_over_seeds(list(seeds.values()))
    return KeyPoint(value, cohort, arms, Interval(mean, low, high, 0, method="Student's t"), seeds, SEEDS_ONLY)


def _settings_of(contract: Contract, runs: Sequence[RunRow]) -> dict[str, dict[str, str]]:
    """Return the recipe of each arm, of the keys in which arms differ."""
    recipes: dict[str, dict[str, str]] = {}
    for run in runs:
        if run.run_id in contract.runs:
            own = {key: value for key, value in run.recipe.items() if key not in OF_A_RUN}
            recipes.setdefault(contract.runs[run.run_id].arm, own)
    keys = dict.fromkeys(key for recipe in recipes.values() for key in recipe)
    differing = [key for key in keys if len({recipe.get(key) for recipe in recipes.values()}) > 1]
    return {arm: {key: recipe.get(key, "(none)") for key in differing} for arm, recipe in recipes.items()}


def make_study(
    names: Sequence[str],
    name: str,
    contract: Contract,
    table: AblationTable | None,
    runs: Sequence[RunRow],
    evaluations: Sequence[Evaluation],
    pinned: str = "",
    metric: str = "",
) -> Study:
    """Return an ablation; without a metric in that of its primary comparison, without a pinned arm its baseline."""
    finished = sum(run.state == "finished" and run.run_id in contract.runs for run in runs)
    known = Study(tuple(names), name, num_runs=len(contract.runs), num_finished=finished)
    if table is None:
        return known
    chosen: Metric = next((each for each in METRICS if each == metric), table.metric)
    arms = list(dict.fromkeys(row.arm for row in table.rows.values()))
    pinned = pinned if pinned in arms else _baseline(table, arms)
    badges = _badges(contract, runs)
    adjusted = table.adjust(chosen)
    rows = tuple(_make_row(row, table, chosen, pinned, adjusted, badges) for row in table.rows.values())
    return Study(
        tuple(names),
        name,
        table.question,
        chosen,
        len(contract.runs),
        finished,
        table.describe_primary(),
        table.min_difference,
        pinned,
        rows,
        _find_findings(contract, table, evaluations, chosen),
        tuple(table.list_notes()),
        _settings_of(contract, runs),
    )


def _baseline(table: AblationTable, arms: Sequence[str]) -> str:
    """Return the arm that others are compared with: the baseline, else that of the primary comparison."""
    against = [row.against for row in table.differences.values() if row.why == BASELINE]
    against += [table.primary.against] if table.primary else []
    return next((arm for arm in against if arm in arms), arms[0] if arms else "")


def _badges(contract: Contract, runs: Sequence[RunRow]) -> dict[str, str]:
    used = {run.run_id for run in runs if run.is_outcome_used is not False}
    return {facts.arm: OUTCOME_BADGE for run_id, facts in contract.runs.items() if run_id in used}


def _make_row(
    row: ArmRow,
    table: AblationTable,
    metric: Metric,
    pinned: str,
    adjusted: Mapping[str, float],
    badges: Mapping[str, str],
) -> StudyRow:
    number: Number = getattr(row, metric)
    place, found, sign = _find_difference(table, row, pinned)
    difference, kind, num_paired = None, "", 0
    if found is not None:
        published: Number = getattr(found, metric)
        difference, kind, num_paired = _signed(published.interval, sign), PAIRED, len(published.by_seed)
    elif row.arm != pinned:
        difference, num_paired = _pair_seeds(table, row, pinned, metric)
        kind = SEEDS_ONLY if difference is not None else ""
    return StudyRow(
        row.arm,
        row.cohort,
        number.interval,
        number.by_seed,
        row.num_films,
        row.num_subjects,
        difference,
        kind,
        num_paired,
        adjusted.get(place, math.nan),
        found is not None and found is table.primary and metric == table.metric,
        badges.get(row.arm, ""),
    )


def _find_difference(table: AblationTable, row: ArmRow, pinned: str) -> tuple[str, DifferenceRow | None, int]:
    """Return the published difference of an arm to the pinned one, the primary first, and with which sign."""
    for place, each in table.differences.items():
        if each.cohort == row.cohort and (each.arm, each.against) == (row.arm, pinned):
            return place, each, 1
        if each.cohort == row.cohort and (each.against, each.arm) == (row.arm, pinned):
            return place, each, -1
    return "", None, 1


def _signed(interval: Interval, sign: int) -> Interval:
    if sign > 0:
        return interval
    counts = interval.num_defined, interval.num_resamples, interval.num_rarer, interval.method
    return Interval(-interval.value, -interval.hi, -interval.lo, *counts)


def _pair_seeds(table: AblationTable, row: ArmRow, pinned: str, metric: Metric) -> tuple[Interval | None, int]:
    """Return the mean difference of seeds that both arms have, with an interval for other seeds alone."""
    other = next((each for each in table.rows.values() if (each.arm, each.cohort) == (pinned, row.cohort)), None)
    if other is None:
        return None, 0
    mine: Number = getattr(row, metric)
    theirs: Number = getattr(other, metric)
    shared = [seed for seed in mine.by_seed if seed in theirs.by_seed]
    value, low, high, num = mean_over_seeds([mine.by_seed[seed] - theirs.by_seed[seed] for seed in shared])
    return (Interval(value, low, high, 0, method="Student's t"), num) if num else (None, 0)


def _find_findings(
    contract: Contract, table: AblationTable, evaluations: Sequence[Evaluation], metric: Metric
) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """Return the values of each finding by arm, cohort and seed, from the evaluations that the table was made of."""
    numbers = {(row.arm, row.cohort): row.auroc.by_seed for row in table.rows.values()}
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for each in evaluations:
        facts = contract.runs.get(each.settings.candidate_id)
        if facts is None or facts.cohort != each.settings.cohort or not each.settings.probe.is_whole:
            continue
        place, seed = (facts.arm, facts.cohort), str(facts.seed)
        if not math.isclose(numbers.get(place, {}).get(seed, math.nan), each.scores.macro_auroc.value, abs_tol=1e-9):
            continue  # of another protocol
        for finding, score in each.scores.findings.items():
            value = getattr(score, metric).value
            if math.isfinite(value):
                found.setdefault(place, {}).setdefault(finding, {})[seed] = value
    return {
        place: {
            finding: {seed: values[seed] for seed in table.seeds if seed in values}
            for finding, values in by_finding.items()
        }
        for place, by_finding in found.items()
    }
