"""The dashboard without a terminal: a screen as text or as data, read once. Never imports textual.

In: a workspace, the name of a screen, a view. Out: text of so many places, or values ready for JSON.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cxrssl.core.columns import cell_width
from cxrssl.core.errors import UsageError
from cxrssl.core.numbers import encode_numbers
from cxrssl.core.text import nearest_hint, plain
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.asked import USUAL_QUERIES
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.state import DashboardState
from cxrssl.dashboard.text import snapshot
from cxrssl.dashboard.text.curves import LETTERS, MAX_RUNS, curves_line, legend_sheet
from cxrssl.dashboard.text.detail import sections, settings_sheet
from cxrssl.dashboard.text.film import film_line, film_sections, shade_lines
from cxrssl.dashboard.text.lines import outcome_sentence
from cxrssl.dashboard.text.people import cohort_line, cohort_sheets
from cxrssl.dashboard.text.sheet import Sheet, cut, to_text
from cxrssl.dashboard.text.snapshot import EMPTY_HINT
from cxrssl.dashboard.text.study import forest_sheet, matrix_sheet, study_lines
from cxrssl.dashboard.view import View, is_sortable, sort_runs
from cxrssl.dashboard.widgets.raster import PlotOptions, Raster, draw_curves
from cxrssl.images.corners import cover_corners
from cxrssl.records.curve import Curve

WIDTH, HEIGHT, GUTTER = 100, 12, 9
WIDE = 160
"""Of a plot that is printed."""
OPTIONS = PlotOptions(has_band=False)


@dataclass(frozen=True)
class Shown:
    """A screen, read once."""

    text: Callable[[int | None], str]
    """For so many places; None for as many as it needs."""
    values: Callable[[], dict[str, Any]]


def read_once(workspace: Workspace, name: str, view: View) -> Shown:
    """Read what a screen shows. Raises: UsageError for a screen that there is not, or a column."""
    check_screen(name)
    shown = SHOWS[name](Reader(workspace), view)
    return replace(shown, text=lambda width: wrap_lines(shown.text(width), width))


def wrap_lines(text: str, width: int | None) -> str:
    """Return text in which what goes beyond so many places continues in the next line, two places further in."""
    lines: list[str] = []
    for line in text.split("\n"):
        if width is None or cell_width(line) <= width:
            lines.append(line)
            continue
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        pieces = textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)
        lines += [cut(piece, width) for piece in pieces]
    return "\n".join(lines)


def check_screen(name: str) -> None:
    """Raise UsageError for a screen that there is not."""
    if name not in SHOWS:
        raise UsageError(f'there is no screen "{plain(name, 60)}"', hint=nearest_hint(name, SHOWS))


def check_sort(view: View, state: DashboardState) -> None:
    """Raise UsageError for a column that no run has."""
    if state.runs and not is_sortable(view.sort, state.runs):
        keys = {key for run in state.runs for key in (*run.recipe, *run.measures)}
        raise UsageError(f'runs have no "{plain(view.sort, 60)}" to sort by', hint=nearest_hint(view.sort, keys))


def read_to_end(reader: Reader, metric: str) -> DashboardState:
    """Read until all journals are read to their end."""
    while (state := reader.read_state(metric=metric)).is_reading:
        pass
    return state


def _show_runs(reader: Reader, view: View) -> Shown:
    state = read_to_end(reader, view.metric)
    check_sort(view, state)
    return Shown(
        lambda width: snapshot.render(state, view, width),
        lambda: snapshot.as_json(snapshot.with_runs(state, sort_runs(snapshot.shown_runs(state, view), view))),
    )


def _show_curves(reader: Reader, view: View) -> Shown:
    metrics = view.grid or (view.metric,)
    runs = sort_runs(snapshot.shown_runs(read_to_end(reader, metrics[0]), view), view)
    marked = view.marked or tuple(run.run_id for run in runs)
    while (state := reader.read_curves(marked, view.pinned, metrics, MAX_RUNS)).is_reading:
        pass
    sheet = legend_sheet(state.runs, metrics, state.pinned)

    def text(width: int | None) -> str:
        places = width or WIDTH
        lines = [curves_line(state.num_marked, len(state.runs), []) if runs else f"no runs yet: {EMPTY_HINT}"]
        for metric in metrics if runs else ():
            found = state.curves_of(metric)
            lines += [
                plain(metric),
                *plot_lines(draw_curves(list(found.values()), places - GUTTER, HEIGHT, OPTIONS), found),
            ]
        legend = legend_sheet(state.runs, metrics, state.pinned, width)
        return "\n".join([*lines, *(to_text(legend, width) if runs else [])]) + "\n"

    return Shown(text, lambda: {"curves": [_curve_values(curve) for curve in state.curves.values()], **as_table(sheet)})


def _show_ablation(reader: Reader, view: View) -> Shown:
    study = reader.read_study(view.study, view.pinned_arm, view.study_metric)

    def text(width: int | None) -> str:
        lines = study_lines(study)
        if study.rows:
            lines += ["", *to_text(forest_sheet(study, "", width or WIDE), width)]
            lines += ["", *to_text(replace(matrix_sheet(study), notes=()), width)]
        return "\n".join(lines) + "\n"

    def values() -> dict[str, Any]:
        about = {"name": study.name, "question": study.question, "metric": study.metric, "pinned": study.pinned}
        rows = [snapshot.row_values(row) for row in study.rows]
        known = {"primary": study.primary, "rows": rows, "settings": study.settings, "notes": study.notes}
        return {"ablations": list(study.names), **about, **known}

    return Shown(text, values)


def _show_run(reader: Reader, view: View) -> Shown:
    shown = sort_runs(snapshot.shown_runs(read_to_end(reader, view.metric), view), view)
    run_id = next(iter(view.marked), shown[0].run_id if shown else "")
    while (detail := reader.read_detail(run_id, view.pinned)).is_reading:
        pass

    def text(width: int | None) -> str:
        if detail.run is None:
            return f"no runs yet: {EMPTY_HINT}\n"
        lines = [detail.run.run_id, outcome_sentence(detail.run)]
        for title, body in sections(detail, time.time()):
            lines += ["", title, *(f"  {line}" for line in body.plain.splitlines())]
        shown = [cut(plain(line, 2000), width) if width else plain(line, 2000) for line in lines]
        return "\n".join([*shown, "", *to_text(settings_sheet(detail, False), width)]) + "\n"

    return Shown(text, lambda: snapshot.row_values(detail))


def _show_cohort(reader: Reader, view: View) -> Shown:
    detail = reader.read_cohort(view.cohort)

    def text(width: int | None) -> str:
        lines = [cohort_line(detail)]
        for sheet in cohort_sheets(detail) if detail.name else ():
            lines += ["", *to_text(sheet, width)]
        return "\n".join(lines) + "\n"

    return Shown(text, lambda: snapshot.row_values(detail))


def _show_sql(reader: Reader, view: View) -> Shown:
    queries = [f"{place or 'a cohort'}: {text}" for _, place, text in USUAL_QUERIES]
    lines = ["queries to begin with; cxrssl sql answers them without a terminal", *queries]
    return Shown(lambda width: "\n".join(lines) + "\n", lambda: {"queries": queries})


def _show_films(reader: Reader, view: View) -> Shown:
    detail = reader.read_film(view.cohort, 0)

    def text(width: int | None) -> str:
        lines = [film_line(detail)]
        if detail.pixels is not None:
            lines += shade_lines(cover_corners(detail.pixels, detail.box), min(width or WIDTH, 72))
        for title, body in film_sections(detail, False):
            lines += ["", title, *body.plain.splitlines()]
        return "\n".join(lines) + "\n"

    def values() -> dict[str, Any]:
        about = {"cohort": detail.cohort, "row": detail.row, "films": detail.num_films, "split": detail.split}
        labels = [snapshot.row_values(label) for label in detail.labels]
        return {
            **about,
            "record": dict(detail.about),
            "sources": dict(detail.sources),
            "labels": labels,
            "problem": detail.problem,
        }

    return Shown(text, values)


def _curve_values(curve: Curve) -> dict[str, Any]:
    """Return the buckets of a curve."""
    columns = {
        "step": curve.step,
        "elapsed_s": curve.elapsed_s,
        "low": curve.low,
        "mean": curve.mean,
        "high": curve.high,
    }
    values = {name: encode_numbers(column.tolist(), as_null=True) for name, column in columns.items()}
    return {"run_id": curve.run_id, "metric": curve.metric, **values}


def plot_lines(raster: Raster, places: Mapping[int, Curve]) -> list[str]:
    """Return a drawn plot as lines of text, the letter of each curve at its end."""
    if not raster.dots_HW.any():
        return [f"  {raster.note}"]
    rows = [[chr(0x2800 + dots) if dots else " " for dots in row] for row in raster.dots_HW.tolist()]
    for k, place in enumerate(places):
        known = [at for at, value in enumerate(raster.lines_KC[k].tolist()) if value == value]
        row = raster.row_of(k, known[-1] // 2) if known else None
        if row is not None:
            rows[row][known[-1] // 2] = LETTERS[place % len(LETTERS)]
    lines = [f"{raster.y_ticks.get(at, ''):>{GUTTER - 1}}│{''.join(row)}".rstrip() for at, row in enumerate(rows)]
    axis = [" "] * (raster.dots_HW.shape[1] + GUTTER + 12)
    for cell, label in raster.x_ticks.items():
        axis[GUTTER + cell : GUTTER + cell + len(label)] = label
    return [*lines, "".join(axis)[: GUTTER + raster.dots_HW.shape[1]].rstrip()]


def as_table(sheet: Sheet) -> dict[str, Any]:
    """Return a table as data: the heads, and a list of texts for each row."""
    head, *rows = sheet.texts()
    texts = [[plain(cell.strip(), 2000) for cell in row] for row in rows]
    return {"columns": [plain(name.strip()) for name in head], "rows": texts, "notes": list(map(plain, sheet.notes))}


SHOWS: dict[str, Callable[[Reader, View], Shown]] = {
    "runs": _show_runs,
    "curves": _show_curves,
    "ablation": _show_ablation,
    "run": _show_run,
    "cohort": _show_cohort,
    "sql": _show_sql,
    "films": _show_films,
}
