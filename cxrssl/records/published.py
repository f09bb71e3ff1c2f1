"""All that a workspace holds, read once: runs, evaluations, comparisons, groups, ablations, and what is damaged.

In: a workspace. Out: Published, frozen; and how each folder lay before it was read, so that what is derived from it can
be compared with the folder later. Never: an exception for what a file contains.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from cxrssl.core.artefact import MANIFEST
from cxrssl.core.durable import hash_settings
from cxrssl.core.text import valid
from cxrssl.core.workspace import Workspace
from cxrssl.records.ablation import KIND as ABLATION
from cxrssl.records.ablation import TABLE_FOLDER, Ablation, list_ablations
from cxrssl.records.cohorts import KIND as COHORT
from cxrssl.records.comparison import KIND as COMPARISON
from cxrssl.records.comparison import ComparisonRecord, list_comparisons
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import KIND as EVALUATION
from cxrssl.records.evaluation import Evaluation, list_all_evaluations
from cxrssl.records.file import Entry, list_entries
from cxrssl.records.group import KIND as GROUP
from cxrssl.records.group import GroupRecord, list_groups
from cxrssl.records.reader import RunRecord, list_run_entries, list_runs
from cxrssl.records.run import KIND as RUN

CLOCK_STEP_S = 2.0
"""A file changed so shortly before it was read may change again with the same times."""


class Source(NamedTuple):
    """A published folder as it lay when it was looked at; none that may have changed since has an equal one."""

    kind: str
    name: str
    """Of the folder, as UTF-8 can hold it."""
    identity: str
    """A hash over names, times, sizes and inodes of its files; "" where a change could leave all of them equal."""


@dataclass(frozen=True)
class Published:
    """All that a workspace holds."""

    runs: tuple[RunRecord, ...]
    """The one that started last first."""
    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[ComparisonRecord, ...]
    damage: tuple[Damage, ...]
    """Of runs, then of evaluations, then of comparisons, groups and ablations."""
    sources: tuple[Source, ...]
    """As they lay before any of this was read, in order."""
    groups: tuple[GroupRecord, ...] = ()
    ablations: tuple[Ablation, ...] = ()
    """Those that have a table, by name."""
    points: tuple[Evaluation, ...] = ()
    """Evaluations of a share of the labels: points of learning curves."""

    @property
    def probed(self) -> list[tuple[str, str]]:
        """Cohorts and splits that something was scored on."""
        return sorted({(each.settings.cohort, each.settings.split) for each in self.evaluations})


def read_published(workspace: Workspace) -> Published:
    """Return what a workspace holds now."""
    sources = look_at_sources(workspace)
    runs, of_runs = list_runs(workspace)
    evaluations, of_evaluations = list_all_evaluations(workspace)
    comparisons, of_comparisons = list_comparisons(workspace)
    groups, of_groups = list_groups(workspace)
    ablations, of_ablations = list_ablations(workspace)
    return Published(
        runs=tuple(runs),
        evaluations=tuple(each for each in evaluations if each.settings.probe.fraction is None),
        comparisons=tuple(comparisons),
        damage=(*of_runs, *of_evaluations, *of_comparisons, *of_groups, *of_ablations),
        sources=sources,
        groups=tuple(groups),
        ablations=tuple(ablations),
        points=tuple(each for each in evaluations if each.settings.probe.fraction is not None),
    )


def renew_comparisons(workspace: Workspace, published: Published) -> Published:
    """Return what a workspace holds with its comparisons and groups as they are now; some may have been made since."""
    derived = COMPARISON, GROUP
    now = [each for each in look_at_sources(workspace) if each.kind in derived]
    if now == [each for each in published.sources if each.kind in derived] and all(each.identity for each in now):
        return published
    comparisons, of_comparisons = list_comparisons(workspace)
    groups, of_groups = list_groups(workspace)
    others = [each for each in published.damage if each.kind not in derived]
    return replace(
        published,
        comparisons=tuple(comparisons),
        groups=tuple(groups),
        damage=(*others, *of_comparisons, *of_groups),
        sources=tuple(sorted([*(each for each in published.sources if each.kind not in derived), *now])),
    )


def look_at_sources(workspace: Workspace) -> tuple[Source, ...]:
    """Return all published folders as they lie now; nothing is opened."""
    places: list[tuple[str, Path, list[str], Callable[[Path], tuple[Entry, ...]]]] = [
        (COHORT, workspace.cohorts, workspace.cohort_names(), list_manifest),
        (RUN, workspace.runs, workspace.run_ids(), list_run_entries),
        (EVALUATION, workspace.evals, workspace.eval_ids(), list_entries),
        (COMPARISON, workspace.comparisons, workspace.comparison_ids(), list_entries),
        (GROUP, workspace.groups, workspace.group_ids(), list_entries),
        (ABLATION, workspace.ablations, workspace.ablation_names(), _list_table),
    ]
    found = [
        Source(kind, valid(name), _identify(folder / name, look))
        for kind, folder, names, look in places
        for name in names
    ]
    return tuple(sorted(found))


def list_manifest(folder: Path) -> tuple[Entry, ...]:
    """Return the one file of a cohort that says whose evaluations are of it. Raises: OSError."""
    return list_entries(folder, lambda name: name == MANIFEST)


def _list_table(folder: Path) -> tuple[Entry, ...]:
    return list_entries(folder / TABLE_FOLDER)


def _identify(folder: Path, look: Callable[[Path], tuple[Entry, ...]]) -> str:
    now_ns = time.time_ns()
    try:
        entries = look(folder)
    except OSError as error:
        return hash_settings([error.errno])
    if max((entry.changed_ns for entry in entries), default=0) > now_ns - CLOCK_STEP_S * 1e9:
        return ""
    return hash_settings(entries)
