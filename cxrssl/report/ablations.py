"""The section of a report on ablations, and every number of them as a table for CSV.

In: published ablations. Out: a section, the primary comparison of each before all others; a table with a row a number.
Never: a comparison called primary in a metric that was not declared; a small cell, or digits that tell it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from cxrssl.records.ablation import METRICS, PRIMARY, Ablation, ArmRow, DifferenceRow
from cxrssl.records.ablation import Number as Mean
from cxrssl.report.cells import Cell, Estimate, Number, Numbers
from cxrssl.report.document import Block, Item, Listing, Paragraph, Section, Strong
from cxrssl.report.small import Count, HiddenCount, SmallCells, hide_small
from cxrssl.report.tables import ReportTable

EXPLORATORY = "exploratory"
NOTE = (
    "Means over seeds; intervals are for other test subjects and other seeds. One comparison was declared before the "
    "first run; of twenty others, one excludes zero by chance."
)


@dataclass(frozen=True)
class AblationRow:
    """One metric of an arm, or of its difference to another."""

    ablation: str
    cohort: str
    arm: str
    against: str
    """The arm that was subtracted; empty for the scores themselves."""
    why: str
    """PRIMARY in the metric that was declared, else what the other arm is, and EXPLORATORY for the primary pair."""
    metric: str
    value: float
    """Macro mean over findings, mean over seeds."""
    lo: float
    hi: float
    mark: str
    num_seeds: int
    sd_seeds: float
    seeds: str
    """Those that are done, joined by comma."""
    by_seed: Numbers
    """In their order."""
    num_films: int
    num_subjects: int
    p: float
    """Of no difference, two-sided, as the interval is; nan for the scores themselves."""
    p_holm: float
    """Adjusted for all differences of the ablation in this metric but the primary comparison; nan for that."""


def make_section(
    ablations: Sequence[Ablation],
    unfinished: Sequence[str],
    small: SmallCells = "hide",
    figures: Mapping[str, Sequence[Block]] | None = None,
) -> list[Section]:
    """Return the section; `unfinished` are the names of ablations that have no table yet. None without any.

    `figures` are those of each ablation, by its name.
    """
    blocks: list[Block] = [Paragraph(NOTE, "note")] if ablations else []
    if unfinished:
        blocks.append(Paragraph(f"Left out, as there is no table of them yet: {', '.join(unfinished)}."))
    blocks += [_describe(each, small, (figures or {}).get(each.name, ())) for each in ablations]
    return [Section("Ablations", blocks)] if blocks else []


def list_ablation_rows(ablations: Sequence[Ablation], small: SmallCells = "hide") -> ReportTable:
    """Return every number of every ablation: its arms, then its differences with the primary one first."""
    rows = [row for each in ablations for row in _list_rows(each, small)]
    cells = [[Number(value) if isinstance(value, float) else value for value in vars(row).values()] for row in rows]
    return ReportTable("Ablations", [field.name for field in fields(AblationRow)], cells)


def _describe(ablation: Ablation, small: SmallCells, figures: Sequence[Block]) -> Section:
    table = ablation.table
    primary = table.describe_primary()
    blocks: list[Block] = [Paragraph(table.question)] if table.question.strip() else []
    blocks.append(Paragraph([Strong(primary[:1].upper() + primary[1:])]))
    smallest = f" Smallest difference that would matter: {table.min_difference:g}." if table.min_difference else ""
    blocks.append(Paragraph(f"Seeds: {', '.join(table.seeds)}.{smallest}"))
    blocks += [*figures, _arm_table(ablation, small)]
    others = {place: row for place, row in table.differences.items() if row is not table.primary}
    blocks += [_difference_table(ablation, others)] if others else []
    notes = [Item(note) for note in table.list_notes()]
    blocks += [Listing(notes, "note")] if notes else []
    return Section(f"Ablation {ablation.name}", blocks)


def _arm_table(ablation: Ablation, small: SmallCells) -> ReportTable:
    table = ablation.table
    columns = ("Arm", "Cohort", "Seeds", table.metric.upper(), "SD", "Films", "Subjects")
    rows: list[list[Cell]] = []
    for row in table.rows.values():
        number = table.number_of(row)
        counts = (f"{each:,}" for each in _counts_of(row, small))
        rows.append([row.arm, row.cohort, row.num_seeds, Estimate(number.interval), _spread(number), *counts])
    title = f"Arms of ablation {ablation.name}"
    compared = [3] if len({row.cohort for row in table.rows.values()}) == 1 else []
    return ReportTable(title, columns, rows, short="Arms", keys=2, compared=compared)


def _difference_table(ablation: Ablation, differences: Mapping[str, DifferenceRow]) -> ReportTable:
    table = ablation.table
    columns = ("Arm", "Minus", "Cohort", "Minus is", table.metric.upper(), "SD", "Seeds")
    rows: list[list[Cell]] = []
    adjusted = table.adjust(table.metric)
    for place, row in differences.items():
        number = table.number_of(row)
        difference = Estimate(number.interval, is_difference=True, p_holm=adjusted[place])
        rows.append([row.arm, row.against, row.cohort, row.why, difference, _spread(number), len(number.by_seed)])
    title = f"Exploratory differences of ablation {ablation.name}"
    return ReportTable(title, columns, rows, short="Exploratory differences", keys=3)


def _spread(number: Mean) -> Cell:
    return "" if math.isnan(number.sd_seeds) else Number(number.sd_seeds)


def _counts_of(row: ArmRow, small: SmallCells) -> list[int]:
    """Return films and subjects of an arm, small counts hidden."""
    return hide_small([Count(row.num_films, row.num_subjects), Count(row.num_subjects)], small=small)


def _list_rows(ablation: Ablation, small: SmallCells) -> Iterator[AblationRow]:
    table = ablation.table
    counts = {(row.arm, row.cohort): _counts_of(row, small) for row in table.rows.values()}
    adjusted = {metric: table.adjust(metric) for metric in METRICS}
    ordered = sorted(table.differences.items(), key=lambda each: each[1] is not table.primary)
    rows: list[tuple[str, ArmRow | DifferenceRow]] = [*(("", row) for row in table.rows.values()), *ordered]
    for place, row in rows:
        against, why = (row.against, row.why) if isinstance(row, DifferenceRow) else ("", "")
        films, subjects = counts.get((row.arm, row.cohort), [0, 0])
        is_hidden = isinstance(films, HiddenCount) or isinstance(subjects, HiddenCount)
        for metric in METRICS:
            whole: Mean = getattr(row, metric)
            number = _round(whole) if is_hidden else whole
            tests = (whole.p_value, adjusted[metric].get(place, math.nan)) if place else (math.nan, math.nan)
            p, p_holm = (round(each, 3) for each in tests) if is_hidden else tests
            seeds = [seed for seed in table.seeds if seed in number.by_seed]
            yield AblationRow(
                ablation=ablation.name,
                cohort=row.cohort,
                arm=row.arm,
                against=against,
                why=EXPLORATORY if why == PRIMARY and metric != table.metric else why,
                metric=metric,
                value=number.value,
                lo=number.lo,
                hi=number.hi,
                mark=number.interval.mark,
                num_seeds=len(number.by_seed),
                sd_seeds=number.sd_seeds,
                seeds=",".join(seeds),
                by_seed=Numbers(tuple(number.by_seed[seed] for seed in seeds)),
                num_films=films,
                num_subjects=subjects,
                p=p,
                p_holm=p_holm,
            )


def _round(number: Mean) -> Mean:
    """Return it with three digits, from which no count can be had."""
    by_seed = {seed: round(value, 3) for seed, value in number.by_seed.items()}
    values = (round(each, 3) for each in (number.value, number.lo, number.hi, number.sd_seeds))
    value, lo, hi, sd_seeds = values
    return replace(number, value=value, lo=lo, hi=hi, sd_seeds=sd_seeds, by_seed=by_seed)
