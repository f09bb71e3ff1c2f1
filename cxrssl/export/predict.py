"""A fitted probe applied to films that are no part of a cohort, or to all films of one: a table of scores.

In: a workspace, a run or an evaluation, a folder of films or a cohort. Out: a CSV or Parquet file, a row a film.
Never: a film without a row, a probability from an encoder or films other than those that the probe was fitted on, or an
id of the dataset where the user did not ask for it.

Suffix letters: N films, L findings.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.walk import Place, scan
from cxrssl.core.durable import renamed_os_errors, write_bytes
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.place import check_place
from cxrssl.core.text import csv_text, plain, shell_word
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import open_run
from cxrssl.evaluate.features import extract_features
from cxrssl.evaluate.fitted import clip_logits, to_probe
from cxrssl.export.embed import Ids, name_all
from cxrssl.images.decode import Choices
from cxrssl.images.index import read_rejects
from cxrssl.images.pack import pack_images
from cxrssl.images.store import ImageStore, open_images
from cxrssl.model.encoder import Encoder
from cxrssl.records.encoder import open_record
from cxrssl.records.eval_settings import HEAD
from cxrssl.records.evaluation import Evaluation, open_evaluation
from cxrssl.records.fitted import (
    CLASS_TOKEN,
    Calibrations,
    Fitted,
    Pack,
    Thresholds,
    find_calibrations,
    find_thresholds,
    has_fitted,
    open_fitted,
    read_pack,
)
from cxrssl.records.run import RunFiles
from cxrssl.stats.calibration import sigmoid
from cxrssl.stats.metrics import Floats
from cxrssl.train.device import choose_device
from cxrssl.train.plan import open_films

SUFFIXES = (".csv", ".parquet")
Columns = dict[str, NDArray[np.str_] | Floats]


@dataclass(frozen=True)
class PredictChoices:
    """What is predicted, and where it is written."""

    folder: Path | None = None
    """Of films; None for a cohort."""
    cohort: str = ""
    out: Path | None = None
    ids: Ids = "pseudonyms"
    """Of a cohort's films; those of a folder have their file names."""
    device: str = "auto"
    may_replace: bool = False
    num_workers: int = 0


@dataclass(frozen=True)
class Predicted:
    """What `predict_films` returns."""

    path: Path
    eval_id: str
    num_films: int
    findings: tuple[str, ...]
    faults: dict[str, str] = field(default_factory=dict)
    """By the name of a film without scores: why it could not be decoded."""
    without_points: dict[str, str] = field(default_factory=dict)
    """By finding: why there is no threshold."""
    without_map: dict[str, str] = field(default_factory=dict)
    """By finding: why there is no calibrated probability."""

    @property
    def counts(self) -> dict[str, int]:
        """Fault -> films that have it."""
        return dict(Counter(self.faults.values()).most_common())


@dataclass(frozen=True, eq=False)
class _Films:
    """Films that are scored, with a row for each that cannot be."""

    ids: dict[str, NDArray[np.str_]]
    images: ImageStore
    faults: dict[int, str]
    """Row -> why it has no scores."""


def predict_films(workspace: Workspace, name: str, choices: PredictChoices) -> Predicted:
    """Write log odds and probabilities of every fitted finding for every film, and what val films made of them.

    Columns: `film` (file name) or `image_id` and `subject_id`, `fault`, and of each finding its logit, its probability,
    its calibrated probability (Platt), and yes or no by each threshold; the last two where val films allowed it.
    Raises: UsageError for a wrong place, DataError when there is no such probe, or no film can be decoded.
    """
    evaluation = find_evaluation(workspace, name)
    fitted = open_fitted(evaluation)
    dest = _find_place(workspace, evaluation, choices)
    encoder = _open_encoder(workspace, evaluation, fitted)
    with tempfile.TemporaryDirectory(prefix=".predict-", dir=workspace.root) as scratch:
        if choices.folder is None:
            films, kept = _open_cohort(workspace, fitted.about.pack, choices), workspace
        else:
            films, kept = _pack_folder(choices, fitted.about.pack, Path(scratch)), Workspace(Path(scratch))
        features_ND = extract_features(kept, encoder, films.images, choose_device(choices.device))
        is_scored_N = films.images.is_packed_N
        logits_NL = np.full((len(is_scored_N), len(fitted.weights.finding_names)), np.nan)
        logits_NL[is_scored_N] = clip_logits(to_probe(fitted).predict_logits(features_ND[is_scored_N]))
    thresholds, calibrations = find_thresholds(evaluation), find_calibrations(evaluation)
    fault_N = np.array([films.faults.get(row, "") for row in range(len(is_scored_N))], np.str_)
    columns = films.ids | {"fault": fault_N} | _score_columns(fitted, logits_NL, thresholds, calibrations)
    with renamed_os_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(dest, _pack(dest.suffix, columns))
    shown = next(iter(films.ids.values()))
    points = thresholds.findings if thresholds else {}
    maps = calibrations.findings if calibrations else {}
    names = fitted.finding_names
    return Predicted(
        path=dest,
        eval_id=evaluation.eval_id,
        num_films=len(is_scored_N),
        findings=tuple(names),
        faults={str(shown[row]): fault for row, fault in films.faults.items()},
        without_points={each: points[each].why_none for each in names if each in points and points[each].why_none},
        without_map={each: maps[each].why_none for each in names if each in maps and maps[each].why_none},
    )


