"""The tables of learning curves: macro scores by share of the labels, and how many labelled subjects have each finding.

In: curves with their published numbers. Out: tables, small counts hidden. Never: a share without its draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.learning import Curve, least_labelled, show_range
from cxrssl.records.learning import CurveNumbers
from cxrssl.report.cells import Cell, Estimate, Number, Numbers
from cxrssl.report.conditions import show_asked
from cxrssl.report.probe_tables import explain_cells, name_terms
from cxrssl.report.small import Count, SmallCells, hide_small
from cxrssl.report.tables import ReportTable
from cxrssl.stats.seeds import SeedMean

NOTE = (
    "A share of the train subjects is labelled, each draw by patient, a larger share holding the smaller ones of its "
    "draw; val, which chooses the strength, keeps its labels. Each number is the mean over draws, with an interval for "
    "other draws and other test subjects (95 %, Student's t); of one draw, for other test subjects alone."
)
COLUMNS = (
    "candidate_id", "label", "cohort", "split", "asked", "fraction", "num_draws", "num_train_subjects", "finding",
    "num_pos_train_subjects", "metric", "value", "least", "most", "mark", "by_draw",
)  # fmt: skip
"""Of learning.csv; the value has three, as in every CSV."""
ByCurve = Mapping[str, CurveNumbers]


def learning_tables(curves: Sequence[Curve], numbers: ByCurve, small: SmallCells) -> list[ReportTable]:
    """Return two tables for the curves on equal terms."""
    tables = []
    for _, group in groupby(curves, key=lambda curve: curve.settings.terms):
        alike = list(group)
        tables += [_score_table(alike, numbers, small), _subject_table(alike[0], small)]
    return tables


def list_learning_rows(curves: Sequence[Curve], numbers: ByCurve, small: SmallCells) -> ReportTable:
    """Return every number of every curve."""
    rows: list[list[Cell]] = []
    for curve in curves:
        for share, draws in curve.points.items():
            point = numbers[curve.curve_id].points[f"{share:g}"]
            least = least_labelled(draws)
            counts = _hide_subjects(draws[0].scores.num_train_subjects, least, small)
            about = [*_about(curve), Number(share), len(draws), counts.get("", "")]
            named = [("macro", "", point.macro), *((name, name, each) for name, each in point.findings.items())]
            for finding, key, found in named:
                for metric, mean in (("auroc", found.auroc), ("auprc", found.auprc)):
                    num_pos: Cell = counts.get(key, "") if key else ""
                    rows.append([*about, finding, num_pos, metric, *_cells(mean)])
    return ReportTable("Learning curves", COLUMNS, rows)


def _cells(mean: SeedMean) -> list[Cell]:
    ends = Number(min(mean.by_seed)), Number(max(mean.by_seed))
    return [Estimate(mean.interval), *ends, mean.interval.mark, Numbers(tuple(mean.by_seed))]


def _about(curve: Curve) -> list[Cell]:
    settings = curve.settings
    return [settings.candidate_id, settings.label, settings.cohort, settings.split, show_asked(settings.probe)]


def _score_table(curves: Sequence[Curve], numbers: ByCurve, small: SmallCells) -> ReportTable:
    rows: list[list[Cell]] = []
    for curve in curves:
        for share, draws in curve.points.items():
            macro = numbers[curve.curve_id].points[f"{share:g}"].macro
            (subjects,) = hide_small([Count(draws[0].scores.num_train_subjects)], small=small)
            rows.append(
                [
                    curve.settings.label,
                    f"{100 * share:g} %",
                    subjects or "all",
                    len(draws),
                    Estimate(macro.auroc.interval),
                    show_range(macro.auroc),
                    Estimate(macro.auprc.interval),
                ]
            )
    names = numbers[curves[0].curve_id].findings
    asked = curves[0].points[min(curves[0].points)][0].scores.findings
    left_out = ", ".join(plain(name, 60) for name in asked if name not in names)
    over = f"Macro mean over {count_noun(len(names), 'finding')} that every draw of every share could fit"
    over += f"; the others: {left_out}." if left_out else "."
    marks = explain_cells(rows)
    columns = ("Features", "Labels", "Train subjects", "Draws", "AUROC", "AUROC of draws", "AUPRC")
    title = f"Learning curve on {name_terms(curves[0].settings)}"
    return ReportTable(title, columns, rows, [*marks, NOTE, over], keys=2)


def _subject_table(curve: Curve, small: SmallCells) -> ReportTable:
    """Return whose labels there are, by finding; the same for every candidate."""
    shares = {share: least_labelled(draws) for share, draws in curve.points.items() if share < 1}
    hidden = {share: _hide_subjects(0, least, small) for share, least in shares.items()}
    rows: list[list[Cell]] = [
        [name, *(hidden[share].get(name, "") for share in shares)] for name in next(iter(shares.values()))
    ]
    title = f"Labelled train subjects with each finding: {name_terms(curve.settings)}"
    columns = ("Finding", *(f"{100 * share:g} %" for share in shares))
    return ReportTable(title, columns, rows, ["In the draw with the fewest."])


def _hide_subjects(num: int, by_finding: Mapping[str, int], small: SmallCells) -> dict[str, int]:
    """Return the subjects by finding, and of all of them under ""; small numbers hidden."""
    counts = {"": num, **by_finding}
    shown = hide_small([Count(each) for each in counts.values()], small=small)
    kept = dict(zip(counts, shown, strict=True))
    return kept if num else {name: each for name, each in kept.items() if name}
