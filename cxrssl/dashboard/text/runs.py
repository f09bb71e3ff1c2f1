"""The table of runs, or of groups of runs that differ in the seed alone, from the state and a view."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cxrssl.core.text import plain
from cxrssl.dashboard.means import SeedMean
from cxrssl.dashboard.state import GroupRow, RunRow, which_is_better
from cxrssl.dashboard.text.cells import NOTHING, clock_text, run_cells, short_number
from cxrssl.dashboard.text.sheet import GAP, Cell, Column, Sheet
from cxrssl.dashboard.text.sparks import spark
from cxrssl.dashboard.text.styles import STATE_STYLES, WARNING
from cxrssl.dashboard.view import View, group_runs, last_of, sort_runs
from cxrssl.results.naming import least_width, shorten_names

MIN_NAME, MAX_NAME = 24, 44
"""Places of the column of names, below which other columns give way."""
SPARK = 12
LEFT = frozenset({"run", "state", "EHR", "trend", "tags", "note", "objective", "backbone", "cohort", "split", "device"})
RANKS = {
    "run": 0, "state": 0, "steps": 0, "last": 1, "AUROC": 2, "left": 3, "EHR": 5, "best": 6, "seed": 6, "trend": 4,
    "seeds": 1,
}  # fmt: skip
WIDTHS = {"EHR": 24, "device": 16}
OTHER_RANK = 8
GROUPED = ("seeds", "state", "last", "best", "trend", "AUROC", "films/s", "EHR")
MARK, PIN = "●", "▸"


def runs_sheet(runs: Sequence[RunRow], view: View, width: int | None = None) -> Sheet:
    """Return the runs as the view sorts and marks them; names take the width that other columns leave."""
    names = ("run", *(name for name in view.columns if name != "run"))
    columns = [column_of(name, view) for name in names]
    shown = sort_runs(runs, view)
    rows = {}
    for run in shown:
        usual = run_cells(run)
        rows[run.run_id] = tuple(run_cell(run, name, view, usual) for name in names)
    sheet = Sheet("", tuple(columns), rows)
    return sheet if width is None else shorten_first(sheet, width)


def column_of(name: str, view: View) -> Column:
    """Return a column of the table, as the view sorts by it or not."""
    width, is_left, is_drawn = WIDTHS.get(name, 0), name in LEFT, name == "trend"
    return Column(name, width, is_left, rank_of(name), head_of(name, view), is_drawn)


def shorten_first(sheet: Sheet, width: int) -> Sheet:
    """Return a table for a screen of this width: its first column is shortened to what the others leave.

    Columns of high rank give way while that is less than MIN_NAME.
    """
    measured = _prefer_different(sheet.measure())
    names = [row[0].text[2:] for row in measured.rows.values()]
    wanted = min(measured.columns[0].width, max(MIN_NAME, min(least_width(names) + 2, MAX_NAME)))
    others = Sheet("", measured.columns[1:], {key: row[1:] for key, row in sheet.rows.items()})
    fitted, _ = others.fit(width - wanted - GAP)
    kept = {column.name for column in fitted.columns}
    for at in reversed([at for at, column in enumerate(sheet.columns) if at and column.name not in kept]):
        measured = measured.without(at)
    room = width - sum(column.width + GAP for column in measured.columns[1:]) - GAP
    marks = [row[0].text[:2] for row in measured.rows.values()]
    shown = shorten_names(names, max(room - 2, 8))
    rows = {
        key: (Cell(mark + name, row[0].style), *row[1:])
        for (key, row), mark, name in zip(measured.rows.items(), marks, shown, strict=True)
    }
    return Sheet(sheet.title, measured.columns, rows, sheet.notes).measure()


def _prefer_different(sheet: Sheet) -> Sheet:
    """Return the table with columns in which all rows agree giving way before the others."""
    texts = list(zip(*([cell.text for cell in row] for row in sheet.rows.values()), strict=True))
    columns = [
        replace(column, rank=column.rank + OTHER_RANK)
        if column.rank and len(sheet.rows) > 1 and len(set(texts[at])) == 1
        else column
        for at, column in enumerate(sheet.columns)
    ]
    return replace(sheet, columns=tuple(columns))


def rank_of(name: str) -> int:
    """Return how soon a column gives way; a recipe key that the user chose stays longest."""
    return RANKS.get(name, 4 if "." in name else OTHER_RANK)


def head_of(name: str, view: View) -> str:
    """Return the head of a column, an arrow where the view sorts by it."""
    arrow = ("▼" if view.is_descending else "▲") if name == view.sort else ""
    if name == "best":
        better = which_is_better(view.metric)
        return f"{'highest' if better == 'higher' else 'lowest' if better else 'best'}{arrow}"
    text = plain(view.metric, 24) if name == "last" else "  run" if name == "run" else plain(name, 24)
    return text + arrow


def run_cell(run: RunRow, name: str, view: View, usual: Mapping[str, str]) -> Cell:
    """Return one cell of a run's row; `usual` has the texts that every table has."""
    if name == "run":
        mark = MARK if run.run_id in view.marked else " "
        pin = PIN if run.run_id == view.pinned else " "
        return Cell(f"{mark if mark != ' ' else pin} {plain(run.run_id)}", "bold" if mark == MARK else "")
    if name in usual and name != "loss":
        style = STATE_STYLES.get(run.state, "") if name == "state" else ""
        return Cell(usual[name], WARNING if name == "EHR" and run.is_outcome_used else style)
    return Cell(value_cell(run, name, view.metric))


