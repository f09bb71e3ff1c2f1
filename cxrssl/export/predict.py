"""A fitted probe applied to films that are no part of a cohort, or to all films of one: a table of scores.

In: a workspace, a run or an evaluation, a folder of films or a cohort. Out: a CSV or Parquet file, a row a film.
Never: a film without a row, a probability from an encoder or films other than those that the probe was fitted on, or an
id of the dataset where the user did not ask for it.

Suffix letters: N films, L findings.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.durable import renamed_os_errors, write_bytes
from cxrssl.core.errors import DataError
from cxrssl.core.text import csv_text
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import open_run
from cxrssl.evaluate.features import architecture_of, extract_features, extract_tokens
from cxrssl.evaluate.fitted import clip_logits
from cxrssl.evaluate.taken import open_reading
from cxrssl.export.chosen import Chosen, PredictChoices
from cxrssl.export.films import open_cohort_films, pack_folder
from cxrssl.model.encoder import Encoder
from cxrssl.model.external import ExternalChoices, open_external
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.fitted import (
    Calibrations,
    Fitted,
    FittedPatches,
    Thresholds,
    find_calibrations,
    find_thresholds,
)
from cxrssl.stats.calibration import sigmoid
from cxrssl.stats.metrics import Floats
from cxrssl.train.device import choose_device

Columns = dict[str, NDArray[np.str_] | Floats]


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


def predict_films(
    workspace: Workspace, chosen: Chosen, choices: PredictChoices, external: ExternalChoices | None = None
) -> Predicted:
    """Write log odds and probabilities of every fitted finding for every film, and what val films made of them.

    Columns: `film` (file name) or `image_id` and `subject_id`, `fault`, and of each finding its logit, its probability,
    its calibrated probability (Platt), and yes or no by each threshold; the last two where val films allowed it.
    Raises: DataError when the encoder is not there, or no film can be decoded.
    """
    evaluation, fitted, dest = chosen.evaluation, chosen.fitted, chosen.dest
    encoder, (reading, probe) = _open_encoder(workspace, evaluation, fitted, external), open_reading(evaluation)
    extract = extract_tokens if reading.pooling else extract_features
    with tempfile.TemporaryDirectory(prefix=".predict-", dir=workspace.root) as scratch:
        if choices.folder is None:
            films, kept = open_cohort_films(workspace, choices.cohort, fitted.about.pack, choices.ids), workspace
        else:
            films, kept = (
                pack_folder(choices.folder, fitted.about.pack, Path(scratch), choices.num_workers),
                Workspace(Path(scratch)),
            )
        features: Any = extract(kept, encoder, films.images, choose_device(choices.device), reading)
        is_scored_N = films.images.is_packed_N
        logits_NL = np.full((len(is_scored_N), len(fitted.weights.finding_names)), np.nan)
        logits_NL[is_scored_N] = clip_logits(probe.predict_logits(features[np.flatnonzero(is_scored_N)]))
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


def _open_encoder(
    workspace: Workspace, evaluation: Evaluation, fitted: Fitted | FittedPatches, external: ExternalChoices | None
) -> Encoder:
    """Return the encoder whose features the probe reads. Raises: DataError when it is not there."""
    settings = evaluation.settings
    if external is not None:
        encoder, _ = open_external(external)
        if (encoder.weights_sha256, architecture_of(encoder.recipe)) != (
            fitted.about.weights_sha256,
            fitted.about.architecture,
        ):
            what = "this encoder is another one than the probe was fitted on, or its pixels are"
            raise DataError(what, external.path, "name the files and the options that it was probed with")
        return encoder
    _, encoder = open_run(workspace, settings.run_id, settings.candidate.encoder or "target")
    if encoder.weights_sha256 != fitted.about.weights_sha256:
        what = f"the encoder of run {settings.run_id} is another one than the probe was fitted on"
        raise DataError(what, evaluation.path, f"fit it again: cxrssl probe {settings.run_id}")
    return encoder


def _score_columns(
    fitted: Fitted | FittedPatches, logits_NL: Floats, thresholds: Thresholds | None, calibrations: Calibrations | None
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
