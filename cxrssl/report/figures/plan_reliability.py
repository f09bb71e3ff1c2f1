"""Reliability figures of a report: of the first setup that others are compared with, a panel for each finding.

In: predictions and calibration of published evaluations. Out: Plans. Never: a group of films with a small cell where
those are hidden.

Suffix letters: N films, L findings, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxrssl.core.text import plain
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.arrays import Predictions
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.fitted import FindingCalibration, find_calibrations
from cxrssl.report.document import file_stem
from cxrssl.report.figures.plan import Material, Plan, hash_drawn, round_number, split_panels
from cxrssl.report.figures.plan_roc import may_show
from cxrssl.report.figures.reliability import (
    ReliabilityFigure,
    ReliabilityPanel,
    ReliabilityPoint,
)
from cxrssl.report.figures.series import TRAINED, name_series, pick_series
from cxrssl.report.figures.terms import count_films, count_subjects, name_file, name_terms
from cxrssl.report.small import SMALL
from cxrssl.stats.calibration import Labels, sigmoid
from cxrssl.stats.metrics import Floats
from cxrssl.stats.reliability import Group, find_groups, group_films
from cxrssl.stats.resample import MIN_SUBJECTS, draw_subject_counts

NAMES = ("as fitted", "after Platt's map, fitted on val")
NUM_DRAWS = 500


@dataclass(frozen=True)
class _Sheet:
    """A figure before its groups of films are made."""

    evaluation: Evaluation
    predictions: Predictions
    calibrations: Mapping[str, FindingCalibration]
    title: str
    least: int
    """Subjects with the finding, and without it, of each group."""
    material: Material
    notes: tuple[str, ...]

    def collect(self) -> ReliabilityFigure:
        """Return the figure."""
        has_platt = any(each.platt for each in self.calibrations.values())
        panels = tuple(self._make_panel(name, each) for name, each in self.calibrations.items())
        return ReliabilityFigure(self.title, NAMES[: 1 + has_platt], panels, self.notes)

    def _make_panel(self, finding: str, calibration: FindingCalibration) -> ReliabilityPanel:
        score = self.evaluation.scores.findings[finding]
        logits_N, groups = self._group(finding)
        points = [_make_point(each, logits_N, calibration) for each in groups]
        detail = count_subjects(score, self.material.small)
        return ReliabilityPanel(finding, detail, tuple(_list_slopes(calibration)), tuple(points))

    def _group(self, finding: str) -> tuple[Floats, list[Group]]:
        predictions, probe = self.predictions, self.evaluation.settings.probe
        logits_N, labels_N = _read_finding(predictions, finding)
        counts_RN = draw_subject_counts(predictions.subject_id, min(NUM_DRAWS, probe.num_resamples), probe.seed)
        level = self.evaluation.scores.level
        return logits_N, group_films(logits_N, labels_N, predictions.subject_id, counts_RN, self.least, level)


def plan_reliability(material: Material) -> list[Plan]:
    """Return the reliability figures of a report."""
    return [plan for table in material.tables for plan in _plan_table(table, material)]


def _plan_table(table: Sequence[SeedGroup], material: Material) -> Iterator[Plan]:
    picked = [each for each in pick_series(table, material.ablations) if each.settings.kind in TRAINED]
    for group in picked[:1]:
        evaluation = group.evaluations[0]
        calibrations = None if evaluation.imported else find_calibrations(evaluation)
        if calibrations is None:
            continue
        scores = evaluation.scores.findings
        held = {name: each for name, each in calibrations.findings.items() if each.raw is not None and name in scores}
        shown = {name: each for name, each in held.items() if may_show(scores[name], material.small)}
        hidden = [plain(name, 60) for name in held if name not in shown]
        least = SMALL if material.small == "hide" else MIN_SUBJECTS
        predictions = evaluation.predictions()
        drawn = [name for name in shown if _has_two_groups(predictions, name, least)]
        single = [plain(name, 60) for name in shown if name not in drawn]
        pages = split_panels(drawn) if drawn else []
        for number, findings in enumerate(pages, 1):
            part = f" ({number} of {len(pages)})" if len(pages) > 1 else ""
            name = name_series(group, material.arms)
            seed = f", seed {group.seeds[0]}" if group.num_seeds > 1 else ""
            sheet = _Sheet(
                evaluation=evaluation,
                predictions=predictions,
                calibrations={each: shown[each] for each in findings},
                title=f"Reliability of {name}{seed}: {count_films(table, material.small)}{part}",
                least=least,
                material=material,
                notes=(_describe_groups(evaluation, material, hidden, single),),
            )
            caption = f"Reliability of {name}{seed} by finding on {name_terms(table)}{part}."
            key = hash_drawn(evaluation.content_sha256, sheet.title, caption, sheet.notes, findings, sheet.least)
            stem = f"reliability-{name_file(table)}{f'-{number}' if len(pages) > 1 else ''}"
            yield Plan(file_stem(stem), caption, f"{sheet.title}. {_list_numbers(sheet)}", key, sheet.collect)


def _has_two_groups(predictions: Predictions, finding: str, least: int) -> bool:
    """Return whether a finding has two points at least: fewer are no diagram."""
    return len(find_groups(*_read_finding(predictions, finding), predictions.subject_id, least)) > 1


def _read_finding(predictions: Predictions, finding: str) -> tuple[Floats, Labels]:
    """Return the logits and labels of a finding; [N], [N]."""
    column = predictions.finding_names.tolist().index(finding)
    return predictions.logits[:, column], predictions.labels[:, column]


def _make_point(group: Group, logits_N: Floats, calibration: FindingCalibration) -> ReliabilityPoint:
    """Return a group with its mean probability as fitted, and after Platt's map where there is one."""
    logits = logits_N[group.rows]
    predicted = [float(sigmoid(logits).mean())]
    if calibration.platt is not None:
        predicted.append(float(calibration.platt.apply(logits).mean()))
    observed, low, high = (round_number(each) for each in (group.observed.value, group.observed.lo, group.observed.hi))
    return ReliabilityPoint(tuple(map(round_number, predicted)), observed, low, high)


