"""The tables of a report on alike films and on groups of people: matched AUROC by finding, AUROC by group with gaps.

In: evaluations on equal terms. Out: tables and rows for CSV. Never: a group of fewer than ten people in what may be
shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cxrssl.core.text import plain
from cxrssl.evaluate.compare import Group
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.subgroups import Subgroup
from cxrssl.report.cells import Cell, Estimate, Number
from cxrssl.report.probe_tables import describe_row, explain_cells, name_terms
from cxrssl.report.small import SMALL, Count, HiddenCount, SmallCells, hide_small
from cxrssl.report.tables import ReportTable
from cxrssl.stats.resample import Interval
from cxrssl.stats.subgroups import MACRO, SubgroupScore

MATCHED_COLUMNS = (
    "eval_id", "label", "cohort", "split", "matched_on", "finding", "value", "lo", "hi", "mark", "is_vacuous",
    "share_pairs", "kept_of_expected",
)  # fmt: skip
SUBGROUP_COLUMNS = (
    "eval_id", "label", "cohort", "split", "attribute", "group", "finding", "auroc", "auroc_lo", "auroc_hi",
    "auroc_mark", "gap", "gap_lo", "gap_hi", "gap_mark", "num_subjects", "num_pos_subjects", "num_neg_subjects",
)  # fmt: skip
OTHERS_NOTE = (
    "AUROC among the films of a group, and minus that among all other films whose group is known; means over the "
    "findings that are defined in both. Films of unknown group are in none."
)
LEFT_OUT = f"Groups of fewer than {SMALL} test subjects are left out."


def list_group_tables(group: Group, small: SmallCells) -> list[ReportTable]:
    """Return the tables of matched AUROC and of groups, those that have a row."""
    return [table for table in (matched_table(group), subgroup_table(group, small)) if table.rows]


def matched_table(group: Group) -> ReportTable:
    """Return matched AUROC by finding, one column a candidate."""
    asked = [each for each in group if each.scores.matched]
    rows: list[list[Cell]] = []
    for finding, first in asked[0].scores.matched.items() if asked else ():
        found = [each.scores.matched.get(finding) for each in asked]
        cells = [(Estimate(each.auroc) if not each.is_vacuous else each.to_text()) if each else "" for each in found]
        rows.append([finding, "" if math.isnan(first.share_pairs) else f"{first.share_pairs:.0%}", *cells])
    title = f"AUROC matched on {_name_match(asked)} by finding: {name_terms(group[0].settings)}"
    columns, short = ["Finding", "Pairs kept", *map(describe_row, asked)], title.partition(":")[0]
    rivals = range(2, len(columns))
    return ReportTable(title, columns, rows, explain_cells(rows), short=short, rivals=rivals)


def subgroup_table(group: Group, small: SmallCells) -> ReportTable:
    """Return mean AUROC of each encoder by group, and minus that of the rest."""
    rows: list[list[Cell]] = []
    is_left_out = False
    for evaluation in group:
        for each, num_subjects, score in _list_groups(evaluation, small):
            if score is None:
                is_left_out = True
                continue
            gap = Estimate(score.gap, is_difference=True)
            rows.append(
                [describe_row(evaluation), f"{each.attribute}: {each.group}", num_subjects, Estimate(score.auroc), gap]
            )
    columns = ["Features", "Group", "Subjects", "AUROC", "AUROC - others"]
    notes = [*explain_cells(rows), OTHERS_NOTE, *([LEFT_OUT] if is_left_out else [])]
    title = f"AUROC by group: {name_terms(group[0].settings)}"
    return ReportTable(title, columns, rows, notes, short="AUROC by group", keys=2)


def list_matched_rows(evaluations: Sequence[Evaluation]) -> ReportTable:
    """Return every matched AUROC, a row each."""
    rows: list[list[Cell]] = []
    for evaluation in evaluations:
        settings, scores = evaluation.settings, evaluation.scores
        about = [evaluation.eval_id, settings.label, settings.cohort, settings.split, "+".join(scores.matched_on)]
        if scores.macro_matched is not None:
            rows.append([*about, MACRO, *_numbers(scores.macro_matched), "", "", ""])
        for finding, each in scores.matched.items():
            shares = [_number(each.share_pairs), _number(each.kept_of_expected)]
            rows.append([*about, finding, *_numbers(each.auroc), str(each.is_vacuous).lower(), *shares])
    return ReportTable("Matched", MATCHED_COLUMNS, rows)


def list_subgroup_rows(evaluations: Sequence[Evaluation], small: SmallCells) -> ReportTable:
    """Return every score of every group and finding, a row each; small groups left out, small counts hidden."""
    rows: list[list[Cell]] = []
    for evaluation in evaluations:
        settings = evaluation.settings
        about = [evaluation.eval_id, settings.label, settings.cohort, settings.split]
        for each, num_subjects, shown in _list_groups(evaluation, small):
            for score in each.scores if shown else ():
                counts = _count(score, num_subjects, small)
                is_hidden = any(isinstance(num, HiddenCount) for num in counts)
                numbers = [*_numbers(score.auroc, is_hidden), *_numbers(score.gap, is_hidden)]
                rows.append([*about, each.attribute, each.group, score.finding, *numbers, *counts])
    return ReportTable("Subgroups", SUBGROUP_COLUMNS, rows)


def _list_groups(evaluation: Evaluation, small: SmallCells) -> Iterator[tuple[Subgroup, int, SubgroupScore | None]]:
    """Yield each group with its subjects, hidden where that is needed, and its mean; None for a small group."""
    groups = evaluation.subgroups()
    for attribute in dict.fromkeys(each.attribute for each in groups):
        alike = [each for each in groups if each.attribute == attribute and each.scores]
        counts = [Count(each.scores[0].num_subjects) for each in alike]
        for each, count, shown in zip(alike, counts, hide_small(counts, small=small), strict=True):
            yield each, shown, None if count.is_small and small == "hide" else each.scores[0]


def _count(score: SubgroupScore, num_subjects: int, small: SmallCells) -> list[Cell]:
    """Return the subjects of a score, with the finding and without it."""
    if score.num_pos_subjects is None or score.num_neg_subjects is None:
        return [num_subjects, "", ""]
    counts = [Count(score.num_subjects), Count(score.num_pos_subjects), Count(score.num_neg_subjects)]
    return [*hide_small(counts, small=small)]


def _name_match(evaluations: Sequence[Evaluation]) -> str:
    return ", ".join(evaluations[0].scores.matched_on) if evaluations else ""


def _numbers(interval: Interval, is_rounded: bool = False) -> list[Cell]:
    values = [_number(each, is_rounded) for each in (interval.value, interval.lo, interval.hi)]
    return [*values, plain(interval.mark, 20)]


def _number(value: float, is_rounded: bool = False) -> Cell:
    return Number(round(value, 3) if is_rounded else value)
