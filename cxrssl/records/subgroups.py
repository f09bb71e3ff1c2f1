"""subgroups.json of an evaluation: its scores by sex, age band, view, race and insurance. For its owner alone: small
groups are in it, which `cxrssl report` leaves out.

In: scores of groups. Out: JSON, and from it the same scores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.records.damage import refuse_faults
from cxrssl.records.fields import read_fields
from cxrssl.records.file import read_json
from cxrssl.stats.subgroups import SubgroupScore

SUBGROUPS = "subgroups.json"


@dataclass(frozen=True)
class Subgroup:
    """The test films of one group, such as those of women."""

    attribute: str
    """A feature of the record: sex, age, view, race or insurance."""
    group: str
    """One of its words, or an age band."""
    scores: tuple[SubgroupScore, ...]
    """The mean over findings, then each finding."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "scores": [score.to_dict() for score in self.scores]}


@dataclass(frozen=True)
class Subgroups:
    """All groups of an evaluation."""

    groups: tuple[Subgroup, ...]


def write_subgroups(groups: Sequence[Subgroup]) -> dict[str, bytes]:
    """Return subgroups.json by its name; nothing without a group."""
    values = {"groups": [group.to_dict() for group in groups]}
    text = json.dumps(values, indent=1, sort_keys=True, allow_nan=False)
    return {SUBGROUPS: text.encode()} if groups else {}


def read_subgroups(path: Path) -> tuple[Subgroup, ...]:
    """Return the groups of subgroups.json. Raises: IntegrityError."""
    faults: list[str] = []
    found = read_fields(Subgroups, read_json(path), faults)
    refuse_faults(SUBGROUPS, faults, str(path.parent))
    return found.groups
