"""The tables of a report on fitted probes: in other cohorts, their thresholds, and how true their probabilities are.

In: evaluations with what they keep of their fits, the published differences between them. Out: two tables for people,
and three with every number. Baselines have none: nobody applies them.
Never: a share of fewer than ten subjects, or a bin that holds so few, where small cells are hidden.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import count_noun
from cxrssl.evaluate.compare import Differences, list_carried
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.fitted import Calibrations, FindingCalibration, find_calibrations, find_source, find_thresholds
from cxrssl.report.cells import Cell, Estimate, Number
from cxrssl.report.small import HIDDEN, SMALL, Count, SmallCells, hide_small
from cxrssl.report.tables import ReportTable
from cxrssl.stats.calibration import Bin, Calibration, is_off
from cxrssl.stats.resample import Interval, explain_marks
from cxrssl.stats.thresholds import Decisions

T = TypeVar("T")
ENCODERS = ("run", "external")
TRANSFER_NOTE = (
    "Probes applied unchanged to the test films of another cohort, beside one of the same encoder that is fitted "
    "there, on the findings that both have. Macro AUROC; differences are paired."
)
CALIBRATION_NOTE = (
    "Intercept: log odds to be added until the mean is true, perfect is 0; slope: perfect is 1; counted are findings "
    "whose 95 % interval excludes that. Brier: mean over findings. Maps of Platt are fitted on val films where the "
    "probe was fitted, and for a carried probe also on those of the cohort tested on. By finding: calibration.csv, "
    "reliability.csv, thresholds.csv."
)
MAPS = {"raw": "raw", "after_platt": "platt", "after_isotonic": "isotonic", "after_there": "platt there"}
"""Field of a calibration -> how files call the probabilities."""


def fit_tables(evaluations: Sequence[Evaluation], differences: Differences) -> list[ReportTable]:
    """Return the tables for people; none where no evaluation keeps its fit."""
    tables = [_transfer_table(evaluations, differences), _calibration_table(evaluations)]
    return [table for table in tables if table.rows]


def fit_numbers(evaluations: Sequence[Evaluation], small: SmallCells) -> dict[str, ReportTable]:
    """Return every number by the name of its file; none where no evaluation keeps its fit."""
    tables = {
        "thresholds.csv": _list_thresholds(evaluations, small),
        "calibration.csv": _list_calibrations(evaluations),
        "reliability.csv": _list_bins(evaluations, small),
    }
    return {file: table for file, table in tables.items() if table.rows}


def _transfer_table(evaluations: Sequence[Evaluation], differences: Differences) -> ReportTable:
    rows: list[list[Cell]] = []
    unlike: list[str] = []
    for there, carried in list_carried(evaluations):
        with contextlib.suppress(IntegrityError):
            source = find_source(carried)
            unlike += [f"Not alike: {source.packed}."] if source and source.packed else []
        origin, about = carried.settings.carried, carried.settings
        assert origin is not None, "a carried probe"
        found = differences[there.eval_id, carried.eval_id]
        difference: Cell = found if isinstance(found, str) else Estimate(found.macro_auroc, is_difference=True)
        scored = Estimate(carried.scores.macro_auroc), Estimate(there.scores.macro_auroc)
        where = f"{origin.cohort}, split {origin.split}", f"{about.cohort}, split {about.split}"
        rows.append([there.settings.label, *where, len(carried.scores.findings), *scored, difference])
    columns = ("Encoder", "Fitted on", "Tested on", "Findings", "Carried", "Fitted there", "Fitted there - carried")
    marks = explain_marks(cell.interval for row in rows for cell in row if isinstance(cell, Estimate))
    notes = [*dict.fromkeys(unlike), *marks, TRANSFER_NOTE]
    return ReportTable("Probes carried to other cohorts", columns, rows, notes, keys=3)


def _calibration_table(evaluations: Sequence[Evaluation]) -> ReportTable:
    rows: list[list[Cell]] = []
    for evaluation, calibrations in _with_calibrations(evaluations):
        scored = [each for each in calibrations.findings.values() if each.raw is not None]
        raws = [each.raw for each in scored if each.raw is not None]
        settings = evaluation.settings
        rows.append(
            [
                settings.label,
                f"{settings.cohort}, split {settings.split}",
                len(raws),
                sum(is_off(each.intercept) for each in raws),
                sum(is_off(each.slope, 1.0) for each in raws),
                *(_mean_brier([getattr(each, name) for each in scored]) for name in MAPS if name != "after_isotonic"),
            ]
        )
    columns = ("Encoder", "Tested on", "Findings", "Intercept off", "Slope off", "Brier", "Platt", "Platt there")
    return ReportTable("Calibration on test films", columns, rows, [CALIBRATION_NOTE], keys=2)


def _mean_brier(found: Sequence[Calibration | None]) -> Cell:
    """Return the mean Brier score over findings, and over how many where not all have a map."""
    values = [each.brier.value for each in found if each is not None]
    if not values:
        return ""
    mean = f"{sum(values) / len(values):.3f}"
    return mean if len(values) == len(found) else f"{mean} ({count_noun(len(values), 'finding')})"


def _with_calibrations(evaluations: Sequence[Evaluation]) -> Iterator[tuple[Evaluation, Calibrations]]:
    return _with_files(evaluations, find_calibrations)


def _with_files(
    evaluations: Sequence[Evaluation], find: Callable[[Evaluation], T | None]
) -> Iterator[tuple[Evaluation, T]]:
    """Yield the encoders' evaluations with what they keep, those that keep nothing that this version knows left out."""
    for evaluation in evaluations:
        found = None
        if evaluation.settings.kind in ENCODERS:
            with contextlib.suppress(IntegrityError):
                found = find(evaluation)
        if found is not None:
            yield evaluation, found


