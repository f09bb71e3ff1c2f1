"""The files of a workspace, read again and again: a second reading opens only what has changed.

In: a workspace. Out: DashboardState. Never: a write, torch (so evaluations are read from their files), or an exception
for what a file contains.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.history import RunHistory
from cxrssl.dashboard.probes import probe_terms_of, read_probe
from cxrssl.dashboard.runs import RunFolder
from cxrssl.dashboard.state import DashboardState, ProbeRow, RunRow
from cxrssl.dashboard.tail import PIECE_BYTES

NUM_HISTORIES = 6
"""So many of the runs looked at last keep their curves in memory."""


class Reader:
    """Remembers what it has read."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._runs: dict[str, RunFolder] = {}
        self._probes: dict[str, tuple[object, ProbeRow | None]] = {}
        self._histories: OrderedDict[str, RunHistory] = OrderedDict()

    def read_state(self, focused_id: str = "", metric: str = "loss", max_bytes: int = PIECE_BYTES) -> DashboardState:
        """Return the state now, with the curve of `metric` of one run (the one that started last if none is named)."""
        with self._lock:
            problems: list[str] = []
            probes = self._read_probes(problems)
            runs = tuple(_with_auroc(run, probes) for run in self._read_runs(problems))
            root = str(self.workspace.root)
            state = DashboardState(root, runs, probes, tuple(problems))
            focused = state.find_run(focused_id) or (runs[0] if runs else None)
            return self._add_curve(state, focused.run_id, metric, max_bytes) if focused else state

    def _read_runs(self, problems: list[str]) -> list[RunRow]:
        run_ids = _names(self.workspace.runs)
        self._runs = {run_id: self._runs.get(run_id) or RunFolder(self.workspace.runs / run_id) for run_id in run_ids}
        rows = []
        for run_id, folder in self._runs.items():
            row = folder.poll()
            if row is not None:
                rows.append(row)
            elif folder.has_description:
                problems.append(f"run.json of {run_id} cannot be read")
        return sorted(rows, key=lambda row: (-(row.started_at or 0.0), row.run_id))

    def _read_probes(self, problems: list[str]) -> tuple[ProbeRow, ...]:
        known: dict[str, tuple[object, ProbeRow | None]] = {}
        for name in _names(self.workspace.evals):
            folder = self.workspace.evals / name
            terms = probe_terms_of(folder)
            before = self._probes.get(name)
            known[name] = before if before and before[0] == terms else (terms, read_probe(folder))
            if known[name][1] is None:
                problems.append(f"evaluation {name} cannot be read")
        self._probes = known
        return tuple(probe for _, probe in known.values() if probe)

    def _add_curve(self, state: DashboardState, run_id: str, metric: str, max_bytes: int) -> DashboardState:
        history = self._histories.pop(run_id, None) or RunHistory(self.workspace.runs / run_id)
        self._histories[run_id] = history
        while len(self._histories) > NUM_HISTORIES:
            self._histories.popitem(last=False)
        known = history.poll(max_bytes)
        curve = known.curve(run_id, metric, history.read_frac)
        is_reading = history.read_frac < 1.0
        return replace(
            state, metrics=tuple(known.metrics), curve=curve, latest=dict(known.latest), is_reading=is_reading
        )


def _with_auroc(run: RunRow, probes: tuple[ProbeRow, ...]) -> RunRow:
    """Add the macro AUROC of the run's own probe on the cohort and split it was pretrained on."""
    key = (run.run_id, run.cohort, run.split)
    own = [probe for probe in probes if (probe.candidate_id, probe.cohort, probe.split) == key]
    if not own:
        return run
    values = [probe.auroc.value for probe in own if not math.isnan(probe.auroc.value)]
    is_outcome_used = run.is_outcome_used or any(probe.is_outcome_used for probe in own) or run.is_outcome_used
    return replace(run, macro_auroc=values[-1] if values else math.nan, is_outcome_used=is_outcome_used)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    except OSError:
        return []
