"""A published evaluation: a candidate's features probed on a cohort, and its scores on every test film.

In: `evals/<eval_id>/{predictions.npz, probe.npz or folds.npz, scores.json, manifest.json}`. Out: Evaluation, or what is
damaged.
Never: an evaluation of which a byte is not as it was published, or a part is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.artefact import MANIFEST, open_artefact, publish, read_unexchanged
from cxrssl.core.config import build_settings, setting
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.errors import ConfigError, DataError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.records.arrays import FoldFit, Predictions, ProbeFit, check_arrays, pack_arrays, read_arrays
from cxrssl.records.cohorts import describe_gone, find_datasets
from cxrssl.records.damage import Damage, refuse_faults
from cxrssl.records.derived import list_derived
from cxrssl.records.encoder import EncoderName
from cxrssl.records.external import ExternalSource
from cxrssl.records.features import Architecture
from cxrssl.records.fields import read_fields, write_fields
from cxrssl.records.file import read_json
from cxrssl.records.imported import HERE, Imported
from cxrssl.records.reading import parse_reading
from cxrssl.records.scores import EvalScores as EvalScores
from cxrssl.records.subgroups import SUBGROUPS, Subgroup, read_subgroups

KIND = "evaluation"
PREDICTIONS, FIT, FOLD_FIT, SCORES = "predictions.npz", "probe.npz", "folds.npz", "scores.json"
MIN_FOLDS, MAX_FOLDS = 3, 20
FOLDS_SUFFIX = "-folds"
TRANSDUCTIVE = ", transductive"
"""At the end of the label of a candidate whose pretraining saw films that folds score."""
SELECTED_ON_TEST = ", selected on test"
"""At the end of the label of an encoder whose head, or weights, were chosen by the films that are scored."""
CARRIED_LABEL = ", probe of "
"""In the label of a candidate whose probe was fitted on another cohort."""
STARTED = ", from "
"""In the label of a run that did not start from weights that were drawn, before their name."""
ANCHOR_PREFIX = "anchor-"
NOT_SCORED = -1
"""A label that does not count."""
CandidateKind = Literal["run", "head", "external", "joined", "random-init", "pixels", "ehr-only", "view-only"]
KIND_ORDER: tuple[CandidateKind, ...] = (
    "run", "head", "external", "joined", "random-init", "pixels", "ehr-only", "view-only",
)  # fmt: skip
PIXELS: CandidateKind = "pixels"
JOINED: CandidateKind = "joined"
HEAD: CandidateKind = "head"
HEAD_PREFIX = "head-of-"
"""Before the id of a run whose own head scores films, in place of a probe."""
JOINED_WITH = "-with-"
"""Between the id of an encoder and the features of the record that are joined to its own."""


@dataclass(frozen=True)
class ProbeSettings:
    """Everything about a probe that changes its numbers."""

    uncertain: Literal["ignore", "zeros", "ones"] = setting("ignore", options=("ignore", "zeros", "ones"))
    """What a label of -1 counts as."""
    blank: Literal["zeros", "ignore"] = setting("zeros", options=("zeros", "ignore"))
    """What a label that is not mentioned counts as."""
    num_resamples: int = setting(1000, low=10, high=100_000)
    seed: int = setting(0, low=0, high=2**31)
    """Of the resamples and of the folds."""
    folds: int = setting(0, low=0, high=MAX_FOLDS)
    """Score every film of the cohort, by a probe that was fitted on the other folds; 0 scores the test films."""
    findings: tuple[str, ...] | None = None
    """What is asked, in the order of the cohort; None asks for all that it has."""
    uncertain_by: tuple[str, ...] | None = None
    """Where a finding has a policy of its own for a label of -1: "Edema=ones"."""
    where: str | None = None
    """A condition in SQL on the films that are fitted on, chosen on and scored."""
    where_sha256: str | None = None
    """Of the films of the cohort that meet it."""
    fraction: float | None = setting(None, low=0.0, high=1.0)
    """Share of the train subjects whose films are fitted on; None fits on all."""
    draw: int | None = setting(None, low=0)
    """Which draw of them."""
    thresholds: tuple[str, ...] | None = None
    """Rules by which thresholds are fitted on val films; None for `stats.thresholds.DEFAULT_RULES`."""
    protocol: str | None = None
    """By whose protocol films are shown to encoders and heads trained; None for our own probe."""
    protocol_sha256: str | None = None
    """Of all that the protocol says and that changes numbers."""
    selected_on: str | None = setting(None, options=("val", "test"))
    """Films by which the protocol chooses a head."""
    drop_batch: int | None = setting(None, low=1)
    """The last val and test films that do not fill a batch of this many are left out."""

    @property
    def is_whole(self) -> bool:
        """Whether our probe asks for all findings of all films, with all labels: what a flow and a run's row show."""
        is_ours = self.protocol is None and self.fraction is None
        return is_ours and self.findings is None and self.where is None

    @property
    def asked(self) -> str:
        """What is asked, where that is not all findings of all films with all labels, in words; else empty."""
        parts = []
        if self.protocol is not None:
            parts.append(f"protocol {self.protocol}, selected on {self.selected_on}")
        if self.findings is not None:
            parts.append(f"findings {', '.join(self.findings)}")
        if self.where is not None:
            parts.append(f"films where {self.where}")
        if self.fraction is not None:
            parts.append(f"{100 * self.fraction:g} % of the train subjects, draw {self.draw}")
        return "; ".join(parts)

    @property
    def uncertain_text(self) -> str:
        """What a label of -1 counts as: "zeros, but Edema=ones"."""
        return ", ".join([self.uncertain, *(f"but {each}" for each in self.uncertain_by or ())])

    @property
    def split_name(self) -> str:
        """What stands in the place of a split where there are folds: "5-folds"; else empty."""
        return f"{self.folds}{FOLDS_SUFFIX}" if self.folds else ""