def _list_slopes(calibration: FindingCalibration) -> Iterator[tuple[int, str]]:
    for number, found in enumerate((calibration.raw, calibration.after_platt)):
        if found is not None and not np.isnan(found.slope.value):
            ends = f" [{found.slope.lo:.2f}, {found.slope.hi:.2f}]" if found.slope.has_interval else ""
            yield number, f"slope {found.slope.value:.2f}{ends}"


def _describe_groups(evaluation: Evaluation, material: Material, hidden: Sequence[str], single: Sequence[str]) -> str:
    joined = (
        f", neighbours joined until each has {SMALL} subjects with the finding and {SMALL} without it"
        if material.small == "hide"
        else f", neighbours joined until each has {MIN_SUBJECTS} subjects with the finding and without it"
    )
    num_draws = min(NUM_DRAWS, evaluation.settings.probe.num_resamples)
    left_out = f" Left out, fewer than {SMALL} subjects with or without: {', '.join(hidden)}." if hidden else ""
    left_out += f" Too few subjects for two points: {', '.join(single)}." if single else ""
    return (
        f"Each point: a tenth of the films by score{joined}; {evaluation.scores.level:.0%} intervals from "
        f"{num_draws:,} bootstrap resamples of the test subjects. Above each panel: subjects with / without the "
        f"finding; slope, perfect is 1. On the diagonal probabilities are true; intervals of the second series are "
        f"those of the first.{left_out}"
    )


def _list_numbers(sheet: _Sheet) -> str:
    shown = [
        f"{plain(name, 60)} {text}"
        for name, each in sheet.calibrations.items()
        for k, text in _list_slopes(each)
        if not k
    ]
    return f"{'; '.join(shown)}."
