"""A published comparison: by how much one evaluation ranks the same test films better than another.

In: `comparisons/<comparison_id>/{differences.json, manifest.json}`. Out: ComparisonRecord, or what is damaged.
Never: a comparison of which a byte is not as it was published, or a part is missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import MANIFEST, open_artefact, publish, read_unexchanged
from cxrssl.core.durable import hash_settings, write_json
from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.records.damage import Damage, refuse_faults
from cxrssl.records.derived import find_current, list_derived
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.fields import read_fields, write_fields
from cxrssl.records.file import Entry, as_read, list_entries, read_json
from cxrssl.stats.scores import Comparison

KIND = "comparison"
DIFFERENCES = "differences.json"
METHOD = "paired bootstrap over subjects, percentiles of differences, counted"
"""Another way of comparing has another name, so that comparisons are then made again."""
MAX_NAME = 80


@dataclass(frozen=True)
class ComparisonSettings:
    """What was compared with what, and how."""

    eval_id: str
    against_id: str
    """The evaluation that is subtracted."""
    candidate_id: str
    against_candidate_id: str
    eval_sha256: str
    against_sha256: str
    """Of the content of both: an evaluation that was made again is compared again."""
    terms: str
    """On which both were made; see `EvalSettings.terms`."""
    num_resamples: int
    seed: int
    method: str = METHOD

    @classmethod
    def of(cls, a: Evaluation, b: Evaluation) -> ComparisonSettings:
        """Return the settings of comparing `a` with `b`, which are on equal terms."""
        return cls(
            eval_id=a.eval_id,
            against_id=b.eval_id,
            candidate_id=a.settings.candidate_id,
            against_candidate_id=b.settings.candidate_id,
            eval_sha256=a.content_sha256,
            against_sha256=b.content_sha256,
            terms=a.settings.terms,
            num_resamples=a.settings.probe.num_resamples,
            seed=a.settings.probe.seed,
        )

    @property
    def comparison_id(self) -> str:
        """The same for the same two evaluations, whatever they hold."""
        digest = hash_settings([self.eval_id, self.against_id])[:8]
        return f"{self.candidate_id[:MAX_NAME]}-minus-{self.against_candidate_id[:MAX_NAME]}-{digest}"

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


@dataclass(frozen=True)
class ComparisonRecord:
    """A published comparison."""

    comparison_id: str
    settings: ComparisonSettings
    differences: Comparison
    path: Path

    def find_gone(self, eval_ids: Collection[str]) -> Damage | None:
        """Return that an evaluation that it compares is none of `eval_ids`, those of the workspace."""
        gone = [each for each in (self.settings.eval_id, self.settings.against_id) if each not in eval_ids]
        return Damage(KIND, self.comparison_id, f"its evaluation {plain(gone[0], 120)} is gone") if gone else None


def publish_comparison(workspace: Workspace, settings: ComparisonSettings, differences: Comparison) -> ComparisonRecord:
    """Publish a comparison, in the place of an older or damaged one of the same evaluations."""
    path = workspace.comparisons / settings.comparison_id
    with publish(path, KIND, settings.to_dict()) as building:
        write_json(building / DIFFERENCES, differences.to_dict())
    return ComparisonRecord(path.name, settings, read_fields(Comparison, as_read(differences.to_dict()), []), path)


def open_comparison(path: Path) -> ComparisonRecord:
    """Return a published comparison, every byte of it verified. Raises: IntegrityError."""
    return read_unexchanged(path, lambda: _open_comparison(path))


def find_comparison(workspace: Workspace, settings: ComparisonSettings) -> ComparisonRecord | None:
    """Return the published comparison of these settings; None when there is none, or it is damaged.

    Raises: FormatError for one that a newer version made, which nobody may replace.
    """
    return find_current(workspace.comparisons / settings.comparison_id, settings, open_comparison)


def list_comparisons(workspace: Workspace) -> tuple[list[ComparisonRecord], list[Damage]]:
    """Return the comparisons of a workspace by their ids, and those that cannot be used or compare what is gone."""
    paths = [workspace.comparisons / name for name in workspace.comparison_ids()]
    return list_derived(paths, KIND, workspace.eval_ids(), open_comparison)


class ComparisonReader:
    """What is damaged among the comparisons; each is opened again only when one of its files has changed."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._seen: dict[str, tuple[tuple[Entry, ...], ComparisonRecord | Damage]] = {}

    def poll(self) -> list[Damage]:
        """Return the damage as it is now."""
        self._seen = {name: self._look_at(name) for name in self.workspace.comparison_ids()}
        eval_ids = self.workspace.eval_ids()
        found = [each if isinstance(each, Damage) else each.find_gone(eval_ids) for _, each in self._seen.values()]
        return [damage for damage in found if damage is not None]

    def _look_at(self, name: str) -> tuple[tuple[Entry, ...], ComparisonRecord | Damage]:
        path, seen = self.workspace.comparisons / name, self._seen.get(name)
        entries: tuple[Entry, ...] = ()
        with contextlib.suppress(OSError):
            entries = list_entries(path)
        if seen is not None and seen[0] == entries:
            return seen
        try:
            return entries, open_comparison(path)
        except IntegrityError as error:
            return entries, Damage(KIND, name, error.what)


def _open_comparison(path: Path) -> ComparisonRecord:
    artefact = open_artefact(path, KIND)
    faults = [f"does not list {DIFFERENCES}"] if DIFFERENCES not in artefact.manifest["files"] else []
    settings = read_fields(ComparisonSettings, artefact.settings, faults, "settings")
    refuse_faults(MANIFEST, faults, str(path))
    differences = read_fields(Comparison, read_json(path / DIFFERENCES), faults)
    refuse_faults(DIFFERENCES, faults, str(path))
    if not differences.is_counted:
        # An older version did not record on how many subjects they rest; a probe or a report makes them again.
        differences = differences.without_intervals()
    return ComparisonRecord(path.name, settings, differences, path)
