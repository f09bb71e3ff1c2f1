"""A published group: what evaluations that differ in the seed alone score on average, and by how much they beat others.

In: `groups/<group_id>/{numbers.json, manifest.json}`. Out: GroupRecord, or what is damaged.
Never: a group of which a byte is not as it was published, or a part is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import MANIFEST, open_artefact, publish, read_unexchanged
from cxrssl.core.durable import write_json
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.records.damage import Damage, refuse_faults
from cxrssl.records.derived import find_current, list_derived
from cxrssl.records.fields import read_fields, write_fields
from cxrssl.records.file import as_read, read_json
from cxrssl.stats.seeds import SeedScores

KIND = "group"
NUMBERS = "numbers.json"
METHOD = "Student's t over seeds and bootstrap over subjects; of one seed percentiles, of scores centred or BCa"
"""Another way of making intervals has another name, so that groups are then made again."""
Members = Mapping[str, str]
"""The content of evaluations, as SHA-256, by their ids."""


@dataclass(frozen=True)
class GroupSettings:
    """Which evaluations were averaged, and what was subtracted."""

    group_id: str
    """The same whichever seeds there are, and the name of the folder."""
    label: str
    kind: str
    cohort: str
    split: str
    seeds: tuple[int, ...]
    members: dict[str, str]
    """See Members: an evaluation that was made again is averaged again."""
    against: dict[str, dict[str, str]]
    """The members of each group that is subtracted, by what it is to this one: untrained, vanilla, or a control."""
    num_resamples: int
    seed: int
    """Of the resamples."""
    control: str | None = None
    method: str = METHOD

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


@dataclass(frozen=True)
class GroupNumbers:
    """numbers.json."""

    scores: SeedScores
    differences: dict[str, SeedScores]
    """To each group that is subtracted, under the names of `GroupSettings.against`."""

    def to_dict(self) -> dict[str, Any]:
        differences = {name: scores.to_dict() for name, scores in self.differences.items()}
        return {"scores": self.scores.to_dict(), "differences": differences}


@dataclass(frozen=True)
class GroupRecord:
    """A published group."""

    settings: GroupSettings
    numbers: GroupNumbers
    path: Path

    def find_gone(self, eval_ids: Collection[str]) -> Damage | None:
        """Return that an evaluation that it averages or subtracts is none of `eval_ids`, those of the workspace."""
        members = [self.settings.members, *self.settings.against.values()]
        gone = [name for each in members for name in each if name not in eval_ids]
        return Damage(KIND, self.path.name, f"its evaluation {plain(gone[0], 120)} is gone") if gone else None


def publish_group(workspace: Workspace, settings: GroupSettings, numbers: GroupNumbers) -> GroupRecord:
    """Publish a group, in the place of an older or damaged one of the same setup."""
    path = workspace.groups / settings.group_id
    with publish(path, KIND, settings.to_dict()) as building:
        write_json(building / NUMBERS, numbers.to_dict())
    return GroupRecord(settings, read_fields(GroupNumbers, as_read(numbers.to_dict()), []), path)


def open_group(path: Path) -> GroupRecord:
    """Return a published group, every byte of it verified. Raises: IntegrityError."""
    return read_unexchanged(path, lambda: _open_group(path))


def find_group(workspace: Workspace, settings: GroupSettings) -> GroupRecord | None:
    """Return the published group of these settings; None when there is none, or it is damaged.

    Raises: FormatError for one that a newer version made, which nobody may replace.
    """
    return find_current(workspace.groups / settings.group_id, settings, open_group)


def list_groups(workspace: Workspace) -> tuple[list[GroupRecord], list[Damage]]:
    """Return the groups of a workspace by their ids, and those that cannot be used or average what is gone."""
    paths = [workspace.groups / name for name in workspace.group_ids()]
    return list_derived(paths, KIND, workspace.eval_ids(), open_group)


def _open_group(path: Path) -> GroupRecord:
    artefact = open_artefact(path, KIND)
    faults = [f"does not list {NUMBERS}"] if NUMBERS not in artefact.manifest["files"] else []
    settings = read_fields(GroupSettings, artefact.settings, faults, "settings")
    refuse_faults(MANIFEST, faults, str(path))
    numbers = read_fields(GroupNumbers, read_json(path / NUMBERS), faults)
    refuse_faults(NUMBERS, faults, str(path))
    return GroupRecord(settings, numbers, path)
