"""What is evaluated, and how: the settings of a published evaluation, and the labels that tables give its candidate.

In: a manifest. Out: EvalSettings, equal for evaluations that are the same. Never: a setting that changes numbers and is
not among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cxrssl.core.config import setting
from cxrssl.core.errors import UsageError
from cxrssl.records.encoder import EncoderName
from cxrssl.records.external import ExternalSource
from cxrssl.records.features import Architecture
from cxrssl.records.fields import write_fields
from cxrssl.records.reading import parse_reading

MIN_FOLDS, MAX_FOLDS = 3, 20
FOLDS_SUFFIX = "-folds"
TRANSDUCTIVE = ", transductive"
"""At the end of the label of a candidate whose pretraining saw films that folds score."""
SELECTED_ON_TEST = ", selected on test"
"""At the end of the label of an encoder whose head, or weights, were chosen by the films that are scored."""
CARRIED_LABEL = ", probe of "
"""In the label of a candidate whose probe was fitted on another cohort."""
POOLED = ", pretrained on "
"""In the label of a run on several cohorts, before their names."""
STARTED = ", from "
"""In the label of a run that did not start from weights that were drawn, before their name."""
EXTENDED = ", extended ("
"""In the label of a run that extends another one, before its schedule."""
ANCHOR_PREFIX = "anchor-"
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
    extends: str | None = None
    """The run that it continues in full, in the same way."""
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

    def of_scored(self, what: str) -> str:
        """Return `leak` or `transductive` as it is said: films that folds score are no test films."""
        return re.sub(r"\btest (films?|subjects?)\b", r"\1", what) if self.probe.folds else what

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


def label_run(objective: str, names: str, encoder: EncoderName = "target") -> str:
    """Return how tables call the encoder of a run: its objective, "anchor" where it is that one, " + sex, view"."""
    shown = objective if encoder == "target" else f"{objective} {encoder}"
    return f"{shown} + {names}" if names else shown


def label_cohorts(names: Sequence[str]) -> str:
    """Return what follows in the label of a run on several cohorts."""
    return f"{POOLED}{', '.join(names)}" if len(names) > 1 else ""


def label_start(name: str, unlisted: Sequence[str]) -> str:
    """Return what follows in the label of a run that started from other weights; `unlisted` have unknown films."""
    seen = f"; {', '.join(unlisted)} saw the test films: unknown" if unlisted else ""
    return f"{STARTED}{name}{seen}"


def label_extended(schedule: str) -> str:
    """Return what follows in the label of a run that extends another one, without a seed."""
    return f"{EXTENDED}{schedule})"


def objective_of(settings: EvalSettings) -> str:
    """Return the objective in the label of a run, with which encoder it is where that is not the target."""
    shown = settings.label.removesuffix(SELECTED_ON_TEST).removesuffix(TRANSDUCTIVE)
    for ending in (CARRIED_LABEL, STARTED, EXTENDED, POOLED, " + "):
        shown = shown.partition(ending)[0]
    return shown


def kind_rank(kind: str) -> int:
    """Return the place of a kind of candidate in tables; one that is not known comes last."""
    return next((place for place, known in enumerate(KIND_ORDER) if known == kind), len(KIND_ORDER))
