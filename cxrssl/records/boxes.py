"""boxes.json of an evaluation: how much of what a probe of patches sees lies in the boxes that radiologists drew.

In: scores by finding. Out: JSON, and from it the same scores.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cxrssl.records.damage import refuse_faults
from cxrssl.records.fields import read_fields
from cxrssl.records.file import read_json
from cxrssl.stats.resample import Interval

BOXES = "boxes.json"


@dataclass(frozen=True)
class BoxScore:
    """Films with a box of one finding."""

    finding: str
    """Empty for the films of all findings together."""
    num_films: int
    """A film counts in the means once for each finding that it has a box of."""
    num_subjects: int
    share: Interval
    """Mean share of the positive patch scores that lies in the box."""
    area: float
    """Mean share of the film that the box takes up: what patches chosen by chance would give."""
    share_minus_area: Interval
    pointing: Interval
    """Share of the films whose highest patch has its centre in the box: the pointing game."""
    pointing_minus_area: Interval

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        values = {**asdict(self)}
        return values | {name: each.to_dict() for name, each in vars(self).items() if isinstance(each, Interval)}


@dataclass(frozen=True)
class BoxScores:
    """boxes.json."""

    file: str
    """The list of boxes."""
    sha256: str
    scores: tuple[BoxScore, ...]
    """Of all findings first, then each; none where no scored film has a box."""
    num_unread: int = 0
    """Lines of the list that hold no box."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "scores": [each.to_dict() for each in self.scores]}

    def to_files(self) -> dict[str, bytes]:
        """Return boxes.json by its name."""
        return {BOXES: (json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n").encode()}


def find_box_scores(folder: Path) -> BoxScores | None:
    """Return the scores of an evaluation's folder, None where there are none. Raises: IntegrityError."""
    if not (folder / BOXES).is_file():
        return None
    faults: list[str] = []
    found = read_fields(BoxScores, read_json(folder / BOXES), faults)
    refuse_faults(BOXES, faults, str(folder))
    return found