def find_evaluation(workspace: Workspace, name: str) -> Evaluation:
    """Return the evaluation of this id, or that of a run: the one with a fitted probe, on its own cohort if on several.

    Raises: UsageError when there are several, or neither; DataError when a run has no fitted probe.
    """
    if name in workspace.eval_ids():
        return open_evaluation(workspace.evals / name)
    run_id = workspace.find_run(name).name
    found = [
        open_evaluation(workspace.evals / each) for each in workspace.eval_ids() if each.startswith(f"{run_id}-on-")
    ]
    found = [each for each in found if each.settings.candidate_id == run_id]
    if not found:
        raise DataError(f"run {run_id} has not been probed", workspace.evals, f"fit a probe: cxrssl probe {run_id}")
    usable = [each for each in found if has_fitted(each)]
    usable = [each for each in usable if each.settings.probe.is_whole] or usable
    if len(usable) > 1:
        cohort = open_record(RunFiles(workspace.runs / run_id).encoder).origin.cohort
        own = [each for each in usable if each.settings.cohort == cohort]
        usable = own or usable
    if len(usable) > 1:
        hint = "name one of them: " + ", ".join(each.eval_id for each in usable)
        raise UsageError(f"run {run_id} has {len(usable)} fitted probes", hint=hint)
    return usable[0] if usable else found[0]


def _open_encoder(workspace: Workspace, evaluation: Evaluation, fitted: Fitted) -> Encoder:
    """Return the encoder whose features the probe reads. Raises: DataError when it is not there."""
    settings = evaluation.settings
    if settings.kind not in ("run", HEAD) or fitted.about.reads != CLASS_TOKEN:
        what = f"this probe reads {plain(settings.label, 120)}, and only the class token of a run is made of new films"
        raise DataError(what, evaluation.path, "name a run, or an evaluation of one")
    _, encoder = open_run(workspace, settings.run_id, settings.candidate.encoder or "target")
    if encoder.weights_sha256 != fitted.about.weights_sha256:
        what = f"the encoder of run {settings.run_id} is another one than the probe was fitted on"
        raise DataError(what, evaluation.path, f"fit it again: cxrssl probe {settings.run_id}")
    return encoder


def _find_place(workspace: Workspace, evaluation: Evaluation, choices: PredictChoices) -> Path:
    """Return the file that will be written. Raises: UsageError."""
    if choices.out is not None and choices.out.suffix not in SUFFIXES:
        what = f'the ending of the file says its format, and "{plain(choices.out.suffix, 20)}" is none'
        raise UsageError(what, choices.out, f"--out {shell_word(choices.out.with_suffix('.csv'))}, or .parquet")
    if choices.folder is not None and not choices.folder.is_dir():
        raise UsageError("there is no such folder of films", choices.folder, "check the path")
    source = choices.cohort if choices.folder is None else choices.folder.resolve().name
    shown = re.sub(r"[^A-Za-z0-9_+.-]+", "-", source)[:60]
    own = workspace.exports / f"{evaluation.settings.candidate_id}-predicts-{shown}.csv"
    dest = (choices.out or own).absolute()
    root = choices.folder or open_cohort(workspace.find_cohort(choices.cohort), verify=False).root
    check_place(workspace, dest, root)
    if dest.exists() and not choices.may_replace:
        raise UsageError("the file is there already", dest, "replace it with --force, or use another --out")
    return dest


