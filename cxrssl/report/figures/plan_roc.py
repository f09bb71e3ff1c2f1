"""ROC and precision-recall figures of a report: a panel for each finding, a few setups in each.

In: predictions of published evaluations. Out: Plans, whose curves are made when they are drawn. Never: a finding with
fewer than ten subjects with it or without it where small cells are hidden: steps of a curve count its films.

Suffix letters: N films, R resamples, G places of the grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.arrays import Predictions
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.group import GroupRecord
from cxrssl.report.document import file_stem
from cxrssl.report.figures.plan import Material, Plan, hash_drawn, round_interval, round_number, split_panels
from cxrssl.report.figures.roc import NAMES, RocFigure, RocLine, RocPanel
from cxrssl.report.figures.series import describe_pick, name_series, pick_series
from cxrssl.report.figures.terms import count_films, count_subjects, name_file, name_terms
from cxrssl.report.small import SMALL, SmallCells
from cxrssl.stats.metrics import Floats, Integers
from cxrssl.stats.resample import Interval, draw_subject_counts
from cxrssl.stats.roc import GRID_G, CurveKind, curve_resampled
from cxrssl.stats.scores import FindingScore

NUM_DRAWS = 500
"""Resamples of a band, the first of those of the intervals."""


@dataclass(frozen=True, eq=False)
class _Scored:
    """What was predicted of the test films, and resamples of their subjects."""

    predictions: Predictions
    fold_N: NDArray[np.int64] | None
    drawn_RN: Integers

    def trace(self, kind: CurveKind, finding: str, has_band: bool) -> Floats:
        """Return the curve on all films, and where it has a band in each resample: [1 + R, G]."""
        column = self.predictions.finding_names.tolist().index(finding)
        logits_N, labels_N = self.predictions.logits[:, column], self.predictions.labels[:, column]
        once_1N = np.ones((1, len(labels_N)), np.uint16)
        counts_RN = np.concatenate([once_1N, self.drawn_RN]) if has_band else once_1N
        return curve_resampled(kind, logits_N, labels_N, counts_RN, self.fold_N)


@dataclass(frozen=True)
class _Sheet:
    """A figure before its curves are made."""

    kind: CurveKind
    picked: tuple[SeedGroup, ...]
    names: tuple[str, ...]
    findings: tuple[str, ...]
    title: str
    notes: tuple[str, ...]
    material: Material

    def collect(self) -> RocFigure:
        """Return the figure with its curves."""
        panels = tuple(self._make_panel(finding) for finding in self.findings)
        x = tuple(GRID_G.tolist()[self.kind == "pr" :])
        return RocFigure(self.kind, self.title, self.names, x, panels, self.notes)

    @cached_property
    def _scored(self) -> dict[str, _Scored]:
        """What was predicted, by eval_id."""
        return {each.eval_id: _read(each) for group in self.picked for each in group.evaluations}

    def _make_panel(self, finding: str) -> RocPanel:
        score = self.picked[0].evaluations[0].scores.findings[finding]
        lines = tuple(self._make_line(group, finding, number == 0) for number, group in enumerate(self.picked))
        prevalence = round(score.num_pos / score.num_scored, 2)
        return RocPanel(finding, count_subjects(score, self.material.small), lines, prevalence)

    def _make_line(self, group: SeedGroup, finding: str, has_band: bool) -> RocLine | None:
        """Return the mean curve over seeds; its band is of resamples of the subjects."""
        interval = _find_interval(group, finding, self.kind, self.material)
        if interval is None or not all(finding in each.scores.findings for each in group.evaluations):
            return None
        curves_RG = np.mean(
            [self._scored[each.eval_id].trace(self.kind, finding, has_band) for each in group.evaluations], axis=0
        )
        first = int(self.kind == "pr")  # precision at recall 0 has no threshold of its own
        value_G, *drawn_RG = curves_RG[:, first:]
        value = tuple(map(round_number, value_G.tolist()))
        if not drawn_RG or not interval.has_interval:
            return RocLine(value, round_interval(interval))
        level = group.evaluations[0].scores.level
        ends = [(1 - level) / 2, (1 + level) / 2]
        low_G, high_G = np.nanquantile(np.array(drawn_RG), ends, axis=0)
        if self.kind == "pr":  # as the interval of average precision; see `centred_interval`
            shift_G = value_G - np.nanmedian(np.array(drawn_RG), axis=0)
            low_G, high_G = (np.clip(each + shift_G, 0, 1) for each in (low_G, high_G))
        band = (tuple(map(round_number, each.tolist())) for each in (low_G, high_G))
        return RocLine(value, round_interval(interval), *band)


def plan_roc(material: Material) -> list[Plan]:
    """Return the ROC figures of a report, each followed by that of precision and recall."""
    return [plan for table in material.tables for kind in NAMES for plan in _plan_table(kind, table, material)]


def _plan_table(kind: CurveKind, table: Sequence[SeedGroup], material: Material) -> Iterator[Plan]:
    picked = [each for each in pick_series(table, material.ablations) if not any(e.imported for e in each.evaluations)]
    if not picked:
        return
    scores = picked[0].evaluations[0].scores.findings
    shown = [name for name, score in scores.items() if may_show(score, material.small)]
    hidden = [plain(name, 60) for name, score in scores.items() if score.is_defined and name not in shown]
    about = f"{name_terms(table)}, {count_films(table, material.small)}"
    notes = _list_notes(kind, picked, hidden)
    names = tuple(name_series(each, material.arms) for each in picked)
    pages = split_panels(shown) if shown else []
    for number, findings in enumerate(pages, 1):
        part = f" ({number} of {len(pages)})" if len(pages) > 1 else ""
        sheet = _Sheet(kind, tuple(picked), names, tuple(findings), f"{NAMES[kind][0]}: {about}{part}", notes, material)
        stem = f"{kind}-{name_file(table)}{f'-{number}' if len(pages) > 1 else ''}"
        caption = (
            f"{NAMES[kind][0]} by finding on {name_terms(table)}{part}. "
            f"{describe_pick(picked, table, material.ablations)}"
        ).strip()
        alt = f"{sheet.title}. {_list_numbers(sheet)}"
        content = [[each.content_sha256 for each in group.evaluations] for group in picked]
        key = hash_drawn(kind, content, names, findings, sheet.title, notes, caption, alt, material.small)
        yield Plan(file_stem(stem), caption, alt, key, sheet.collect)


def may_show(score: FindingScore, small: SmallCells) -> bool:
    """Return whether a curve of a finding may be drawn: both classes are there, and neither is a small cell."""
    least = min(score.num_pos_subjects or 0, score.num_neg_subjects or 0)
    return score.is_defined and (small == "show" or least >= SMALL)


def _read(evaluation: Evaluation) -> _Scored:
    predictions, probe = evaluation.predictions(), evaluation.settings.probe
    drawn_RN = draw_subject_counts(predictions.subject_id, min(NUM_DRAWS, probe.num_resamples), probe.seed)
    return _Scored(predictions, evaluation.find_folds(), drawn_RN)


def _find_interval(group: SeedGroup, finding: str, kind: CurveKind, material: Material) -> Interval | None:
    """Return the number of a curve as tables show it."""
    metric, record = "auroc" if kind == "roc" else "auprc", material.averages.get(group.group_id)
    if isinstance(record, GroupRecord):
        numbers = record.numbers.scores.findings.get(finding)
        return getattr(numbers, metric).interval if numbers else None
    score = group.evaluations[0].scores.findings.get(finding)
    found: Interval | None = getattr(score, metric) if score else None
    return found


def _list_notes(kind: CurveKind, picked: Sequence[SeedGroup], hidden: Sequence[str]) -> tuple[str, ...]:
    first = picked[0].evaluations[0]
    level, num_draws = first.scores.level, min(NUM_DRAWS, first.settings.probe.num_resamples)
    metric = "AUROC" if kind == "roc" else "average precision"
    notes = [
        f"Above each panel: subjects with / without the finding, and {metric} with its interval. Band: {level:.0%} of "
        f"{num_draws:,} bootstrap resamples of the test subjects, of the first setup; overlap of bands is no test."
    ]
    notes += ["Bands of precision are moved so that their median is the curve."] if kind == "pr" else []
    notes += ["Curves of several seeds are means over them."] if any(each.num_seeds > 1 for each in picked) else []
    notes += ["With folds, means over them."] if picked[0].settings.probe.folds else []
    notes += ["Dotted: prevalence."] if kind == "pr" else []
    if hidden:
        notes.append(f"Left out, fewer than {SMALL} subjects with or without: {', '.join(hidden)}.")
    return (" ".join(notes),)


def _list_numbers(sheet: _Sheet) -> str:
    """Return the numbers of the first setup in words."""
    found = {name: _find_interval(sheet.picked[0], name, sheet.kind, sheet.material) for name in sheet.findings}
    shown = "; ".join(f"{plain(name, 60)} {each.to_text()}" for name, each in found.items() if each)
    return f"{sheet.names[0]} in {count_noun(len(sheet.findings), 'panel')}: {shown}."
