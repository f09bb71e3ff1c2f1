"""A published learning curve: how well a candidate ranks the test films when a share of the train subjects is labelled.

In: `learning/<curve_id>/{numbers.json, manifest.json}`. Out: CurveRecord; None where it is missing, damaged or older.
Never: a curve of which an evaluation was made again since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cxrssl.core.artefact import open_artefact, publish, read_unexchanged
from cxrssl.core.durable import write_json
from cxrssl.core.errors import FormatError, IntegrityError
from cxrssl.core.workspace import Workspace
from cxrssl.records.damage import refuse_faults
from cxrssl.records.fields import read_fields, write_fields
from cxrssl.records.file import as_read, read_json
from cxrssl.stats.seeds import SeedScores

KIND = "learning curve"
NUMBERS = "numbers.json"
METHOD = "Student's t over draws and bootstrap over subjects; of one draw, percentiles of the bootstrap"


@dataclass(frozen=True)
class CurveSettings:
    """Which evaluations are the points of a curve."""

    curve_id: str
    members: dict[str, dict[str, str]]
    """By the share of the labels, as "0.05", the content of its evaluations by their ids, in the order of draws."""
    method: str = METHOD

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


@dataclass(frozen=True)
class CurveNumbers:
    """numbers.json."""

    findings: tuple[str, ...]
    """Those that every draw could fit: the macro means are over these."""
    points: dict[str, SeedScores]
    """By the share of the labels means over draws, of which each stands in the place of a seed."""

    def to_dict(self) -> dict[str, Any]:
        return {"findings": list(self.findings), "points": {key: each.to_dict() for key, each in self.points.items()}}


def find_curve(workspace: Workspace, settings: CurveSettings) -> CurveNumbers | None:
    """Return the published numbers of a curve of these settings.

    Raises: FormatError for one that a newer version made, which nobody may replace.
    """
    path = workspace.learning / settings.curve_id

    def read() -> CurveNumbers | None:
        artefact = open_artefact(path, KIND)
        if artefact.settings != settings.to_dict():
            return None
        faults: list[str] = []
        numbers = read_fields(CurveNumbers, read_json(path / NUMBERS), faults)
        refuse_faults(NUMBERS, faults, str(path))
        return numbers

    try:
        return read_unexchanged(path, read)
    except FormatError:
        raise
    except IntegrityError:
        return None


def publish_curve(workspace: Workspace, settings: CurveSettings, numbers: CurveNumbers) -> CurveNumbers:
    """Publish the numbers of a curve, in the place of older ones, and return them."""
    with publish(workspace.learning / settings.curve_id, KIND, settings.to_dict()) as building:
        write_json(building / NUMBERS, numbers.to_dict())
    return read_fields(CurveNumbers, as_read(numbers.to_dict()), [])
