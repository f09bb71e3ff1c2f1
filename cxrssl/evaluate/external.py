"""A frozen encoder that others trained, probed as a run's is.

In: its files, and the list of its training films if there is one. Out: evaluations that say of which files, with which
pixels, and whether it saw the test films. Never: a "no" that rests on a list which names no film of the cohort.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.pretraining import rows_scored
from cxrssl.audit.seen import Pretraining, list_films
from cxrssl.cohort.read import Cohort
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.before import check_findings, check_split
from cxrssl.evaluate.candidate import Candidate, record_candidates
from cxrssl.evaluate.features import architecture_of, extract_features
from cxrssl.evaluate.reading import read_candidate
from cxrssl.evaluate.run import ProbeChoices, evaluate_candidates, list_candidates
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder
from cxrssl.model.external import ExternalChoices, open_external
from cxrssl.records.encoder import EhrInput
from cxrssl.records.eval_settings import CandidateSettings, ProbeSettings
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.external import ExternalSource, SawTest
from cxrssl.records.fields import write_fields
from cxrssl.train.device import Devices, choose_devices
from cxrssl.train.pooled import open_films

FILM_ENDINGS = (".jpg", ".jpeg", ".png", ".dcm", ".dicom")
ID_COLUMNS = ("image_id", "dicom_id", "Image Index", "Path", "filename", "pixel_hash")
"""The last is that of an export of cxrssl: hashes of packed pixels."""


@dataclass(frozen=True)
class SeenList:
    """The films that an external encoder was trained on, as its makers name them."""

    names: frozenset[str]
    """Ids or paths, without the ending of a picture, or hashes of pixels."""
    sha256: str

    def find(self, image_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the places of the ids that it names; an id of several folders is one with all of them."""
        names = {num: {"/".join(_parts(name)[-num:]) for name in self.names} for num in set(map(_count, image_ids))}
        return np.flatnonzero([name_film(each) in names[_count(each)] for each in image_ids])


def probe_external(
    workspace: Workspace,
    external: ExternalChoices,
    seen_path: Path | None,
    cohort_name: str,
    split: str,
    settings: ProbeSettings,
    choices: ProbeChoices,
) -> list[Evaluation]:
    """Evaluate an external encoder on a cohort, with the record and the view beside it.

    Raises: UsageError and DataError for files that are no such encoder, LeakageError when it has seen test films.
    """
    check_split(settings, split)
    seen = read_seen(seen_path) if seen_path else None
    encoder, source = open_external(external)
    cohort, images = open_films(workspace, cohort_name)
    check_findings(cohort)
    scheme, place = split or cohort.default_split, choose_devices(choices.device, choices.num_gpus)
    name = external.path.absolute().name.removesuffix(".safetensors")
    films = (cohort, images, settings.split_name or scheme)
    candidate = external_candidate(workspace, name, encoder, source, films, seen, place)
    candidate = read_candidate(workspace, candidate, choices.reading, images, place)
    candidates = list_candidates(candidate, record_candidates(cohort), cohort, images, choices)
    return evaluate_candidates(workspace, candidates, cohort, images, scheme, settings, choices)


def external_candidate(
    workspace: Workspace,
    name: str,
    encoder: Encoder,
    source: ExternalSource,
    films: tuple[Cohort, ImageStore, str],
    seen: SeenList | None,
    devices: Devices,
) -> Candidate:
    """Return an external encoder as a candidate for a cohort with its packed films and a split."""
    cohort, images, scheme = films
    source, rows = compare_seen(source, cohort, scheme, seen, images.index.pixel_hash)
    architecture = architecture_of(encoder.recipe)
    digest = hash_settings([encoder.weights_sha256, write_fields(architecture), source.seen_sha256])[:8]
    shown = plain(name, 40)
    candidate_id = f"external-{re.sub(r'[^a-z0-9_+.-]+', '-', name.lower())[:40]}-{digest}"
    pretraining = None
    if rows is not None:
        pretraining = Pretraining(
            run_id=candidate_id,
            dataset=cohort.dataset,
            cohort=cohort.name,
            scheme=scheme,
            cohort_sha256=cohort.content_sha256,
            ehr=EhrInput(()),
            films=list_films(cohort, images, rows),
            images=images,
            may_know_labels=True,
        )
    return Candidate(
        candidate_id=candidate_id,
        kind="external",
        label=f"external {shown}, {source.input_px} px, saw the test films: {source.saw_test}",
        settings=CandidateSettings(architecture=architecture, weights_sha256=encoder.weights_sha256, external=source),
        features=lambda: extract_features(workspace, encoder, images, devices),
        pretraining=pretraining,
        encoder=encoder,
    )


def compare_seen(
    source: ExternalSource, cohort: Cohort, scheme: str, seen: SeenList | None, pixel_hash: NDArray[np.bytes_]
) -> tuple[ExternalSource, NDArray[np.int64] | None]:
    """Return the source with whether it saw the test films or subjects, and the rows of the cohort that it saw.

    Without a list, or with one that names no film of the cohort, that is unknown, and there are no rows.
    """
    if seen is None:
        return replace(source, seen_note="there is no list of its training films"), None
    by_pixels = np.flatnonzero(np.isin(pixel_hash.astype(np.str_), list(seen.names)) & (pixel_hash != b""))
    rows = np.union1d(seen.find(cohort.image_id.tolist()), by_pixels)
    said = f"its list has {count_noun(len(seen.names), 'film')}"
    if not len(rows):
        note = f"{said}, none of them of this cohort by its ids"
        return replace(source, seen_sha256=seen.sha256, seen_note=note), None
    test = rows_scored(cohort, scheme)
    is_seen = np.isin(cohort.subject_id[test], cohort.subject_id[rows])
    note = f"{said}, {len(rows):,} of them of this cohort, {int(np.isin(test, rows).sum()):,} test films"
    saw: SawTest = "yes" if is_seen.any() else "no"
    return replace(source, saw_test=saw, seen_sha256=seen.sha256, seen_note=note), rows


def read_seen(path: Path) -> SeenList:
    """Return a list of films: one id or path a line, or a CSV with a column of them. Raises: DataError."""
    try:
        data = path.read_bytes()
        lines = [line for line in csv.reader(data.decode("utf-8-sig").splitlines()) if any(line)]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"the list of training films cannot be read: {plain(error, 120)}", path) from None
    if not lines:
        raise DataError("the list of training films is empty", path, "leave --seen-films out if there is no list")
    column = _find_column(lines, path)
    ids = lines[1:] if column is not None else lines
    names = frozenset(name_film(line[column or 0]) for line in ids if len(line) > (column or 0))
    return SeenList(names, hashlib.sha256(data).hexdigest())


def _find_column(lines: Sequence[Sequence[str]], path: Path) -> int | None:
    """Return the column of ids; None for a list without a header."""
    header = [cell.strip() for cell in lines[0]]
    found = [header.index(name) for name in ID_COLUMNS if name in header]
    if not found and len(header) > 1:
        what = f"the list of training films has no column of ids among {', '.join(plain(c, 40) for c in header[:6])}"
        raise DataError(what, path, f"name it {ID_COLUMNS[0]}, or give one id a line")
    return found[0] if found else None


def name_film(text: str) -> str:
    """Return a film's id or path without the ending of a picture."""
    name = "/".join(_parts(text.strip().replace("\\", "/")))
    ending = PurePath(name).suffix
    return name.removesuffix(ending) if ending.lower() in FILM_ENDINGS else name


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _count(path: str) -> int:
    return len(_parts(path))
