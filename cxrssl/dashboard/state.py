"""What the dashboard shows, as frozen values that a test can build by hand, and what follows from them alone.

Never: a look at a file (reader.py does that), or text that is ready for a terminal (cells.py does that).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cxrssl.dashboard.means import SeedMean
from cxrssl.records.curve import Curve
from cxrssl.records.eval_settings import kind_rank
from cxrssl.results.filter import Row, parse_filter
from cxrssl.stats.resample import Interval

T = TypeVar("T")
STATES = ("running", "stopped", "died", "failed", "finished", "unseen")


@dataclass(frozen=True)
class Measure:
    """One metric of a run in four numbers; nan where it was never finite."""

    step: int
    """At which it was last logged."""
    last: float
    smoothed: float
    """At its end: the mean over the last part of the curve, as the curve's own smoothing has it."""
    lowest: float
    highest: float

    def best(self, metric: str) -> float:
        """Return the best value; nan for a metric of which neither high nor low is better."""
        better = which_is_better(metric)
        return math.nan if not better else self.highest if better == "higher" else self.lowest


@dataclass(frozen=True)
class RunRow:
    """A run."""

    run_id: str
    state: str
    step: int = 0
    """Steps done."""
    num_steps: int = 0
    """0 when run.json lacks it."""
    left_s: float = math.nan
    loss: float | None = None
    """None before the first record; nan when that is what was logged."""
    films_per_s: float = math.nan
    ehr: tuple[str, ...] = ()
    seed: str = ""
    macro_auroc: float = math.nan
    macro_mark: str = ""
    """Why its interval must not be relied on; empty where it may."""
    started_at: float | None = None
    logged_at: float | None = None
    is_outcome_used: bool | None = False
    """None when a feature is not known to this version."""
    cohort: str = ""
    dataset: str = ""
    split: str = ""
    num_films: int = 0
    backbone: str = ""
    device: str = ""
    trouble: str = ""
    """The last guard, failure or damage that was logged."""
    alarm: str = ""
    """The last alarm since the run was last started."""
    imported: str = ""
    """From which archive it is, in words; empty for what was trained here."""
    objective: str = ""
    recipe: Mapping[str, str] = field(default_factory=dict)
    """Every setting as "section.name", its value as text."""
    measures: Mapping[str, Measure] = field(default_factory=dict)
    """By metric; empty until its journals are read."""
    fields: Row = field(default_factory=dict, compare=False)
    """What a filter can ask, as `cxrssl runs list` has it."""
    tags: tuple[str, ...] = ()
    note: str = ""
    trend: tuple[float, ...] = ()
    """The chosen metric over the whole run in few values, nan where none was logged."""
    members: tuple[tuple[str, str], ...] = ()
    """Cohort and split of each, where the run is on several cohorts."""

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """The cohorts that it is pretrained on, one or several, each with its split."""
        return self.members or ((self.cohort, self.split),)

    @property
    def frac(self) -> float:
        return min(self.step / self.num_steps, 1.0) if self.num_steps else math.nan


@dataclass(frozen=True)
class GroupRow:
    """Runs that differ in nothing but the seed."""

    run_ids: tuple[str, ...]
    seeds: tuple[str, ...]
    last: SeedMean
    """Of the chosen metric, as is `best`."""
    best: SeedMean
    auroc: SeedMean
    """Of the macro AUROC of each run's own probe."""


@dataclass(frozen=True)
class FindingRow:
    """One finding of a probe."""

    finding: str
    auroc: Interval
    auprc: Interval
    num_pos: int
    num_scored: int


@dataclass(frozen=True)
class ProbeRow:
    """One evaluation of one candidate."""

    eval_id: str
    candidate_id: str
    kind: str
    label: str
    cohort: str
    split: str
    auroc: Interval
    """Macro mean, as is `auprc`."""
    auprc: Interval
    num_films: int
    num_subjects: int = 0
    is_outcome_used: bool = False
    findings: tuple[FindingRow, ...] = ()
    terms: str = ""
    """Equal for evaluations on the same films with the same probe settings."""
    method: str = ""
    """How the intervals were made."""
    imported: str = ""
    """From which archive it is, in words."""
    is_whole: bool = True
    """Whether it is of all findings and all films."""
    folds: int = 0
    """That score every film; 0 where test films are scored."""


@dataclass(frozen=True)
class AblationRow:
    """An ablation."""

    name: str
    run_ids: tuple[str, ...]
    num_finished: int
    """Of its runs."""
    primary: str = "no table yet"
    """Its primary comparison in words."""
    difference: Interval | None = None
    """Of the primary comparison; None while it is not made."""


