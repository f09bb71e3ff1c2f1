"""The numbers of every group of seeds that a report shows: means over seeds, and differences to other groups.

In: groups of published evaluations. Out: published groups. Numpy only, so that a report needs no torch.
Never: resamples drawn again for a group that is already published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import UNTRAINED as UNTRAINED
from cxrssl.evaluate.compare import VANILLA as VANILLA
from cxrssl.evaluate.groups import (
    Resamples,
    SeedGroup,
    compare_groups,
    find_pixels_group,
    find_untrained_group,
    find_vanilla_group,
    find_wrong_groups,
    score_group,
)
from cxrssl.records.eval_settings import PIXELS
from cxrssl.records.group import GroupNumbers, GroupRecord, GroupSettings, find_group, publish_group
from cxrssl.records.setup import RIGHT

PINNED = "baseline "
"""Begins the names of differences to a pinned baseline; its group_id follows."""
Averages = Mapping[str, GroupRecord | str]
"""By group_id the published group; why there is none, in words."""


def table_groups(groups: Sequence[SeedGroup]) -> list[list[SeedGroup]]:
    """Return the groups that one table may hold, those on equal terms, in their order."""
    tables: dict[str, list[SeedGroup]] = {}
    for group in groups:
        tables.setdefault(group.settings.terms, []).append(group)
    return [table for _, table in sorted(tables.items())]


def has_seeds(table: Sequence[SeedGroup]) -> bool:
    """Return whether a table says more than one of single evaluations: several seeds, or a wrong record."""
    runs = [group for group in table if group.settings.kind == "run"]
    return any(group.num_seeds > 1 or group.control not in (None, RIGHT) for group in runs)


def find_references(group: SeedGroup, groups: Sequence[SeedGroup]) -> dict[str, SeedGroup]:
    """Return what a group is compared with: untrained, vanilla, pixels, and by control its own wrong record."""
    found = {
        UNTRAINED: find_untrained_group(group, groups),
        VANILLA: find_vanilla_group(group, groups),
        PIXELS: find_pixels_group(group, groups),
    }
    return {name: each for name, each in found.items() if each is not None} | find_wrong_groups(group, groups)


def pin_key(base: SeedGroup) -> str:
    """Return the name of differences to a baseline that somebody pinned."""
    return f"{PINNED}{base.group_id}"


def name_pinned(groups: Sequence[SeedGroup]) -> dict[str, str]:
    """Return by `pin_key` what people read of a baseline; setups that are called alike keep their ids beside it."""
    often = Counter(each.name for each in groups)
    ids = {each.group_id: f" ({each.group_id})" if often[each.name] > 1 else "" for each in groups}
    return {pin_key(each): f"{PINNED}{each.name}{ids[each.group_id]}" for each in groups}


def is_pinned(name: str) -> bool:
    """Return whether this is the name of differences to a pinned baseline."""
    return name.startswith(PINNED)


def publish_averages(
    workspace: Workspace,
    tables: Sequence[Sequence[SeedGroup]],
    read: Sequence[GroupRecord] = (),
    pins: Collection[SeedGroup] = (),
) -> Averages:
    """Return the numbers of the groups of these tables, those that are missing or out of date published now.

    `read` are published groups that were just read, and need not be read again. All groups are compared with those of
    `pins` on their terms, too; what was pinned before stays with a group until its evaluations change.
    """
    known = {each.settings.group_id: each for each in read}
    averages: dict[str, GroupRecord | str] = {}
    for table in tables:
        resamples = Resamples()
        for group in table:
            record = known.get(group.group_id)
            references = find_references(group, table) | _find_pinned(group, table, record, pins)
            settings = make_settings(group, references)
            if record is not None and record.settings == settings:
                averages[group.group_id] = record
                continue
            try:
                averages[group.group_id] = _average(workspace, settings, group, references, resamples)
            except DataError as error:
                is_kept = record is not None and _is_of_imported(group, record)
                averages[group.group_id] = record if record is not None and is_kept else error.what
    return averages


def _find_pinned(
    group: SeedGroup, table: Sequence[SeedGroup], record: GroupRecord | None, pins: Collection[SeedGroup]
) -> dict[str, SeedGroup]:
    """Return the pinned baselines of a group, those that it was compared with before included."""
    found = {}
    before = record.settings.against if record is not None and record.settings.members == _members(group) else {}
    wanted = {each.group_id for each in pins}
    for base in sorted(table, key=lambda each: each.group_id):
        is_known = base.group_id in wanted or before.get(pin_key(base)) == _members(base)
        if is_known and base.group_id != group.group_id:
            found[pin_key(base)] = base
    return found


def _is_of_imported(group: SeedGroup, record: GroupRecord) -> bool:
    """Return whether a published group came with evaluations that it cannot be made of again, as they now are."""
    return any(each.imported for each in group.evaluations) and record.settings.members == _members(group)


def _average(
    workspace: Workspace,
    settings: GroupSettings,
    group: SeedGroup,
    references: Mapping[str, SeedGroup],
    resamples: Resamples,
) -> GroupRecord:
    record = find_group(workspace, settings)
    if record is not None:
        return record
    differences = {name: compare_groups(group, each, resamples) for name, each in references.items()}
    return publish_group(workspace, settings, GroupNumbers(score_group(group, resamples), differences))


def make_settings(group: SeedGroup, references: Mapping[str, SeedGroup]) -> GroupSettings:
    """Return the settings of the published group of `group` and of what `find_references` found for it."""
    return GroupSettings(
        group_id=group.group_id,
        label=group.label,
        kind=group.settings.kind,
        cohort=group.settings.cohort,
        split=group.settings.split,
        seeds=group.seeds,
        members=_members(group),
        against={name: _members(reference) for name, reference in references.items()},
        num_resamples=group.settings.probe.num_resamples,
        seed=group.settings.probe.seed,
        control=group.control,
    )


def _members(group: SeedGroup) -> dict[str, str]:
    return {each.eval_id: each.content_sha256 for each in group.evaluations}
