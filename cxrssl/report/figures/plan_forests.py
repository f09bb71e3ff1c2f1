"""Forest plots of a report: of ablations, of setups against what they must beat, and of these by finding.

In: published differences. Out: Plans. Never: more digits than tables show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.averages import UNTRAINED, VANILLA
from cxrssl.evaluate.compare import REFERENCES
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.ablation import Ablation, DifferenceRow
from cxrssl.records.eval_settings import PIXELS
from cxrssl.records.group import GroupRecord
from cxrssl.report.document import file_stem
from cxrssl.report.figures.forest import Forest, ForestRow, ForestSection, find_limits
from cxrssl.report.figures.plan import Material, Plan, hash_drawn, keep, round_interval, round_number
from cxrssl.report.figures.series import TRAINED, describe_pick, find_arm, name_series, pick_series
from cxrssl.report.figures.terms import count_films, count_subjects, name_file, name_terms
from cxrssl.report.pin import Pin, differences_of, references_of
from cxrssl.report.probe_tables import describe_row
from cxrssl.report.small import Count, SmallCells, hide_small
from cxrssl.stats.holm import adjust_named, explain_mark, p_of_interval
from cxrssl.stats.resample import Interval, explain_marks
from cxrssl.stats.seeds import SeedScores

USUAL = (VANILLA, PIXELS, UNTRAINED)
"""What a setup is compared with finding by finding: the first of these that it has."""
CHOSEN = ", chosen for this report"
DECLARED = "Primary comparison, declared beforehand"


@dataclass(frozen=True)
class _Difference:
    """A setup minus another, macro and by finding."""

    macro: Interval
    findings: dict[str, Interval]
    p_values: dict[str, float]
    by_seed: tuple[float, ...]
    num_seeds: int
    method: str


def plan_forests(material: Material) -> list[Plan]:
    """Return the forests of a report, those of ablations first."""
    plans = [plan for each in material.ablations for plan in _plan_ablation(each, material.small)]
    for table in material.tables:
        plans += _plan_macro(table, material)
        plans += _plan_findings(table, material)
    return plans


def _plan_ablation(ablation: Ablation, small: SmallCells) -> list[Plan]:
    table = ablation.table
    adjusted = table.adjust(table.metric)
    by_heading: dict[str, list[ForestRow]] = {}
    ordered = sorted(table.differences.items(), key=lambda each: each[1] is not table.primary)
    for place, row in ordered:
        number, is_primary = table.number_of(row), row is table.primary
        heading = (
            f"{DECLARED if is_primary else 'Exploratory'}: cohort {row.cohort}{_count_films(ablation, row, small)}"
        )
        by_heading.setdefault(heading, []).append(
            ForestRow(
                label=f"{row.arm} − {row.against}",
                interval=round_interval(number.interval),
                remark=f"{len(number.by_seed)}",
                by_seed=tuple(round_number(value) for value in number.by_seed.values()),
                p_holm=adjusted.get(place, float("nan")) if not is_primary else float("nan"),
                is_primary=is_primary,
            )
        )
    if not by_heading:
        return []
    family = explain_mark([adjusted[place] for place, row in ordered if row is not table.primary], "exploratory rows")
    metric = table.metric.upper()
    forest = Forest(
        title=f"Ablation {plain(ablation.name, 80)}: differences in macro {metric}",
        axis=f"Difference in macro {metric}",
        sections=tuple(ForestSection(heading, tuple(rows)) for heading, rows in by_heading.items()),
        remark_heading="seeds",
        min_difference=table.min_difference,
        notes=explain(by_heading.values(), table.min_difference, family),
    )
    caption = (
        f"Forest plot of ablation {plain(ablation.name, 80)}: means over seeds with 95 % intervals for other test "
        f"subjects and other seeds; the comparison that was declared before the first run is on top."
    )
    return split_forest(f"forest-ablation-{ablation.name}", caption, forest, f"{table.describe_primary()}.")


def _count_films(ablation: Ablation, row: DifferenceRow, small: SmallCells) -> str:
    """Return on how many films and subjects a difference rests."""
    found = next((arm for arm in ablation.table.rows.values() if (arm.arm, arm.cohort) == (row.arm, row.cohort)), None)
    if found is None:
        return ""
    counts = [Count(found.num_films, found.num_subjects), Count(found.num_subjects)]
    films, subjects = hide_small(counts, small=small)
    return f" ({count_noun(films, 'film')}, {count_noun(subjects, 'subject')})"


def _plan_macro(table: Sequence[SeedGroup], material: Material) -> list[Plan]:
    """Return forests of macro AUROC: every setup of a table, minus what it is compared with.

    Those of an ablation have a forest of their own, but for differences to a pinned baseline. Those are of all that was
    trained: differences of what was not are so large that the others could not be told apart.
    """
    sections: dict[str, list[ForestRow]] = {}
    methods: dict[str, None] = {}
    for group in table:
        if find_arm(group, material.arms) if material.pin is None else group.settings.kind not in TRAINED:
            continue
        for minus, found in _list_differences(group, table, material):
            methods[found.method] = None
            sections.setdefault(minus, []).append(
                ForestRow(
                    _name_setup(group, material.arms),
                    round_interval(found.macro),
                    f"{found.num_seeds or ''}",
                    _round_seeds(found),
                )
            )
    if not sections:
        return []
    pin, order = material.pin, [*REFERENCES, *sections]
    forest = Forest(
        title=f"Differences in macro AUROC: {name_terms(table)}, {count_films(table, material.small)}",
        axis="Difference in macro AUROC",
        remark_heading="seeds",
        sections=tuple(
            ForestSection(f"Minus {_name_reference(minus, pin)}{CHOSEN if pin else ''}", tuple(sections[minus]))
            for minus in sorted(sections, key=order.index)
        ),
        notes=(*explain(sections.values()), *_explain_methods(methods)),
    )
    caption = f"Forest plot of paired differences in macro AUROC on {name_terms(table)}."
    return split_forest(f"forest-{name_file(table)}", caption, forest)


def _plan_findings(table: Sequence[SeedGroup], material: Material) -> list[Plan]:
    """Return forests by finding of the setups that figures of few series show, minus the pin or the first of USUAL."""
    plans = []
    picked = pick_series(table, material.ablations)
    for group in picked:
        if group.settings.kind not in TRAINED:
            continue
        differences = dict(_list_differences(group, table, material))
        usual = (material.pin.label,) if material.pin else USUAL
        minus = next((name for name in usual if name in differences), None)
        if minus is None:
            continue
        found, name = differences[minus], name_series(group, material.arms)
        forest = _make_finding_forest(table, group, minus, found, material)
        caption = (
            f"Forest plot of {name} minus {_name_reference(minus, material.pin)} by finding on {name_terms(table)}. "
            f"{describe_pick(picked, table, material.ablations)}"
        ).strip()
        stem = f"forest-findings-{name_file(table)}-{group.group_id[:8]}"
        plans += split_forest(stem, caption, forest)
    return plans


def _make_finding_forest(
    table: Sequence[SeedGroup], group: SeedGroup, minus: str, found: _Difference, material: Material
) -> Forest:
    scores, other = group.evaluations[0].scores.findings, _name_reference(minus, material.pin)
    adjusted = adjust_named(found.p_values)
    macro = ForestRow("Mean over findings", round_interval(found.macro), by_seed=_round_seeds(found), is_mean=True)
    rows = [
        ForestRow(
            name, round_interval(interval), count_subjects(scores.get(name), material.small), p_holm=adjusted[name]
        )
        for name, interval in sorted(found.findings.items())
        if interval.mark != "not defined"
    ]
    left_out = sorted(name for name, interval in found.findings.items() if interval.mark == "not defined")
    missing = f"Not defined: {', '.join(plain(name, 60) for name in left_out)}." if left_out else ""
    return Forest(
        title=f"AUROC of {name_series(group, material.arms)} minus {other}, by finding",
        axis="Difference in AUROC",
        sections=(ForestSection("", (macro,)), ForestSection("", tuple(rows))),
        remark_heading="subjects with / without",
        notes=tuple(
            note
            for note in (
                f"{name_terms(table)}, {count_films(table, material.small)}.",
                *explain([[macro], rows], 0.0, explain_mark(list(adjusted.values()), "findings")),
                *_explain_methods({found.method: None}),
                missing,
            )
            if note
        ),
        sides=(f"{other} better", "better"),
    )


def _list_differences(
    group: SeedGroup, table: Sequence[SeedGroup], material: Material
) -> Iterator[tuple[str, _Difference]]:
    """Yield the differences of a setup by what is subtracted: means over seeds, or those of its one evaluation."""
    record = material.averages.get(group.group_id)
    if isinstance(record, GroupRecord):
        for minus, scores in differences_of(record, material.pin).items():
            yield minus, _of_means(scores)
        return
    evaluation, alike = group.evaluations[0], [each for other in table for each in other.evaluations]
    for minus, find in references_of(material.pin).items():
        other = find(evaluation, alike)
        found = material.differences.get((evaluation.eval_id, other.eval_id)) if other else None
        if found is None or isinstance(found, str):
            continue
        findings = {name: score.auroc for name, score in found.findings.items()}
        p_values = {name: p_of_interval(each, found.level) for name, each in findings.items()}
        num_seeds = 1 if evaluation.settings.kind == "run" else 0
        yield minus, _Difference(found.macro_auroc, findings, p_values, (), num_seeds, found.method)


def _of_means(scores: SeedScores) -> _Difference:
    macro = scores.macro.auroc
    means = {name: numbers.auroc for name, numbers in scores.findings.items()}
    return _Difference(
        macro=macro.interval,
        findings={name: mean.interval for name, mean in means.items()},
        p_values={name: mean.p_value for name, mean in means.items()},
        by_seed=macro.by_seed if len(macro.by_seed) > 1 else (),
        num_seeds=macro.num_seeds,
        method=macro.method_text,
    )


def _round_seeds(found: _Difference) -> tuple[float, ...]:
    return tuple(round_number(value) for value in found.by_seed)


def split_forest(stem: str, caption: str, forest: Forest, first: str = "") -> list[Plan]:
    """Return a plan for each page of a forest; all pages have one axis. In words they begin with `first`."""
    pages = forest.split()
    limits = find_limits(pages) if len(pages) > 1 else None
    plans = []
    for number, page in enumerate(pages, 1):
        name = file_stem(f"{stem}-{number}" if len(pages) > 1 else stem)
        title = f"{caption} Part {number} of {len(pages)}." if len(pages) > 1 else caption
        shown = replace(page, limits=limits)
        alt = f"{first} {_list_rows(shown)}".strip()
        plans.append(Plan(name, title, alt, hash_drawn(shown, title, alt), partial(keep, shown)))
    return plans


def explain(sections: Iterable[Sequence[ForestRow]], min_difference: float = 0.0, family: str = "") -> tuple[str, ...]:
    """Return what the signs of a forest mean, those that are there."""
    rows = [row for section in sections for row in section]
    notes = [*explain_marks(row.interval for row in rows)]
    few = sorted({row.interval.few_below for row in rows if row.interval.mark == "few"})
    is_open = [f"under {bound} subjects" for bound in few]
    is_open += ["no interval"] if any(row.interval.mark == "no interval" for row in rows) else []
    notes += [f"Open marks: {' or '.join(is_open)}."] if is_open else []
    notes += ["Small ticks: single seeds."] if any(len(row.by_seed) > 1 for row in rows) else []
    if min_difference:
        notes.append(f"Dotted: the smallest difference that would matter, {min_difference:g}.")
    return (*([" ".join(notes)] if notes else []), *([family] if family else []))


def _explain_methods(methods: dict[str, None]) -> list[str]:
    shown = [method for method in methods if method]
    return [f"Intervals: {'; '.join(shown)}."] if shown else []


def _list_rows(forest: Forest) -> str:
    """Return a forest in words."""
    shown = [f"{row.label} {row.text}" for row in forest.rows[:20]]
    more = len(forest.rows) - len(shown)
    return plain(f"{forest.title}. {'; '.join(shown)}{f'; and {more:,} more' if more > 0 else ''}.", 4000)


def _name_setup(group: SeedGroup, arms: Mapping[str, str]) -> str:
    arm = find_arm(group, arms)
    name = describe_row(group.evaluations[0]) if group.num_seeds == 1 and not arm else group.name
    return f"{arm}: {name}" if arm else name


def _name_reference(minus: str, pin: Pin | None) -> str:
    return minus if pin or minus in REFERENCES else f"{plain(minus, 60)} record"
