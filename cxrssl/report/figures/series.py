"""Which setups a figure of few series shows, and how it calls them.

In: the setups of a table, ablations with their declared comparisons. Out: setups, names.
Never: a choice by test scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrssl.core.text import count_noun, plain
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.ablation import UNTRAINED, Ablation
from cxrssl.records.eval_settings import PIXELS
from cxrssl.records.evaluation import Evaluation
from cxrssl.report.probe_tables import describe_row

MAX_SERIES = 3
TRAINED = ("run", "head", "external", "joined")
PLAIN_ONES = (PIXELS, "random-init")


def find_arms(ablations: Sequence[Ablation]) -> dict[str, str]:
    """Return the arm of each run of an ablation by its run_id."""
    return {run_id: facts.arm for each in ablations for run_id, facts in each.contract.runs.items()}


def find_arm(group: SeedGroup, arms: Mapping[str, str]) -> str:
    """Return the arm of an ablation that a setup is, empty where it is none."""
    return next((arms[each.settings.run_id] for each in _members(group) if each.settings.run_id in arms), "")


def pick_series(table: Sequence[SeedGroup], ablations: Sequence[Ablation]) -> list[SeedGroup]:
    """Return at most MAX_SERIES setups: those declared, or the first that were trained, and what they must beat.

    Declared are the two arms of a primary comparison; else setups are taken in the order of the table.
    """
    declared = [found for each in ablations if (found := _find_declared(table, each))]
    trained = declared[0] if declared else [each for each in table if each.settings.kind in TRAINED]
    plain_one = next((each for kind in PLAIN_ONES for each in table if each.settings.kind == kind), None)
    picked = trained[: MAX_SERIES - (plain_one is not None)]
    return [*picked, plain_one] if plain_one is not None and plain_one not in picked else picked


def describe_pick(picked: Sequence[SeedGroup], table: Sequence[SeedGroup], ablations: Sequence[Ablation]) -> str:
    """Return why these setups of a table are shown, in a sentence; empty where all are."""
    if len(picked) == len(table):
        return ""
    is_declared = any(_find_declared(table, each) for each in ablations)
    why = "the declared comparison" if is_declared else "the first in the order of the table"
    return f"{len(picked)} of {count_noun(len(table), 'setup')}: {why}."


def name_series(group: SeedGroup, arms: Mapping[str, str]) -> str:
    """Return how figures call a setup: its arm in an ablation, its name in tables, how many seeds it has."""
    evaluation = group.evaluations[0]
    arm = find_arm(group, arms)
    name = describe_row(evaluation) if group.num_seeds == 1 and not arm else group.name
    name = plain(f"{arm}: {name}" if arm else name, 300)
    if group.num_seeds < 2:
        return name
    seeds = f"{group.num_seeds} seeds"
    return f"{name[:-1]}, {seeds})" if name.endswith(")") else f"{name} ({seeds})"


def _find_declared(table: Sequence[SeedGroup], ablation: Ablation) -> list[SeedGroup]:
    """Return both arms of the primary comparison of an ablation, if the table has them."""
    primary = ablation.table.primary
    if primary is None:
        return []
    found = [_find_arm(table, ablation, arm, primary.cohort) for arm in (primary.arm, primary.against)]
    return [each for each in found if each is not None] if all(found) else []


def _find_arm(table: Sequence[SeedGroup], ablation: Ablation, arm: str, cohort: str) -> SeedGroup | None:
    if arm == UNTRAINED:
        return next((each for each in table if each.settings.kind == "random-init"), None)
    runs = {run_id for run_id, facts in ablation.contract.runs.items() if (facts.arm, facts.cohort) == (arm, cohort)}
    alike = (each for each in table if each.settings.kind == "run" and each.settings.candidate.encoder is None)
    return next((each for each in alike if any(member.settings.run_id in runs for member in _members(each))), None)


def _members(group: SeedGroup) -> tuple[Evaluation, ...]:
    return (*group.evaluations, *group.repeats)