def value_cell(run: RunRow, name: str, metric: str) -> str:
    """Return the text of a column that not every table has."""
    measure = run.measures.get(metric)
    if name == "last":
        return short_number(last_of(run, metric)) if run.loss is not None or measure else NOTHING
    if name in ("best", "smoothed"):
        value = math.nan if measure is None else measure.best(metric) if name == "best" else measure.smoothed
        return NOTHING if math.isnan(value) else short_number(value)
    if name == "trend":
        return spark(run.trend, SPARK)
    if name == "started":
        return clock_text(run.started_at)
    plain_texts = {"objective": run.objective, "backbone": run.backbone, "cohort": run.cohort, "split": run.split}
    plain_texts |= {"tags": ", ".join(run.tags), "note": run.note}
    plain_texts |= {"device": run.device, "films": f"{run.num_films:,}"}
    return plain(plain_texts.get(name, run.recipe.get(name, "")), 40) or NOTHING


def groups_sheet(runs: Sequence[RunRow], view: View, width: int | None = None) -> Sheet:
    """Return runs that differ in the seed alone, or have one value of a key, as one row: their mean over seeds."""
    shown = sort_runs(runs, view)
    by_id = {run.run_id: run for run in shown}
    columns = [Column("run", 0, True, 0, "  setup")]
    columns += [column_of(name, view) for name in GROUPED]
    rows = {}
    for group in group_runs(shown, view.metric, view.group_key):
        members = [by_id[run_id] for run_id in group.run_ids]
        is_marked = all(run_id in view.marked for run_id in group.run_ids)
        key, text = view.group_key, group_name([plain(run.run_id) for run in members])
        text = f"{plain(key, 60)} = {plain(members[0].recipe.get(key, '(none)'), 60)}" if key else text
        name = f"{MARK if is_marked else ' '} {text}"
        rows[group.run_ids[0]] = (Cell(name, "bold" if is_marked else ""), *group_cells(group, members, view))
    notes = ["mean over seeds [95 % interval for other seeds, Student's t; test subjects are not in it] n of seeds"]
    notes += ["runs of a row may differ in other keys: of each seed their mean"] if view.group_key else []
    sheet = Sheet("", tuple(columns), rows, tuple(notes))
    return sheet if width is None else shorten_first(sheet, width)


def group_cells(group: GroupRow, members: Sequence[RunRow], view: View) -> list[Cell]:
    """Return the cells of a group, but its name."""
    states = sorted({run.state for run in members})
    state = states[0] if len(states) == 1 else f"{sum(run.state == 'finished' for run in members)}/{len(members)} done"
    speeds = [run.films_per_s for run in members if math.isfinite(run.films_per_s)]
    first = members[0]
    records = {run.ehr for run in members}
    record = plain(", ".join(first.ehr) or "none", 80) if len(records) == 1 else f"{len(records)} records"
    return [
        Cell(seeds_text(group)),
        Cell(f"{state}", STATE_STYLES.get(state, "")),
        Cell(mean_text(group.last)),
        Cell(mean_text(group.best)),
        Cell(spark(first.trend, SPARK)),
        Cell(mean_text(group.auroc)),
        Cell(short_number(sum(speeds) / len(speeds)) if speeds else NOTHING),
        Cell(record, WARNING if any(run.is_outcome_used for run in members) else ""),
    ]


def seeds_text(group: GroupRow) -> str:
    """Return the number of seeds and the seeds; of more runs than seeds their number too."""
    again = f", {len(group.run_ids)} runs" if len(group.run_ids) > len(group.seeds) else ""
    return f"{len(group.seeds)}: {plain(', '.join(group.seeds), 20)}{again}"


def mean_text(mean: SeedMean) -> str:
    """Return such as "2.71 [2.60, 2.82] 3"; without an interval the mean and the number of seeds."""
    value, low, high, num = mean
    if not num:
        return NOTHING
    ends = "" if math.isnan(low) else f"[{low:.3f}, {high:.3f}] "
    return f"{value:.3f} {ends}{num}"


def group_name(run_ids: Sequence[str]) -> str:
    """Return what the ids of a group have in common: an ellipsis stands for seeds and hashes."""
    if len(run_ids) == 1:
        return run_ids[0]
    split = [run_id.split("-") for run_id in run_ids]
    if len({len(parts) for parts in split}) > 1:
        return run_ids[0]
    columns = list(zip(*split, strict=True))
    while len(columns) > 1 and len(set(columns[-1])) > 1:
        columns.pop()
    return "-".join(column[0] if len(set(column)) == 1 else "*" for column in columns)
