"""An ablation as tables: a matrix of arms and cohorts, a forest plot, one arm by finding."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cxrssl.core.numbers import score_text
from cxrssl.core.text import count_noun, plain
from cxrssl.dashboard.means import SeedMean
from cxrssl.dashboard.study import SEEDS_ONLY, Study, StudyRow
from cxrssl.dashboard.text.cells import NOTHING
from cxrssl.dashboard.text.forest import Bar, fit_forest
from cxrssl.dashboard.text.sheet import GAP, Cell, Column, Sheet
from cxrssl.dashboard.text.styles import WARNING
from cxrssl.stats.resample import Interval

PIN = "▸"
MIN_FOREST, MAX_FOREST = 20, 70
SEEDS_NOTE = "°: interval for other seeds alone, Student's t: the table has no paired comparison with test subjects"
SEVERAL_NOTE = "°: of several arms their mean by seed, and its interval for other seeds alone, Student's t"
BADGE_NOTE = "[outcome]: an outcome of the stay was an input of this arm's runs"


def study_lines(study: Study) -> list[str]:
    """Return what stands over the tables: the question, how far it is, and the declared primary comparison."""
    if not study.name:
        return ["no ablation yet: cxrssl ablate GRID.toml makes one, see cxrssl help ablate"]
    at = f"{study.names.index(study.name) + 1} of {len(study.names)}" if len(study.names) > 1 else ""
    head = f"ablation {plain(study.name, 80)}" + (f" ({at})" if at else "")
    done = f"{study.num_finished:,} of {count_noun(study.num_runs, 'run')} finished"
    if not study.rows:
        return [f"{head} · {done}", "no table yet: cxrssl ablate GRID.toml --collect makes it"]
    smallest = f" · smallest difference that matters {study.min_difference:g}" if study.min_difference else ""
    return [
        f"{head} · {done} · {plain(study.question, 200)}",
        plain(study.primary, 300) + smallest,
    ]


def arm_text(row: StudyRow, study: Study) -> str:
    """Return the name of an arm with its pin and its badge."""
    badge = f"[{row.badge}] " if row.badge else ""
    return f"{PIN if row.arm == study.pinned else ' '} {badge}{plain(row.arm, 40)}"


def difference_text(row: StudyRow) -> str:
    """Return a difference with its interval and marks."""
    if row.difference is None:
        return NOTHING
    return row.difference.to_text(signed=True) + ("°" if row.kind == SEEDS_ONLY else "")


def holm_text(row: StudyRow) -> str:
    """Return the adjusted p-value; "primary" of the comparison that was declared beforehand."""
    if row.is_primary:
        return "primary"
    return NOTHING if math.isnan(row.p_holm) else "<0.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}"


def forest_sheet(study: Study, cohort: str = "", width: int | None = None) -> Sheet:
    """Return each arm on each cohort with its difference to the pinned arm, as numbers and as a forest plot."""
    shown = [row for row in study.rows if not cohort or row.cohort == cohort]
    metric = study.metric.upper()
    columns = [Column("arm", 0, True), Column("cohort", 0, True, 1), Column(metric, 0, False, 2)]
    columns += [Column("difference", 0, False, 0, f"minus {plain(study.pinned, 16)}"), Column("p Holm", 0, False, 1)]
    columns += [Column("seeds", 0, False, 3), Column("films", 0, False, 5), Column("subjects", 0, False, 4)]
    texts = {
        f"{row.arm} on {row.cohort}": [
            arm_text(row, study),
            plain(row.cohort, 30),
            row.number.to_text(),
            difference_text(row),
            holm_text(row),
            str(len(row.seeds)),
            f"{row.num_films:,}",
            f"{row.num_subjects:,}",
        ]
        for row in shown
    }
    rows = {key: tuple(map(Cell, cells)) for key, cells in texts.items()}
    for row in shown:
        key = f"{row.arm} on {row.cohort}"
        style = WARNING if row.badge else "bold" if row.is_primary else ""
        rows[key] = tuple(Cell(cell.text, style) for cell in rows[key])
    sheet = Sheet("", tuple(columns), rows, study_notes(study, shown))
    return _add_forest(sheet, [_bar_of(row.difference) for row in shown], width)


def study_notes(study: Study, rows: list[StudyRow]) -> tuple[str, ...]:
    """Return what a reader must know of the numbers."""
    own = [SEEDS_NOTE] if any(row.kind == SEEDS_ONLY for row in rows) else []
    own += [BADGE_NOTE] if any(row.badge for row in rows) else []
    return (*own, *study.notes)


def _add_forest(sheet: Sheet, bars: Sequence[Bar], width: int | None, has_zero: bool = True) -> Sheet:
    """Add the plot as the last column, as wide as there is room for; on paper and in files it is left out."""
    if width is None:
        return sheet
    fitted, _ = sheet.fit(width - MIN_FOREST - GAP)
    room = width - sum(column.width + GAP for column in fitted.columns) - GAP
    scale = fit_forest(bars, min(room, MAX_FOREST), has_zero)
    rows = {
        key: (*cells, Cell(scale.draw(bar), cells[0].style if bar[0] == bar[0] else ""))
        for (key, cells), bar in zip(fitted.rows.items(), bars, strict=True)
    }
    column = Column("forest", scale.places, True, 0, scale.axis(), is_drawn=True)
    return Sheet(sheet.title, (*fitted.columns, column), rows, sheet.notes)


def _bar_of(interval: Interval | None) -> Bar:
    return (interval.value, interval.lo, interval.hi) if interval else (math.nan,) * 3


def key_sheet(study: Study, key: str, cohort: str = "", width: int | None = None) -> Sheet:
    """Return the metric at each value of a recipe key, as numbers and as a plot."""
    points = [point for point in study.by_key(key) if not cohort or point.cohort == cohort]
    columns = (
        Column(key, 34, True, 0, plain(key, 34)),
        Column("cohort", 0, True, 2),
        Column("metric", 0, False, 0, study.metric.upper()),
        Column("seeds", 0, False, 3),
        Column("arms", 30, True, 1),
    )
    rows = {
        f"{point.value} on {point.cohort}": (
            Cell(plain(point.value, 60)),
            Cell(plain(point.cohort, 30)),
            Cell(point.number.to_text() + ("°" if point.kind == SEEDS_ONLY else "")),
            Cell(str(len(point.seeds))),
            Cell(plain(", ".join(point.arms), 200)),
        )
        for point in points
    }
    others = [other for other in study.keys if other != key]
    notes = [f"{study.metric.upper()} by {plain(key, 60)}: the mean over seeds with its interval"]
    notes += [SEVERAL_NOTE] if any(point.kind == SEEDS_ONLY for point in points) else []
    notes += [f"these arms differ in {plain(', '.join(others), 200)} too"] if others else []
    sheet = Sheet("", columns, rows, tuple(notes))
    return _add_forest(sheet, [_bar_of(point.number) for point in points], width, has_zero=False)


def matrix_sheet(study: Study, is_difference: bool = False, width: int | None = None) -> Sheet:
    """Return arms as rows and cohorts as columns: the metric, or the difference to the pinned arm."""
    what = f"{study.metric.upper()}" + (f" minus {plain(study.pinned, 30)}" if is_difference else "")
    columns = [Column("arm", 0, True, 0, f"  {what}")]
    columns += [Column(cohort, 0, False, at, plain(cohort, 24)) for at, cohort in enumerate(study.cohorts)]
    rows = {}
    for arm in study.arms:
        cells, first = [], None
        for cohort in study.cohorts:
            row = study.find(arm, cohort)
            first = first or row
            cells.append(Cell(NOTHING if row is None else _matrix_text(row, is_difference)))
        if first is not None:
            rows[arm] = (Cell(arm_text(first, study), WARNING if first.badge else ""), *cells)
    sheet = Sheet("", tuple(columns), rows, study_notes(study, list(study.rows)))
    return sheet if width is None else sheet.fit(width)[0]


def _matrix_text(row: StudyRow, is_difference: bool) -> str:
    if not is_difference:
        return row.number.to_text()
    return difference_text(row) + (" P" if row.is_primary else "^" if row.p_holm < 0.05 else "")


MATRIX_NOTE = "P: the primary comparison, declared beforehand"


def findings_sheet(study: Study, arm: str, cohort: str, width: int | None = None) -> Sheet:
    """Return one arm by finding: its mean over seeds and the paired difference to the pinned arm."""
    found = study.by_finding(arm, cohort)
    metric = study.metric.upper()
    columns = [Column("finding", 0, True), Column(metric, 0, False, 1), Column("seeds", 0, True, 2, "of each seed")]
    columns.append(Column("difference", 0, False, 0, f"minus {plain(study.pinned, 16)}"))
    rows = {
        finding: (
            Cell(plain(finding, 40)),
            Cell(f"{mean[0]:.3f}"),
            Cell(" ".join(f"{value:.3f}" for value in study.findings[arm, cohort][finding].values())),
            Cell(_difference_of(difference)),
        )
        for finding, (mean, difference) in found.items()
    }
    notes = ("intervals by finding are for other seeds alone (Student's t over paired seeds); cxrssl report has both",)
    sheet = Sheet(f"{plain(arm, 40)} on {plain(cohort, 40)}, by finding", tuple(columns), rows, notes)
    return _add_forest(sheet, [difference[:3] for _, difference in found.values()], width)


def _difference_of(mean: SeedMean) -> str:
    value, low, high, num = mean
    if not num:
        return NOTHING
    shown, *ends = (score_text(each, signed=True) for each in (value, low, high))
    return shown + ("" if math.isnan(low) else f" [{', '.join(ends)}]")