def is_of_folds(split: str) -> bool:
    """Return whether the split of an evaluation is one of folds, under which every film is scored."""
    return split.endswith(FOLDS_SUFFIX) and split.removesuffix(FOLDS_SUFFIX).isdecimal()


def check_folds(num_folds: int) -> None:
    """Raise UsageError for a number of folds that leaves nothing to fit on, or to choose the strength on."""
    if num_folds and not MIN_FOLDS <= num_folds <= MAX_FOLDS:
        what = f"--folds is {num_folds}: one fold is scored, one chooses the strength, and the others are fitted on"
        raise UsageError(what, hint=f"choose {MIN_FOLDS} to {MAX_FOLDS}, or 0 for the split")


@dataclass(frozen=True)
class CandidateSettings:
    """What decides the features of a candidate; None is left out of what is published."""

    features: tuple[str, ...] | None = None
    """Of the health record: pretraining inputs of a run, all that a record baseline sees, or what is joined."""
    missing: str | None = None
    """How unknown values entered pretraining; empty without any of the record."""
    num_epochs: int | None = None
    architecture: Architecture | None = None
    weights_sha256: str | None = None
    setup_sha256: str | None = None
    """Equal for runs that differ in nothing but the record: those may be compared."""
    encoder: EncoderName | None = None
    """Which encoder of a run, where it is not the target."""
    chosen_by: Literal["folds of train"] | None = None
    """What chooses the strength of its probe, where that is not val."""
    external: ExternalSource | None = None
    """Of an encoder that others trained."""
    read: str | None = None
    """What is read of an encoder where that is not its class token; see `records.reading`."""
    start: str | None = None
    """What a run started from: its name and the beginning of the SHA-256 of its weights."""
    taught_before: tuple[str, ...] | None = None
    """All features of the record that shaped a run, where some did so before it, in what it started from."""
    unlisted: tuple[str, ...] | None = None
    """Names of what a run descends from whose training films are unknown."""

    head_sha256: str | None = None
    """Of a run's own layer for findings, where that is what scores films."""

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


