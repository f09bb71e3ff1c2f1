"""How a user looks at a workspace: sorted by what, which columns, what is marked. Remembered from one time to the next.

In: rows of runs and a View. Out: the rows in order, groups of runs that differ in the seed alone. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cxrssl.dashboard.means import SeedMean, mean_over_seeds
from cxrssl.dashboard.smooth import DEFAULT_STRENGTH
from cxrssl.dashboard.state import GroupRow, RunRow
from cxrssl.records.fields import read_fields, write_fields

Value = str | float | bool | None | tuple[str, ...]
FIXED = (
    "run", "state", "steps", "left", "last", "best", "smoothed", "trend", "AUROC", "films/s", "EHR", "seed",
    "tags", "note", "objective", "backbone", "cohort", "split", "films", "device", "started",
)  # fmt: skip
"""Columns of the run table that every run has; a recipe key is one too."""
USUAL = ("run", "state", "steps", "left", "last", "best", "trend", "AUROC", "films/s", "EHR", "seed")
SEED_KEY = "train.seed"


@dataclass(frozen=True)
class View:
    """What the user has chosen."""

    columns: tuple[str, ...] = USUAL
    sort: str = "started"
    is_descending: bool = True
    filter: str = ""
    is_grouped: bool = False
    group_key: str = ""
    """The recipe key whose values runs are united by; "" unites those that differ in the seed alone."""
    metric: str = "loss"
    marked: tuple[str, ...] = ()
    """Runs."""
    pinned: str = ""
    """The run that others are compared with."""
    grid: tuple[str, ...] = ()
    """Metrics of the curves, beside the chosen one."""
    x_axis: str = "step"
    is_log: bool = False
    smoothing: float = DEFAULT_STRENGTH
    study: str = ""
    """The ablation that is shown."""
    pinned_arm: str = ""
    study_metric: str = ""
    cohort: str = ""
    """The one that is shown."""
    theme: str = ""
    queries: tuple[str, ...] = ()
    """Saved, "name: SQL"."""

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)

    @classmethod
    def from_dict(cls, values: Any) -> View:
        """Return what can be used of a saved view; the rest is as at first."""
        faults: list[str] = []
        if not isinstance(values, dict):
            return cls()
        known = {name: value for name, value in values.items() if not _faults_of(cls, {name: value})}
        return read_fields(cls, known, faults)


def _faults_of(cls: type[View], values: dict[str, Any]) -> list[str]:
    faults: list[str] = []
    read_fields(cls, values, faults)
    return faults


def sort_runs(runs: Sequence[RunRow], view: View) -> tuple[RunRow, ...]:
    """Return runs by the column that the view sorts by; those without a value are last in either direction."""
    keyed = [(_sort_key(sort_value(run, view.sort, view.metric)), run) for run in runs]
    known = [(key, run) for key, run in keyed if key is not None]
    known.sort(key=lambda pair: pair[0], reverse=view.is_descending)
    return tuple([run for _, run in known] + [run for key, run in keyed if key is None])


def _sort_key(value: Value) -> tuple[Any, ...] | None:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        try:
            return 0, float(value), ""
        except ValueError:
            return 1, 0.0, value.casefold()
    return (0, float(value), "") if isinstance(value, bool | int | float) else (1, 0.0, ", ".join(value))


def sort_value(run: RunRow, column: str, metric: str) -> Value:
    """Return what a column sorts by."""
    measure = run.measures.get(metric)
    own: dict[str, Callable[[], Value]] = {
        "run": lambda: run.run_id,
        "state": lambda: run.state,
        "steps": lambda: run.frac if run.num_steps else float(run.step),
        "left": lambda: run.left_s,
        "last": lambda: last_of(run, metric),
        "best": lambda: measure.best(metric) if measure else math.nan,
        "smoothed": lambda: measure.smoothed if measure else math.nan,
        "trend": lambda: run.trend[-1] - run.trend[0] if run.trend else math.nan,
        "AUROC": lambda: run.macro_auroc,
        "films/s": lambda: run.films_per_s,
        "EHR": lambda: ", ".join(run.ehr),
        "seed": lambda: run.seed,
        "objective": lambda: run.objective,
        "tags": lambda: run.tags,
        "note": lambda: run.note,
        "backbone": lambda: run.backbone,
        "cohort": lambda: run.cohort,
        "split": lambda: run.split,
        "films": lambda: float(run.num_films),
        "device": lambda: run.device,
        "started": lambda: run.started_at,
    }
    if column in own:
        return own[column]()
    if column in run.recipe:
        return run.recipe[column]
    name, _, of = column.partition(".")
    if name == "best" and of in run.measures:
        return run.measures[of].best(of)
    return run.measures[column].last if column in run.measures else None


def last_of(run: RunRow, metric: str) -> float:
    """Return the value of a metric when it was last logged; nan when it never was."""
    if metric == "loss" and run.loss is not None:
        return run.loss
    measure = run.measures.get(metric)
    return measure.last if measure else math.nan


def is_sortable(column: str, runs: Sequence[RunRow]) -> bool:
    """Return whether runs can be sorted by this name."""
    known = {*FIXED, *(key for run in runs for key in (*run.recipe, *run.measures))}
    return column in known or (column.startswith("best.") and column[5:] in known)


def differing_keys(runs: Sequence[RunRow]) -> tuple[str, ...]:
    """Return the recipe keys of which runs have different values, in the order of the recipe."""
    keys = dict.fromkeys(key for run in runs for key in run.recipe)
    return tuple(key for key in keys if len({run.recipe.get(key) for run in runs}) > 1)


def group_runs(runs: Sequence[RunRow], metric: str, key: str = "") -> tuple[GroupRow, ...]:
    """Return runs as groups, in the order of their first runs: those that differ in nothing but the seed.

    With a recipe key, those that have the same value of it, whatever else they differ in.
    """
    alike: dict[tuple[Any, ...], list[RunRow]] = {}
    for run in runs:
        recipe = tuple(sorted((name, value) for name, value in run.recipe.items() if name != SEED_KEY))
        same = (run.recipe.get(key),) if key else (recipe, run.cohort, run.split, run.num_films)
        alike.setdefault(same, []).append(run)
    return tuple(_make_group(members, metric) for members in alike.values())


def _make_group(runs: list[RunRow], metric: str) -> GroupRow:
    """Return a group; several runs of one seed count as one seed, with their mean."""
    by_seed: dict[str, list[RunRow]] = {}
    for run in runs:
        by_seed.setdefault(run.seed or run.run_id, []).append(run)

    def mean_of(value: Callable[[RunRow], float]) -> SeedMean:
        return mean_over_seeds([mean_over_seeds([value(run) for run in same])[0] for same in by_seed.values()])

    def best_of(run: RunRow) -> float:
        measure = run.measures.get(metric)
        return measure.best(metric) if measure else math.nan

    return GroupRow(
        tuple(run.run_id for run in runs),
        tuple(sorted({run.seed for run in runs}, key=lambda seed: (len(seed), seed))),
        mean_of(lambda run: last_of(run, metric)),
        mean_of(best_of),
        mean_of(lambda run: run.macro_auroc),
    )
