"""A published evaluation: a candidate's features probed on a cohort, and its scores on every test film.

In: `evals/<eval_id>/{predictions.npz, probe.npz or folds.npz, scores.json, manifest.json}`. Out: Evaluation, or what is
damaged.
Never: an evaluation of which a byte is not as it was published, or a part is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.artefact import MANIFEST, open_artefact, publish, read_unexchanged
from cxrssl.core.config import build_settings
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.errors import ConfigError, DataError
from cxrssl.core.workspace import Workspace
from cxrssl.records.arrays import FoldFit, Predictions, ProbeFit, check_arrays, pack_arrays, read_arrays
from cxrssl.records.cohorts import describe_gone, find_datasets
from cxrssl.records.damage import Damage, refuse_faults
from cxrssl.records.derived import list_derived
from cxrssl.records.eval_settings import EvalSettings, ProbeSettings
from cxrssl.records.fields import read_fields
from cxrssl.records.file import read_json
from cxrssl.records.imported import HERE, Imported
from cxrssl.records.scores import EvalScores as EvalScores
from cxrssl.records.subgroups import SUBGROUPS, Subgroup, read_subgroups

KIND = "evaluation"
PREDICTIONS, FIT, FOLD_FIT, SCORES = "predictions.npz", "probe.npz", "folds.npz", "scores.json"
NOT_SCORED = -1
"""A label that does not count."""


@dataclass(frozen=True)
class Evaluation:
    """A published evaluation."""

    eval_id: str
    settings: EvalSettings
    scores: EvalScores
    path: Path
    content_sha256: str
    has_fit: bool = False
    """Whether it was recorded what the probe was fitted on."""
    has_folds: bool = False
    """Whether it was recorded which fold each film was scored in."""
    imported: Imported = HERE
    """From which archive it is, if it was not made here: then there are no predictions."""
    was_counted: bool = True
    """Whether it was recorded on how many subjects each number rests; if not, they were counted when it was opened."""

    def find_gone(self, datasets: Mapping[str, str]) -> Damage | None:
        """Return that its cohort is gone, if none of `datasets`, those of the workspace's cohorts by name, is its."""
        if self.imported:
            return None  # its films never were in this workspace
        what = describe_gone(self.settings.cohort, self.settings.dataset, datasets)
        return Damage(KIND, self.eval_id, what) if what else None

    def predictions(self) -> Predictions:
        """Return what was predicted of each test film. Raises: DataError where it was imported, IntegrityError."""
        if self.imported:
            raise DataError("it was imported, and what was predicted of each film stayed where it was made", self.path)
        return read_arrays(self.path / PREDICTIONS, Predictions)

    def fit(self) -> ProbeFit | None:
        """Return what the probe was fitted on, None where that was not recorded. Raises: IntegrityError."""
        return read_arrays(self.path / FIT, ProbeFit) if self.has_fit else None

    def subgroups(self) -> tuple[Subgroup, ...]:
        """Return the scores of groups of people, none where they were not made. Raises: IntegrityError."""
        path = self.path / SUBGROUPS
        return read_subgroups(path) if path.exists() else ()

    def read_more(self) -> dict[str, bytes]:
        """Return the files that it was published with beside its own; see `publish_evaluation`."""
        own = (MANIFEST, PREDICTIONS, FIT, FOLD_FIT, SCORES)
        return {path.name: path.read_bytes() for path in sorted(self.path.iterdir()) if path.name not in own}

    def find_folds(self) -> NDArray[np.int64] | None:
        """Return the fold of each test film, None without folds. Raises: IntegrityError."""
        folds = self.folds()
        return None if folds is None else folds.fold_N

    def folds(self) -> FoldFit | None:
        """Return the fold of each film and what was fitted for it, None without folds. Raises: IntegrityError."""
        return read_arrays(self.path / FOLD_FIT, FoldFit) if self.has_folds else None


def describe_strengths(evaluations: Sequence[Evaluation]) -> str:
    """Return which probe strengths the rows of a table have, in a sentence; empty where none was recorded."""
    texts = dict.fromkeys(each.scores.strength_text for each in evaluations)
    shown = ", ".join(text for text in texts if text)
    return f"Probe strength C of a row, one for all findings by mean val AUROC: {shown}." if shown else ""


def publish_evaluation(
    path: Path,
    settings: EvalSettings,
    scores: EvalScores,
    predictions: Predictions,
    fit: ProbeFit | FoldFit | None,
    more: Mapping[str, bytes] | None = None,
) -> None:
    """Publish an evaluation, with more files by their names; see `records.fitted`."""
    with publish(path, KIND, settings.to_dict()) as building:
        write_bytes(building / PREDICTIONS, pack_arrays(predictions))
        if fit is not None:
            write_bytes(building / (FIT if isinstance(fit, ProbeFit) else FOLD_FIT), pack_arrays(fit))
        write_json(building / SCORES, scores.to_dict())
        for name, data in (more or {}).items():
            write_bytes(building / name, data)


def open_evaluation(path: Path) -> Evaluation:
    """Return a published evaluation, every byte of it verified. Raises: IntegrityError."""
    return read_unexchanged(path, lambda: _open_evaluation(path))


def list_evaluations(workspace: Workspace) -> tuple[list[Evaluation], list[Damage]]:
    """Return the evaluations of a workspace by their ids, and those that cannot be used or whose cohort is gone.

    Those of a share of the labels are points of a curve, and are not among them: see `list_all_evaluations`.
    """
    evaluations, damage = list_all_evaluations(workspace)
    return [each for each in evaluations if each.settings.probe.fraction is None], damage


def list_all_evaluations(workspace: Workspace) -> tuple[list[Evaluation], list[Damage]]:
    """Return the evaluations of a workspace, points of learning curves among them, and those that cannot be used."""
    paths = [workspace.evals / name for name in workspace.eval_ids()]
    return list_derived(paths, KIND, find_datasets(workspace), open_evaluation)


def _open_evaluation(path: Path) -> Evaluation:
    artefact = open_artefact(path, KIND)
    imported = Imported.of(artefact.inputs)
    needed = (SCORES,) if imported else (PREDICTIONS, SCORES)
    faults = [f"does not list {name}" for name in needed if name not in artefact.manifest["files"]]
    settings = read_fields(EvalSettings, artefact.settings, faults, "settings")
    _check_probe(artefact.settings.get("probe"), faults)
    refuse_faults(MANIFEST, faults, str(path))
    scores = read_fields(EvalScores, read_json(path / SCORES), faults)
    refuse_faults(SCORES, faults, str(path))
    if imported:
        return Evaluation(path.name, settings, scores, path, artefact.content_sha256, imported=imported)
    check_arrays(path / PREDICTIONS, Predictions)
    was_counted = scores.is_counted
    if not was_counted:
        scores = scores.count_on(read_arrays(path / PREDICTIONS, Predictions))
    has_fit, has_folds = (name in artefact.manifest["files"] for name in (FIT, FOLD_FIT))
    if has_fit:
        check_arrays(path / FIT, ProbeFit)
    if has_folds:
        check_arrays(path / FOLD_FIT, FoldFit)
    own = path.name, settings, scores, path, artefact.content_sha256, has_fit, has_folds
    return Evaluation(*own, was_counted=was_counted)


def _check_probe(values: Any, faults: list[str]) -> None:
    """Add to `faults` if a setting is out of range, or one that this version does not know: it changes numbers."""
    try:
        build_settings(ProbeSettings, values if isinstance(values, dict) else {}, "probe")
    except ConfigError as error:
        faults.append(f"has settings that cannot be: {error.what}")
