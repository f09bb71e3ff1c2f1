"""The tables of setups that were trained with several seeds: means over seeds, beside vanilla and the wrong record.

In: groups of seeds on equal terms, their published numbers. Out: tables whose every number says how many seeds it has.
Never: a number of one seed that looks like one of the method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cxrssl.core.text import plain
from cxrssl.evaluate.averages import PINNED, UNTRAINED, VANILLA, Averages, is_pinned, pin_key
from cxrssl.evaluate.compare import describe_against_pixels
from cxrssl.evaluate.groups import SeedGroup, find_seed
from cxrssl.records.eval_settings import PIXELS
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.group import GroupRecord
from cxrssl.report.cells import Cell, Estimate, Number
from cxrssl.report.pin import Pin, describe_missing, differences_of
from cxrssl.report.probe_tables import count_cells, name_terms
from cxrssl.report.small import HiddenCount, SmallCells, hide_in_row
from cxrssl.report.tables import ReportTable
from cxrssl.results.rows import SeedRow, result_rows, seed_rows
from cxrssl.stats.resample import explain_marks
from cxrssl.stats.seeds import ONE_SEED, SeedMean, SeedScores

NOTES = (
    "Each row is the mean over its seeds. Intervals are for other test subjects and other seeds (95 %, Student's t).",
    "SD over seeds: how far one training lies from the next on these films; more test subjects do not make it smaller. "
    "SE over subjects: how far the mean would move with other test subjects; more seeds hardly make it smaller.",
    "Differences are paired by film, and by seed where both rows have the same seeds. Unpaired: their seeds differ. "
    "One seed: on a side; the interval is then of the test subjects alone, made as for a single evaluation.",
)
WRONG_NOTE = "Right - wrong record: the same setup with a wrong record is subtracted."
BASELINES = (UNTRAINED, VANILLA, PIXELS)
ROUNDED = ("value", "lo", "hi", "sd_seeds", "se_subjects", "p", "p_holm")


def seed_table(table: Sequence[SeedGroup], averages: Averages, pin: Pin | None = None) -> ReportTable:
    """Return macro AUROC and AUPRC of each setup, and its differences to untrained, vanilla and its wrong record.

    With a pinned baseline, differences to that alone.
    """
    records = [averages[group.group_id] for group in table]
    found = [differences_of(each, pin) if isinstance(each, GroupRecord) else {} for each in records]
    named = {name for each in found for name in each}
    baselines = [name for name in BASELINES if name != PIXELS or PIXELS in named] if pin is None else sorted(named)
    controls = sorted(named.difference(baselines))
    columns = [
        "Features", "Seeds", "AUROC", "AUPRC", "SD over seeds", "SE over subjects",
        *(f"AUROC - {name}" for name in baselines),
        *(f"AUROC right - {plain(name, 60)} record" for name in controls),
    ]  # fmt: skip
    names = (*baselines, *controls)
    rows = [_make_row(group, record, names, pin) for group, record in zip(table, records, strict=True)]
    title = f"Means over seeds on {name_terms(table[0].settings)}"
    notes = [*_marks(rows), *_not_beaten(table, records), *_one_seed(table), *NOTES]
    notes += [*([WRONG_NOTE] if controls else []), *_repeats(table)]
    notes += filter(None, [describe_missing(pin, table[0].settings.terms)])
    return ReportTable(title, columns, rows, notes, short="Means over seeds", compared=(2, 3))


def describe_mixed(table: Sequence[SeedGroup]) -> str:
    """Return which single evaluations of a table differ in the seed alone, in a sentence; empty where none do."""
    setups = [
        f"{plain(group.name, 120)}: seeds {', '.join(map(str, group.seeds))}" for group in table if group.num_seeds > 1
    ]
    return f"Rows that differ in the seed alone, and are of one setup: {'; '.join(setups)}." if setups else ""


def seed_finding_table(table: Sequence[SeedGroup], averages: Averages, small: SmallCells = "hide") -> ReportTable:
    """Return AUROC by finding as means over seeds, one column a setup."""
    rows: list[list[Cell]] = []
    for finding, score in table[0].evaluations[0].scores.findings.items():
        cells = [_finding_cell(averages[group.group_id], finding) for group in table]
        rows.append([finding, *count_cells(score, small), *cells])
    columns = ["Finding", "Positive / scored", "Subjects with / without", *(group.name for group in table)]
    title = f"AUROC by finding, means over seeds: {name_terms(table[0].settings)}"
    short, rivals = "AUROC by finding, means over seeds", range(3, len(columns))
    return ReportTable(title, columns, rows, _marks(rows), short=short, rivals=rivals)


def list_seed_rows(
    tables: Sequence[Sequence[SeedGroup]], averages: Averages, small: SmallCells, pin: Pin | None = None
) -> list[dict[str, Any]]:
    """Return every number of every setup; of a finding with small cells no digits from which they could be had.

    Differences to a baseline that another report pinned are left out.
    """
    named = {pin_key(base): f"{PINNED}{pin.label}" for base in pin.groups.values()} if pin else {}
    rows: list[dict[str, Any]] = []
    for table in tables:
        hidden = _findings_with_small_cells(table[0].evaluations[0], small)
        records = [record for group in table if isinstance(record := averages[group.group_id], GroupRecord)]
        numbers = [row for record in records for row in seed_rows(record)]
        numbers = [row for row in numbers if not is_pinned(row.against) or row.against in named]
        numbers = [replace(row, against=named.get(row.against, row.against)) for row in numbers]
        rows += [_round(row) if row.finding in hidden else vars(row) for row in numbers]
    return rows


def _findings_with_small_cells(evaluation: Evaluation, small: SmallCells) -> set[str]:
    """Return the findings, and their mean, of which a count is hidden; those of a table share films and labels."""
    shown = [hide_in_row(vars(row), evaluation.scores.num_films, small) for row in result_rows(evaluation)]
    return {row["finding"] for row in shown if any(isinstance(each, HiddenCount) for each in row.values())}


def _make_row(group: SeedGroup, record: GroupRecord | str, names: Sequence[str], pin: Pin | None) -> list[Cell]:
    seeds = ", ".join(map(str, group.seeds))
    if group.num_seeds == 1 and group.settings.kind == "run":
        seeds += " (one seed)"
    if isinstance(record, str):
        return [group.name, seeds, record, *[""] * (len(names) + 3)]
    numbers = record.numbers
    macro = numbers.scores.macro
    spreads = [_spread(each) for each in (macro.auroc.sd_seeds, macro.auroc.se_subjects)]
    differences = differences_of(record, pin)
    others = [_difference_cell(differences.get(name)) for name in names]
    return [group.name, seeds, _cell(macro.auroc), _cell(macro.auprc), *spreads, *others]


def _one_seed(table: Sequence[SeedGroup]) -> list[str]:
    is_any = any(group.num_seeds == 1 and group.settings.kind == "run" for group in table)
    return [f"{ONE_SEED[:1].upper()}{ONE_SEED[1:]}."] if is_any else []


def _spread(value: float) -> Cell:
    return "" if math.isnan(value) else Number(value)


def _not_beaten(table: Sequence[SeedGroup], records: Sequence[GroupRecord | str]) -> list[str]:
    """Return which setups do not beat the thumbnails, each in a sentence."""
    found = [None if isinstance(each, str) else each.numbers.differences.get(PIXELS) for each in records]
    pairs = zip(table, found, strict=True)
    return [describe_against_pixels(group.name, each.macro.auroc.interval) for group, each in pairs if each]


def _cell(mean: SeedMean) -> Estimate:
    return Estimate(mean.interval)


def _difference_cell(scores: SeedScores | None) -> Cell:
    if scores is None:
        return ""
    mean = scores.macro.auroc
    remark = "one seed" if mean.says_nothing_about_method else "" if scores.is_paired else "unpaired"
    return Estimate(mean.interval, is_difference=True, remark=remark)


def _finding_cell(record: GroupRecord | str, finding: str) -> Cell:
    if isinstance(record, str):
        return record
    numbers = record.numbers.scores.findings.get(finding)
    return "" if numbers is None else _cell(numbers.auroc)


def _marks(rows: Sequence[Sequence[Cell]]) -> list[str]:
    return explain_marks(cell.interval for row in rows for cell in row if isinstance(cell, Estimate))


def _repeats(table: Sequence[SeedGroup]) -> list[str]:
    """Return sentences on evaluations that repeat a seed, and on those among them that have not the same weights."""
    repeated = [plain(each.eval_id, 120) for group in table for each in group.repeats]
    differing = [plain(each.eval_id, 120) for group in table for each in _find_differing(group)]
    sentences = [f"Not counted, as its seed is there already: {', '.join(repeated)}."] if repeated else []
    if differing:
        what = "Of the same settings and seed as a run that counts, but with other weights"
        why = "other code or another device made them, and the seeds of that row may be of both"
        sentences.append(f"{what}: {', '.join(differing)}; {why}.")
    return sentences


def _find_differing(group: SeedGroup) -> list[Evaluation]:
    weights = {find_seed(each): each.settings.candidate.weights_sha256 for each in group.evaluations}
    return [each for each in group.repeats if each.settings.candidate.weights_sha256 != weights.get(find_seed(each))]


def _round(row: SeedRow) -> dict[str, Any]:
    values = dict(vars(row))
    values |= {key: values[key] and round(values[key], 3) for key in ROUNDED}
    return {**values, "by_seed": ",".join(str(round(float(each), 3)) for each in row.by_seed.split(",") if each)}