def _open_cohort(workspace: Workspace, pack: Pack, choices: PredictChoices) -> _Films:
    """Return the films of a cohort. Raises: DataError when they are packed in another way."""
    cohort, images = open_films(workspace, choices.cohort)
    packed = read_pack(images.path)
    if packed.size_px != pack.size_px:
        what = (
            f"the films of cohort {cohort.name} are packed at {packed.size_px} px, those of the probe at {pack.size_px}"
        )
        raise DataError(what, images.path, f"pack them again: cxrssl ingest with --size {pack.size_px}")
    rules = {reject.image_id: reject.rule for reject in read_rejects(images.path)}
    absent = np.flatnonzero(~images.is_packed_N).tolist()
    faults = {row: rules.get(str(cohort.image_id[row]), "not packed") for row in absent}
    own = cohort.image_id, cohort.subject_id
    named = own if choices.ids == "dataset" else name_all(cohort, *own)
    return _Films(dict(zip(("image_id", "subject_id"), named, strict=True)), images, faults)


def _pack_folder(choices: PredictChoices, pack: Pack, scratch: Path) -> _Films:
    """Return the films of a folder, packed as those of the probe were. Raises: DataError when there is none."""
    folder = choices.folder
    assert folder is not None, "a folder of films"
    paths = list(_list_files(Place(str(folder)), ""))
    if not paths:
        raise DataError("the folder holds no file", folder, "name a folder of PNG, JPEG or DICOM films")
    how = Choices(pack.by_shape, pack.png_bits)
    packed = pack_images(
        scratch / "images",
        folder,
        paths,
        paths,
        size_px=pack.size_px,
        cohort_sha256="",
        num_workers=choices.num_workers,
        choices=how,
    )
    row_of = {path: row for row, path in enumerate(paths)}
    faults = {row_of[reject.image_id]: reject.rule for reject in packed.rejects}
    return _Films({"film": np.array(paths, np.str_)}, open_images(scratch / "images", verify=False), faults)


def _list_files(place: Place, prefix: str) -> Iterator[str]:
    """Yield the paths of all files under a folder, relative to it, without hidden ones, in order of their names."""
    found = scan(place)
    for name in sorted((*found.files, *found.folders, *found.lost)):
        if name.startswith("."):
            continue
        if name in found.folders:
            yield from _list_files(found.folders[name], f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}"


def _score_columns(
    fitted: Fitted, logits_NL: Floats, thresholds: Thresholds | None, calibrations: Calibrations | None
) -> Columns:
    columns: Columns = {}
    names = fitted.weights.finding_names.tolist()
    for column in np.flatnonzero(fitted.weights.is_fitted_L).tolist():
        name, logits_N = str(names[column]), logits_NL[:, column]
        columns |= {f"{name} logit": logits_N, f"{name} probability": sigmoid(logits_N)}
        kept = calibrations.findings.get(name) if calibrations else None
        if kept is not None and kept.platt is not None:
            columns[f"{name} calibrated"] = kept.platt.apply(logits_N)
        points = thresholds.findings.get(name) if thresholds else None
        for rule, point in points.points.items() if points else ():
            words = np.where(logits_N >= point.threshold_logit, "yes", "no")
            columns[f"{name} {rule}"] = np.where(np.isnan(logits_N), "", words)
    return columns


def _pack(suffix: str, columns: Columns) -> bytes:
    """Return the bytes of the file; in CSV a score that is not there is an empty cell, in Parquet NaN."""
    if suffix == ".csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([csv_text(name) for name in columns])
        writer.writerows(zip(*(_cells(values.tolist()) for values in columns.values()), strict=True))
        return buffer.getvalue().encode()
    from cxrssl.db import write_columns  # CSV needs no polars

    with tempfile.TemporaryDirectory(prefix="cxrssl-") as folder:
        write_columns(columns, Path(folder) / "scores.parquet")
        return (Path(folder) / "scores.parquet").read_bytes()


def _cells(values: Sequence[str | float]) -> list[str | float]:
    return [csv_text(each) if isinstance(each, str) else "" if each != each else each for each in values]