def _list_thresholds(evaluations: Sequence[Evaluation], small: SmallCells) -> ReportTable:
    rows: list[list[Cell]] = []
    for evaluation, thresholds in _with_files(evaluations, find_thresholds):
        for finding, each in thresholds.findings.items():
            where = [evaluation.eval_id, evaluation.settings.label, evaluation.settings.cohort, finding]
            if each.why_none:
                rows.append([*where, "", thresholds.fitted_on, *[""] * 7, each.why_none])
            for rule, point in each.points.items():
                val = Number(point.threshold), Number(point.val_sensitivity), Number(point.val_specificity)
                shares = _shares(point.test, small) if point.test else [""] * 4
                rows.append([*where, rule, thresholds.fitted_on, *val, *shares, ""])
    columns = (
        "eval_id", "label", "cohort", "finding", "rule", "fitted_on", "threshold", "val_sensitivity",
        "val_specificity", "sensitivity", "specificity", "ppv", "npv", "why_none",
    )  # fmt: skip
    return ReportTable("Thresholds", columns, rows)


def _shares(decisions: Decisions, small: SmallCells) -> list[Cell]:
    """Return the four shares, those of fewer than ten subjects hidden."""
    four = decisions.sensitivity, decisions.specificity, decisions.ppv, decisions.npv
    return [HIDDEN if small == "hide" and _is_small(each) else Estimate(each) for each in four]


def _is_small(share: Interval) -> bool:
    return 0 < (share.num_rarer or 0) < SMALL


def _list_calibrations(evaluations: Sequence[Evaluation]) -> ReportTable:
    rows: list[list[Cell]] = []
    for evaluation, calibrations in _with_calibrations(evaluations):
        for finding, each in calibrations.findings.items():
            where = [evaluation.eval_id, evaluation.settings.label, evaluation.settings.cohort, finding]
            for what, found in _scored_maps(each).items():
                fitted_on = calibrations.there if what == "platt there" else calibrations.fitted_on
                three = Estimate(found.intercept), Estimate(found.slope), Estimate(found.brier)
                rows.append([*where, what, "" if what == "raw" else fitted_on, *three])
    columns = ("eval_id", "label", "cohort", "finding", "map", "map_fitted_on", "intercept", "slope", "brier")
    return ReportTable("Calibration", columns, rows)


def _scored_maps(calibration: FindingCalibration) -> Mapping[str, Calibration]:
    found = {what: getattr(calibration, name) for name, what in MAPS.items()}
    return {what: each for what, each in found.items() if each is not None}


def _list_bins(evaluations: Sequence[Evaluation], small: SmallCells) -> ReportTable:
    rows: list[list[Cell]] = []
    for evaluation, calibrations in _with_calibrations(evaluations):
        for finding, each in calibrations.findings.items():
            where = [evaluation.eval_id, evaluation.settings.label, evaluation.settings.cohort, finding]
            for what, found in _scored_maps(each).items():
                rows += [[*where, what, *cells] for cells in _bin_cells(found, small)]
    columns = ("eval_id", "label", "cohort", "finding", "map", "bin", "films", "positive", "mean_score", "observed")
    return ReportTable("Reliability", columns, rows)


def _bin_cells(calibration: Calibration, small: SmallCells) -> Iterator[list[Cell]]:
    """Yield number, films, positive films, mean score and observed share of each bin.

    Where a bin holds few subjects with the finding or without it, its counts and its share are hidden, the counts of
    all bins are in tens, and their shares in hundredths, as they would tell it by subtraction.
    """
    counts = [_counts_of(each) for each in calibration.bins]
    is_any_small = small == "hide" and any(count.is_small for three in counts for count in three)
    shown = iter(hide_small([count for three in counts for count in three], small=small))
    for number, (each, three) in enumerate(zip(calibration.bins, counts, strict=True), 1):
        films, positive, _ = next(shown), next(shown), next(shown)
        share: Cell = Estimate(each.observed)
        if is_any_small:
            is_hidden = any(count.is_small for count in three)
            share = HIDDEN if is_hidden else Number(round(each.observed.value, 2))
        yield [number, str(films), str(positive), Number(each.mean_score), share]


def _counts_of(each: Bin) -> tuple[Count, Count, Count]:
    """Return the films of a bin, those with the finding and those without it."""
    without = Count(each.num_films - each.num_pos, each.num_neg_subjects)
    return Count(each.num_films), Count(each.num_pos, each.num_pos_subjects), without
