"""The files of a workspace, read again and again: a second reading opens only what has changed.

In: a workspace. Out: DashboardState. Never: a write, or an exception for what a file contains.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.courses import Courses
from cxrssl.dashboard.probes import AblationFolder, ProbeFolder
from cxrssl.dashboard.rows import make_ablation_row, make_run_row
from cxrssl.dashboard.state import AblationRow, CurvesState, DashboardState, ProbeRow, RunRow
from cxrssl.records.cohorts import find_datasets
from cxrssl.records.comparison import ComparisonReader
from cxrssl.records.curve import RunHistory
from cxrssl.records.damage import Damage
from cxrssl.records.reader import RunReader
from cxrssl.records.tail import PIECE_BYTES

NUM_HISTORIES = 14
"""How many recently drawn runs keep their curves in memory."""
NUM_POINTS = 8000
"""Buckets of a curve: some for every dot column of a wide screen, when it is zoomed too."""


class Reader:
    """Remembers what it has read."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._runs: dict[str, RunReader] = {}
        self._probes: dict[str, ProbeFolder] = {}
        self._ablations: dict[str, AblationFolder] = {}
        self._courses = Courses()
        self._comparisons = ComparisonReader(workspace)
        self._histories: OrderedDict[str, RunHistory] = OrderedDict()

    def read_state(self, focused_id: str = "", metric: str = "loss", max_bytes: int = PIECE_BYTES) -> DashboardState:
        """Return the state now, with the curve of `metric` of one run (the one that started last if none is named)."""
        with self._lock:
            problems: list[str] = []
            probes = self._read_probes(problems)
            known, read_frac = self._add_courses(self._read_runs(problems), metric)
            runs = tuple(_with_auroc(run, probes) for run in known)
            problems += [damage.sentence for damage in self._comparisons.poll()]
            ablations = self._read_ablations(runs, problems)
            state = DashboardState(str(self.workspace.root), runs, probes, ablations, tuple(problems), read_frac)
            state = replace(state, is_reading=read_frac < 1.0)
            focused = state.find_run(focused_id) or (runs[0] if runs else None)
            return self._add_curve(state, focused.run_id, metric, max_bytes) if focused else state

    def _read_runs(self, problems: list[str]) -> list[RunRow]:
        run_ids = self.workspace.run_ids()
        self._runs = {run_id: self._runs.get(run_id) or RunReader(self.workspace.runs / run_id) for run_id in run_ids}
        records = [record for record in (reader.poll() for reader in self._runs.values()) if record is not None]
        problems += [damage.sentence for reader in self._runs.values() for damage in reader.damage]
        return sorted(map(make_run_row, records), key=lambda row: (-(row.started_at or 0.0), row.run_id))

    def _add_courses(self, runs: Sequence[RunRow], metric: str) -> tuple[list[RunRow], float]:
        """Return the runs with what their journals say, as far as these are read, and how far they are."""
        order = sorted(runs, key=lambda run: run.state != "running")
        folders = {run.run_id: (self.workspace.runs / run.run_id, (run.step, run.logged_at)) for run in order}
        read_frac = self._courses.read(folders)
        courses = self._courses
        return [
            replace(run, measures=courses.measures(run.run_id), trend=courses.trend(run.run_id, metric)) for run in runs
        ], read_frac

    def _read_probes(self, problems: list[str]) -> tuple[ProbeRow, ...]:
        folders = {name: self.workspace.evals / name for name in self.workspace.eval_ids()}
        self._probes = {name: self._probes.get(name) or ProbeFolder(folder) for name, folder in folders.items()}
        datasets = find_datasets(self.workspace)
        read = [folder.poll(datasets) for folder in self._probes.values()]
        problems += [each.sentence for each in read if isinstance(each, Damage)]
        return tuple(each for each in read if isinstance(each, ProbeRow))

    def _read_ablations(self, runs: Sequence[RunRow], problems: list[str]) -> tuple[AblationRow, ...]:
        folders = {name: self.workspace.ablations / name for name in self.workspace.ablation_names()}
        self._ablations = {name: self._ablations.get(name) or AblationFolder(path) for name, path in folders.items()}
        read = [(name, folder.poll()) for name, folder in self._ablations.items()]
        problems += [each.sentence for _, each in read if isinstance(each, Damage)]
        return tuple(make_ablation_row(name, *each, runs) for name, each in read if isinstance(each, tuple))

    def read_curves(self, run_ids: Sequence[str], pinned: str, metrics: Sequence[str], num_most: int) -> CurvesState:
        """Return the curves of these metrics of the first `num_most` of these runs that there are."""
        state = self.read_state(run_ids[0] if len(run_ids) == 1 else "", metrics[0])
        found = [run for run in (state.find_run(run_id) for run_id in run_ids) if run is not None]
        drawn = tuple(found[:num_most]) or state.runs[:1]
        with self._lock:
            histories = {run.run_id: self._poll_history(run.run_id, PIECE_BYTES) for run in drawn}
        curves = {
            (run_id, metric): curve
            for run_id, history in histories.items()
            for metric in metrics
            if (curve := history.history.curve(run_id, metric, history.read_frac)) is not None
        }
        names = dict.fromkeys(name for history in histories.values() for name in history.history.metrics)
        is_reading = state.is_reading or any(history.read_frac < 1.0 for history in histories.values())
        return CurvesState(drawn, state.find_run(pinned), len(found), tuple(names), curves, is_reading)

    def _poll_history(self, run_id: str, max_bytes: int) -> RunHistory:
        history = self._histories.pop(run_id, None) or RunHistory(self.workspace.runs / run_id, NUM_POINTS)
        self._histories[run_id] = history
        while len(self._histories) > NUM_HISTORIES:
            self._histories.popitem(last=False)
        history.poll(max_bytes)
        return history

    def _add_curve(self, state: DashboardState, run_id: str, metric: str, max_bytes: int) -> DashboardState:
        history = self._poll_history(run_id, max_bytes)
        known = history.history
        curve = known.curve(run_id, metric, history.read_frac)
        is_reading = state.is_reading or history.read_frac < 1.0
        return replace(
            state, metrics=tuple(known.metrics), curve=curve, latest=dict(known.latest), is_reading=is_reading
        )


def _with_auroc(run: RunRow, probes: tuple[ProbeRow, ...]) -> RunRow:
    """Add the macro AUROC of the run's own probe on the cohort and split it was pretrained on."""
    key = (run.run_id, run.cohort, run.split)
    own = [probe for probe in probes if (probe.candidate_id, probe.cohort, probe.split) == key and probe.is_whole]
    if not own:
        return run
    defined = [probe.auroc for probe in own if not math.isnan(probe.auroc.value)]
    is_outcome_used = run.is_outcome_used or any(probe.is_outcome_used for probe in own) or run.is_outcome_used
    value, mark = (defined[-1].value, defined[-1].mark) if defined else (math.nan, "")
    return replace(run, macro_auroc=value, macro_mark=mark, is_outcome_used=is_outcome_used)
