"""What an evaluation keeps to be used elsewhere: the fitted probe, its thresholds and its calibration.

In: `evals/<eval_id>/{fitted.npz or patches.npz, fitted.json, thresholds.json, calibration.json}`. Out: Fitted,
Thresholds, Calibrations. Never: a probe of which it is not known what it reads.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from cxrssl.core.errors import DataError
from cxrssl.core.numbers import encode_numbers
from cxrssl.records.arrays import PatchWeights, Weights, check_arrays, pack_arrays, read_arrays
from cxrssl.records.damage import refuse_faults
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.features import Architecture
from cxrssl.records.fields import read_fields
from cxrssl.records.file import read_json
from cxrssl.records.packing import Pack
from cxrssl.stats.calibration import Calibration, Isotonic, Platt
from cxrssl.stats.resample import Interval
from cxrssl.stats.thresholds import Decisions

WEIGHTS, ABOUT, THRESHOLDS, CALIBRATION = "fitted.npz", "fitted.json", "thresholds.json", "calibration.json"
SOURCE, PATCHES = "carried.json", "patches.npz"
CLASS_TOKEN, RECORD = "class token", "record"
Record = TypeVar("Record")


@dataclass(frozen=True)
class FittedAbout:
    """fitted.json: what a probe reads, and what it was fitted on."""

    strength: float
    """Inverse L2 strength of all findings; not defined where none is fitted."""
    reads: str
    """Which features: "class token" after the final norm of the encoder, "pixels" of a thumbnail, "record", or the
    first and the last joined by a comma."""
    weights_sha256: str
    """Of the encoder; empty without one."""
    uncertain: str
    """What a label of -1 counted as: "zeros, but Edema=ones"."""
    blank: str
    """What a label that is not mentioned counted as."""
    cohort: str
    dataset: str
    split: str
    pack: Pack
    architecture: Architecture | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted probe of one row of features a film."""

    weights: Weights
    about: FittedAbout

    @property
    def finding_names(self) -> list[str]:
        """Those that have a probe."""
        return _list_fitted(self.weights)


@dataclass(frozen=True, eq=False)
class FittedPatches:
    """A fitted probe that sees patches."""

    weights: PatchWeights
    about: FittedAbout

    @property
    def finding_names(self) -> list[str]:
        """Those that have a probe."""
        return _list_fitted(self.weights)


def _list_fitted(weights: Weights | PatchWeights) -> list[str]:
    return [str(name) for name in weights.finding_names[weights.is_fitted_L]]


@dataclass(frozen=True)
class Point:
    """One threshold: where it was fitted, what it reached there, and what it decides on the test films."""

    threshold: float
    """A film is called positive from here on; a probability."""
    threshold_logit: float
    val_sensitivity: float
    """Each subject counted once."""
    val_specificity: float
    test: Decisions | None = None


@dataclass(frozen=True)
class FindingPoints:
    """The thresholds of a finding by their rules."""

    val_pos_subjects: int
    val_neg_subjects: int
    points: dict[str, Point] = field(default_factory=dict)
    why_none: str = ""
    """Why there is no threshold, in words."""


@dataclass(frozen=True)
class Thresholds:
    """thresholds.json."""

    fitted_on: str
    """Cohort and split of the val films."""
    rules: tuple[str, ...]
    findings: dict[str, FindingPoints]


@dataclass(frozen=True)
class FindingCalibration:
    """How true the probabilities of a finding are on the test films, as fitted and after each map."""

    raw: Calibration | None = None
    """As the probe gives them."""
    platt: Platt | None = None
    """Fitted on the val films of the probe."""
    isotonic: Isotonic | None = None
    after_platt: Calibration | None = None
    after_isotonic: Calibration | None = None
    there_platt: Platt | None = None
    """Of a carried probe: fitted on the val films of the cohort that it was carried to."""
    after_there: Calibration | None = None
    why_none: str = ""
    """Why there is no map of the probe's own val films, in words."""


@dataclass(frozen=True)
class Calibrations:
    """calibration.json."""

    fitted_on: str
    """Cohort and split of the val films of the maps."""
    there: str = ""
    """The same of the maps fitted where a probe was carried to."""
    findings: dict[str, FindingCalibration] = field(default_factory=dict)


@dataclass(frozen=True)
class CarriedFrom:
    """carried.json: the evaluation whose probe was applied unchanged."""

    eval_id: str
    content_sha256: str
    findings: dict[str, str]
    """Name in this cohort -> name where the probe was fitted."""
    packed: str | None = None
    """How the films here are packed otherwise than those that the probe was fitted on, in a sentence."""