@dataclass(frozen=True)
class Carried:
    """Where a probe was fitted that is applied unchanged to another cohort."""

    cohort: str
    split: str
    cohort_sha256: str
    terms_sha256: str
    """Of the terms of the evaluation that fitted it."""

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


@dataclass(frozen=True)
class EvalSettings:
    """What was scored on what, and how."""

    candidate_id: str
    """A run_id, one after "anchor-" for a run's anchor encoder, or the name of a baseline."""
    kind: str
    """One of KIND_ORDER, or one that only a newer version knows."""
    label: str
    """How tables call the candidate, such as "record alone: sex, age"."""
    candidate: CandidateSettings
    is_outcome_used: bool
    cohort: str
    split: str
    cohort_sha256: str
    images_sha256: str
    probe: ProbeSettings
    leak: str = ""
    """What the candidate has seen of the test films, in words; every report repeats it."""
    transductive: str = ""
    """Which films that folds score took part in pretraining without their labels, in words; every report says so."""
    dataset: str = ""
    link: str = ""
    """How films were linked to stays, in words; empty where the dataset has none."""
    protocol_version: int = 0
    carried: Carried | None = None
    """Where the probe was fitted, if not on this cohort."""

    @property
    def run_id(self) -> str:
        """The run whose encoder it is, also where the record is joined to it; empty for a baseline."""
        if self.kind not in ("run", HEAD, JOINED) or self.candidate.external:
            return ""
        name = self.encoder_id.removeprefix(HEAD_PREFIX if self.kind == HEAD else "")
        name = name.rpartition(JOINED_WITH)[0] if self.kind == JOINED else name
        return name.removeprefix(ANCHOR_PREFIX) if self.candidate.encoder else name

    @property
    def encoder_id(self) -> str:
        """The candidate, whatever is read of its encoder."""
        read = self.candidate.read
        return self.candidate_id.removeprefix(f"{parse_reading(read).slug}-") if read else self.candidate_id

    @property
    def features(self) -> tuple[str, ...]:
        return self.candidate.features or ()

    @property
    def taught(self) -> tuple[str, ...]:
        """All features of the record that shaped it, also before its own run."""
        return self.candidate.taught_before or self.features

    @property
    def terms(self) -> str:
        """Equal for evaluations that may be compared: same films, labels, split and way of probing."""
        films = self.cohort, self.split, self.cohort_sha256, self.images_sha256
        kept = (*films, write_fields(self.probe), self.protocol_version)
        return json.dumps([*kept, self.carried.to_dict()] if self.carried else kept, sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


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


def label_run(objective: str, names: str, encoder: EncoderName = "target") -> str:
    """Return how tables call the encoder of a run: its objective, "anchor" where it is that one, " + sex, view"."""
    shown = objective if encoder == "target" else f"{objective} {encoder}"
    return f"{shown} + {names}" if names else shown


def label_start(name: str, unlisted: Sequence[str]) -> str:
    """Return what follows in the label of a run that started from other weights; `unlisted` have unknown films."""
    seen = f"; {', '.join(unlisted)} saw the test films: unknown" if unlisted else ""
    return f"{STARTED}{name}{seen}"


def objective_of(settings: EvalSettings) -> str:
    """Return the objective in the label of a run, with which encoder it is where that is not the target."""
    shown = settings.label.removesuffix(SELECTED_ON_TEST).removesuffix(TRANSDUCTIVE)
    return shown.partition(CARRIED_LABEL)[0].partition(STARTED)[0].partition(" + ")[0]


def describe_strengths(evaluations: Sequence[Evaluation]) -> str:
    """Return which probe strengths the rows of a table have, in a sentence; empty where none was recorded."""
    texts = dict.fromkeys(each.scores.strength_text for each in evaluations)
    shown = ", ".join(text for text in texts if text)
    return f"Probe strength C of a row, one for all findings by mean val AUROC: {shown}." if shown else ""


def kind_rank(kind: str) -> int:
    """Return the place of a kind of candidate in tables; one that is not known comes last."""
    return next((place for place, known in enumerate(KIND_ORDER) if known == kind), len(KIND_ORDER))


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
