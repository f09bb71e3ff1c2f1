"""The legend of the curves: each run with its letter, what its metric is at the crosshair and at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cxrssl.core.text import count_noun, plain
from cxrssl.dashboard.state import RunRow, which_is_better
from cxrssl.dashboard.text.cells import NOTHING, short_number
from cxrssl.dashboard.text.runs import shorten_first
from cxrssl.dashboard.text.sheet import Cell, Column, Sheet
from cxrssl.dashboard.text.styles import CURVES, STATE_STYLES
from cxrssl.dashboard.view import last_of

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MAX_RUNS = 12
"""Drawn at once."""


def legend_sheet(
    runs: Sequence[RunRow],
    metrics: Sequence[str],
    pinned: RunRow | None,
    width: int | None = None,
    at: Mapping[tuple[int, str], float] | None = None,
    theme: str = "dark",
) -> Sheet:
    """Return the drawn runs with the last and the best value of each metric, or those at the crosshair."""
    columns = [Column("run", 0, True, 0, "  run"), Column("state", 0, True, 3)]
    for place, metric in enumerate(metrics):
        name = plain(metric, 24)
        columns.append(Column(metric, 0, False, 0 if not place else 2 + place, name))
        if at is None and which_is_better(metric):
            columns.append(Column(f"best {metric}", 0, False, 2 + place, _best_word(metric)))
        if at is None and pinned is not None:
            columns.append(Column(f"minus {metric}", 0, False, 1 + place, "- pinned"))
    rows = {}
    for k, run in enumerate(runs):
        style = f"bold {CURVES[theme][k % len(CURVES[theme])]}"
        cells = [Cell(f"{LETTERS[k % len(LETTERS)]} {plain(run.run_id)}", style)]
        cells.append(Cell(plain(run.state, 20), STATE_STYLES.get(run.state, "")))
        for metric in metrics:
            texts = _texts(run, metric, pinned) if at is None else [_number(at.get((k, metric), math.nan))]
            cells += map(Cell, texts)
        rows[run.run_id] = tuple(cells)
    sheet = Sheet("", tuple(columns), rows)
    return sheet if width is None else shorten_first(sheet, width)


def _best_word(metric: str) -> str:
    return "highest" if which_is_better(metric) == "higher" else "lowest"


def _texts(run: RunRow, metric: str, pinned: RunRow | None) -> list[str]:
    last, measure = last_of(run, metric), run.measures.get(metric)
    texts = [_number(last)]
    if which_is_better(metric):
        texts.append(_number(measure.best(metric) if measure else math.nan))
    if pinned is not None:
        difference = last - last_of(pinned, metric)
        texts.append(NOTHING if math.isnan(difference) or run is pinned else f"{difference:+.4g}")
    return texts


def _number(value: float) -> str:
    return NOTHING if math.isnan(value) else short_number(value)


def curves_line(num_marked: int, num_drawn: int, options: Sequence[str]) -> str:
    """Return what is drawn, and how."""
    if not num_marked:
        what = "the run at the cursor: mark others with space on the screen of runs"
    elif num_drawn < num_marked:
        what = f"{num_drawn} of {num_marked} marked runs, as many as can be told apart"
    else:
        what = count_noun(num_marked, "marked run")
    return " · ".join([what, *options])