@dataclass(frozen=True, eq=False)
class FitFiles:
    """What an evaluation keeps of a fit beside the scores: the probe, or where it came from."""

    thresholds: Thresholds
    calibrations: Calibrations
    fitted: Fitted | FittedPatches | None = None
    """None of neighbours, who are people: they are found again in the features."""
    source: CarriedFrom | None = None

    def to_files(self) -> dict[str, bytes]:
        """Return the files by name."""
        files = {THRESHOLDS: _dump(self.thresholds), CALIBRATION: _dump(self.calibrations)}
        if self.fitted is not None:
            name = WEIGHTS if isinstance(self.fitted, Fitted) else PATCHES
            files |= {name: pack_arrays(self.fitted.weights), ABOUT: _dump(self.fitted.about)}
        if self.source is not None:
            files[SOURCE] = _dump(self.source)
        return files


def has_fitted(evaluation: Evaluation) -> bool:
    """Return whether an evaluation recorded its fitted probe; older versions did not, and folds have several."""
    return (evaluation.path / WEIGHTS).is_file()


def open_fitted(evaluation: Evaluation) -> Fitted:
    """Return the fitted probe of an evaluation.

    Raises: DataError when it was not recorded, IntegrityError when it is damaged.
    """
    if not has_fitted(evaluation):
        raise _name_missing(evaluation)
    check_arrays(evaluation.path / WEIGHTS, Weights)
    return Fitted(read_arrays(evaluation.path / WEIGHTS, Weights), _read(evaluation.path / ABOUT, FittedAbout))


def has_patches(evaluation: Evaluation) -> bool:
    """Return whether an evaluation recorded its fitted probe of patches."""
    return (evaluation.path / PATCHES).is_file()


def open_patches(evaluation: Evaluation) -> FittedPatches:
    """Return the fitted probe of patches of an evaluation.

    Raises: DataError when it was not recorded, IntegrityError when it is damaged.
    """
    path = evaluation.path / PATCHES
    if not path.is_file():
        raise _name_missing(evaluation)
    check_arrays(path, PatchWeights)
    return FittedPatches(read_arrays(path, PatchWeights), _read(evaluation.path / ABOUT, FittedAbout))


def open_probe(evaluation: Evaluation) -> Fitted | FittedPatches:
    """Return the fitted probe of an evaluation, of either kind. Raises: DataError, IntegrityError."""
    return open_patches(evaluation) if has_patches(evaluation) else open_fitted(evaluation)


def find_thresholds(evaluation: Evaluation) -> Thresholds | None:
    """Return the thresholds, None where none were recorded. Raises: IntegrityError."""
    path = evaluation.path / THRESHOLDS
    return _read(path, Thresholds) if path.is_file() else None


def find_calibrations(evaluation: Evaluation) -> Calibrations | None:
    """Return how true its probabilities are, None where that was not recorded. Raises: IntegrityError."""
    return _read_calibrations(evaluation.path / CALIBRATION, evaluation.content_sha256)


@functools.lru_cache(maxsize=512)
def _read_calibrations(path: Path, _: str) -> Calibrations | None:
    """Return what a file holds that was just verified; it is large, and a report reads it for tables and figures."""
    return _read(path, Calibrations) if path.is_file() else None


def find_source(evaluation: Evaluation) -> CarriedFrom | None:
    """Return which evaluation fitted the probe, None where it was fitted here. Raises: IntegrityError."""
    path = evaluation.path / SOURCE
    return _read(path, CarriedFrom) if path.is_file() else None


def _name_missing(evaluation: Evaluation) -> DataError:
    settings = evaluation.settings
    if settings.carried:
        what = f"evaluation {evaluation.eval_id} applied the probe of another cohort, {settings.carried.cohort}"
        return DataError(what, evaluation.path, "name the evaluation that fitted it")
    if settings.probe.folds:
        what = f"evaluation {evaluation.eval_id} has a probe for each fold, and none for new films"
        return DataError(what, evaluation.path, f"probe the run on a split: cxrssl probe {settings.run_id}".rstrip())
    what = f"evaluation {evaluation.eval_id} was made by an older version, which did not keep the fitted probe"
    hint = "fit it again: cxrssl probe" + (f" {settings.run_id}" if settings.run_id else "")
    return DataError(what, evaluation.path, f"{hint} --cohort {settings.cohort}")


def _read(path: Path, kind: type[Record]) -> Record:
    faults: list[str] = []
    record = read_fields(kind, read_json(path), faults)
    refuse_faults(path.name, faults, str(path.parent))
    return record


def _dump(record: Any) -> bytes:
    return (json.dumps(_encode(record), indent=1, allow_nan=False) + "\n").encode()


def _encode(value: Any) -> Any:
    """Return a record ready for JSON: None is left out, a number that is not finite is null, intervals are marked."""
    if isinstance(value, Interval):
        return value.to_dict()
    if is_dataclass(value):
        named = {each.name: getattr(value, each.name) for each in fields(value)}
        return {name: _encode(each) for name, each in named.items() if each is not None}
    if isinstance(value, Mapping):
        return {key: _encode(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_encode(each) for each in value]
    return encode_numbers(value, as_null=True)
