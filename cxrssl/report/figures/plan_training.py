"""Curves of training of a report: loss, probe on val and rank of the features over steps, one line a seed.

In: journals of the runs that figures of few series show. Out: Plans, whose journals are read when they are drawn.
Never: a journal so large that a report would wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxrssl.core.text import plain
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.curve import Curve, History, RunHistory
from cxrssl.records.run import RunFiles
from cxrssl.report.document import file_stem
from cxrssl.report.figures.lines import Line, LineFigure, LinePanel
from cxrssl.report.figures.plan import Material, Plan, hash_drawn
from cxrssl.report.figures.series import TRAINED, name_series, pick_series
from cxrssl.report.figures.terms import name_file, name_terms

METRICS = {
    "loss": "Loss",
    "probe_auroc": "Macro AUROC of a probe (val)",
    "feature_rank": "Effective rank of features",
}
MAX_POINTS = 200
"""Of a line."""
MAX_JOURNAL_BYTES = 64 * 2**20
DIGITS = 4


@dataclass(frozen=True)
class _Sheet:
    """A figure before its journals are read."""

    title: str
    names: tuple[str, ...]
    runs: tuple[tuple[int, str, Path], ...]
    """Number of the series, run_id and folder."""
    notes: tuple[str, ...]

    def collect(self) -> LineFigure:
        """Return the figure with its lines; panels of which no run has a value are left out."""
        histories = [(number, run_id, _read(folder)) for number, run_id, folder in self.runs]
        panels = []
        for metric, title in METRICS.items():
            found = [(number, history.curve(run_id, metric)) for number, run_id, history in histories]
            lines = tuple(_make_line(number, curve) for number, curve in found if curve is not None)
            panels += [LinePanel(title, lines)] if any(line.x for line in lines) else []
        return LineFigure(self.title, self.names, "Step", tuple(panels), notes=self.notes)


def plan_training(material: Material) -> list[Plan]:
    """Return the curves of training of a report."""
    return [plan for table in material.tables for plan in _plan_table(table, material)]


def _plan_table(table: Sequence[SeedGroup], material: Material) -> Iterator[Plan]:
    picked = [each for each in pick_series(table, material.ablations) if each.settings.kind in TRAINED]
    names: list[str] = []
    runs: list[tuple[int, str, Path]] = []
    large: list[str] = []
    for group in picked:
        ids = dict.fromkeys(each.settings.run_id for each in group.evaluations)
        folders = {run_id: material.runs[run_id] for run_id in ids if run_id in material.runs}
        sizes = {run_id: _measure_journals(folder) for run_id, folder in folders.items()}
        large += [run_id for run_id, size in sizes.items() if size > MAX_JOURNAL_BYTES]
        held = [run_id for run_id, size in sizes.items() if 0 < size <= MAX_JOURNAL_BYTES]
        if held:
            runs += [(len(names), run_id, folders[run_id]) for run_id in held]
            names.append(name_series(group, material.arms))
    if not runs:
        return
    notes = ["One line a seed; the loss is a moving average. Losses of different objectives are not on one scale."]
    if large:
        shown = ", ".join(plain(run_id, 80) for run_id in large)
        notes.append(f"Left out, journals over {MAX_JOURNAL_BYTES // 2**20} MiB: {shown}.")
    sheet = _Sheet(f"Training: {name_terms(table)}", tuple(names), tuple(runs), (" ".join(notes),))
    caption = f"Training of the setups probed on {name_terms(table)}, over steps."
    alt = f"{sheet.title}. Lines for {len(runs)} runs of {plain('; '.join(names), 600)}."
    state = [(number, run_id, _measure_journals(folder)) for number, run_id, folder in runs]
    key = hash_drawn(sheet.title, names, state, sheet.notes, caption)
    yield Plan(file_stem(f"training-{name_file(table)}"), caption, alt, key, sheet.collect)


def _measure_journals(folder: Path) -> int:
    return sum(path.stat().st_size for path in RunFiles(folder).journals() if path.exists())


def _read(folder: Path) -> History:
    """Return the whole history of a run."""
    reader = RunHistory(folder)
    history = reader.poll(MAX_JOURNAL_BYTES)
    while reader.read_frac < 1:
        before = reader.read_frac
        history = reader.poll(MAX_JOURNAL_BYTES)
        if reader.read_frac <= before:
            break
    return history


def _make_line(number: int, curve: Curve) -> Line:
    """Return at most MAX_POINTS points of a curve; of the loss its moving average, of what is logged rarely each."""
    values = curve.ema if curve.metric == "loss" else curve.mean
    known = np.flatnonzero(np.isfinite(values))
    if len(known) > MAX_POINTS:
        known = known[np.unique(np.linspace(0, len(known) - 1, MAX_POINTS).round().astype(int))]
    return Line(number, tuple(curve.step[known].tolist()), tuple(map(_round, values[known].tolist())))


def _round(value: float) -> float:
    return value if value == 0 else round(value, DIGITS - 1 - math.floor(math.log10(abs(value))))
