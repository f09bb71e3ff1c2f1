"""Gaps between groups of people: AUROC among the films of a group minus that among all others, as forest plots.

In: published scores of groups. Out: Plans. Never: a group of fewer than ten subjects where small cells are hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxrssl.core.text import plain
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.evaluation import Evaluation
from cxrssl.report.figures.forest import Forest, ForestRow, ForestSection
from cxrssl.report.figures.plan import Material, Plan, round_interval
from cxrssl.report.figures.plan_forests import explain, split_forest
from cxrssl.report.figures.series import TRAINED, name_series, pick_series
from cxrssl.report.figures.terms import count_films, name_file, name_terms
from cxrssl.report.small import SMALL, Count, SmallCells, hide_small

NOTE = (
    "AUROC among the films of a group, and minus that among all other films whose group is known; means over the "
    "findings that are defined in both."
)


def plan_gaps(material: Material) -> list[Plan]:
    """Return the gaps of the setups that figures of few series show, a figure each."""
    plans = []
    for table in material.tables:
        picked = pick_series(table, material.ablations)
        for group in picked:
            if group.settings.kind in TRAINED:
                plans += _plan_group(table, group, material)
    return plans


def _plan_group(table: Sequence[SeedGroup], group: SeedGroup, material: Material) -> list[Plan]:
    evaluation = group.evaluations[0]
    sections, is_left_out = _list_sections(evaluation, material.small)
    if not sections:
        return []
    seed = f", seed {group.seeds[0]}" if group.num_seeds > 1 else ""
    name = f"{name_series(group, material.arms)}{seed}"
    left_out = f" Groups of fewer than {SMALL} test subjects are left out." if is_left_out else ""
    forest = Forest(
        title=f"Gaps between groups: {name}",
        axis="AUROC of the group minus that of all others",
        sections=tuple(sections),
        remark_heading="subjects, AUROC",
        notes=(
            f"{name_terms(table)}, {count_films(table, material.small)}.",
            f"{NOTE}{left_out}",
            *explain([section.rows for section in sections]),
        ),
        sides=("ranked worse", "ranked better"),
    )
    caption = f"Gaps in AUROC between groups of people: {name} on {name_terms(table)}."
    return split_forest(f"gaps-{name_file(table)}-{group.group_id[:8]}", caption, forest)


def _list_sections(evaluation: Evaluation, small: SmallCells) -> tuple[list[ForestSection], bool]:
    """Return a section for each attribute, and whether a small group is left out."""
    groups = [each for each in evaluation.subgroups() if each.scores]
    sections, is_left_out = [], False
    for attribute in dict.fromkeys(each.attribute for each in groups):
        alike = [each for each in groups if each.attribute == attribute]
        counts = [Count(each.scores[0].num_subjects) for each in alike]
        rows = []
        for each, count, shown in zip(alike, counts, hide_small(counts, small=small), strict=True):
            if small == "hide" and count.is_small:
                is_left_out = True
                continue
            score = each.scores[0]
            remark = f"{shown:,}, {score.auroc.value:.3f}"
            rows.append(ForestRow(plain(each.group, 120), round_interval(score.gap), remark))
        sections += [ForestSection(attribute.capitalize(), tuple(rows))] if rows else []
    return sections, is_left_out