@dataclass(frozen=True)
class DashboardState:
    """Everything on the screen at one moment."""

    root: str
    runs: tuple[RunRow, ...] = ()
    """The one that started last first."""
    probes: tuple[ProbeRow, ...] = ()
    ablations: tuple[AblationRow, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be read."""
    read_frac: float = 1.0
    """How much of all journals has been read."""
    metrics: tuple[str, ...] = ()
    """Of the focused run."""
    curve: Curve | None = field(default=None, compare=False)
    """Of the focused run."""
    latest: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Step and value of each metric of the focused run when it was last logged."""
    is_reading: bool = False
    """Whether journals are not read to their end yet."""

    def find_run(self, run_id: str) -> RunRow | None:
        """Return the run of this id."""
        return next((run for run in self.runs if run.run_id == run_id), None)

    def ablations_of(self, run: RunRow) -> tuple[AblationRow, ...]:
        """Return the ablations that a run belongs to."""
        return tuple(each for each in self.ablations if run.run_id in each.run_ids)

    def curve_of(self, run: RunRow, metric: str) -> Curve | None:
        """Return the curve if it belongs to this run and metric."""
        return self.curve if self._is_of(run) and self.curve and self.curve.metric == metric else None

    def latest_of(self, run: RunRow) -> Mapping[str, tuple[int, float]]:
        """Return what was last logged if this run logged it."""
        return self.latest if self._is_of(run) else {}

    def _is_of(self, run: RunRow) -> bool:
        return self.curve is not None and self.curve.run_id == run.run_id


@dataclass(frozen=True)
class CurvesState:
    """Curves of some runs."""

    runs: tuple[RunRow, ...] = ()
    """Those that are drawn, in the order of their letters."""
    pinned: RunRow | None = None
    num_marked: int = 0
    metrics: tuple[str, ...] = ()
    """That any of them has logged."""
    curves: Mapping[tuple[str, str], Curve] = field(default_factory=dict)
    """By run and metric."""
    is_reading: bool = False

    def curves_of(self, metric: str) -> dict[int, Curve]:
        """Return the curves of a metric by the place of their run; a run that did not log it is left out."""
        found = {at: self.curves.get((run.run_id, metric)) for at, run in enumerate(self.runs)}
        return {at: curve for at, curve in found.items() if curve is not None}


def which_is_better(metric: str) -> str:
    """Return "higher", "lower", or "" for a metric of which neither is better."""
    if any(part in metric for part in ("auroc", "auprc", "accuracy", "films_per_s")):
        return "higher"
    return "lower" if metric.endswith(("loss", "cross_entropy", "error")) else ""


def filter_runs(runs: tuple[RunRow, ...], text: str) -> tuple[RunRow, ...]:
    """Return the runs that a filter lets through; archived ones only if it names `archived`.

    Raises: UsageError for text that is no filter.
    """
    known = {name for run in runs for name in run.fields} | {"run", "state", "tag", "note", "archived"}
    wanted = parse_filter(text, known)
    is_archive = "archived" in wanted.fields
    rows = ((run, {"run": run.run_id, "state": run.state, **run.fields}) for run in runs)
    return tuple(
        run for run, row in rows if wanted.matches(row) and (is_archive or run.fields.get("archived") != "yes")
    )


def probes_of(state: DashboardState, run: RunRow) -> tuple[ProbeRow, ...]:
    """Return the evaluations on the cohort and split of a run: its own first, then the baselines, then other runs."""
    own = [probe for probe in state.probes if (probe.cohort, probe.split) in run.places]

    def order(probe: ProbeRow) -> tuple[bool, bool, int, str]:
        return probe.candidate_id != run.run_id, probe.kind == "run", kind_rank(probe.kind), probe.eval_id

    return tuple(sorted(own, key=order))


def other_cohorts(state: DashboardState, run: RunRow) -> tuple[str, ...]:
    """Return the other cohorts that a run was probed on."""
    own = {cohort for cohort, _ in run.places}
    return tuple(sorted({p.cohort for p in state.probes if p.candidate_id == run.run_id and p.cohort not in own}))


def count_states(runs: tuple[RunRow, ...]) -> list[tuple[str, int]]:
    """Return how many runs are in each state that occurs."""
    counts = Counter(run.state for run in runs)
    return [(state, counts[state]) for state in STATES if counts[state]]


def turn(values: Sequence[T], current: T, by: int) -> T:
    """Return the value `by` places after the current one, round the end; the first when the current one is unknown."""
    at = values.index(current) if current in values else -by
    return values[(at + by) % len(values)]
