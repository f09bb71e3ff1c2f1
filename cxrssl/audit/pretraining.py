"""What a run has seen, held against the test films of a cohort. Numpy and stdlib only.

In: a published encoder's manifest and its list of films, an open cohort. Out: results.
Never: a comparison that was not made and is not said.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Result, found, passed, skipped
from cxrssl.audit.looks import find_near
from cxrssl.audit.values import revealing_features
from cxrssl.cohort.features import FEATURE_NAMES, find_feature
from cxrssl.cohort.read import Cohort
from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.images.fingerprint import PIXEL_HASH_DTYPE
from cxrssl.images.store import ImageStore, open_images

ENCODER_KIND = "encoder"
FILMS_FILE = "films.csv"
COLUMNS = ("image_id", "subject_id", "pixel_hash")
GIVES_AWAY = {"care_unit": "icu"}
"""Feature -> another one that it tells, beside the forms that features declare of each other."""
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SeenFilms:
    """The films that shaped an encoder, by id, by person and by their pixels."""

    image_id: NDArray[np.str_]
    subject_id: NDArray[np.str_]
    pixel_hash: NDArray[np.bytes_]
    """Of the packed pixels; empty where it is not known."""

    def to_csv(self) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        columns = (self.image_id, self.subject_id, self.pixel_hash.astype(np.str_))
        writer.writerows(zip(*(column.tolist() for column in columns), strict=True))
        return text.getvalue().encode()


@dataclass(frozen=True, eq=False)
class Pretraining:
    """What an encoder was shown."""

    run_id: str
    dataset: str
    cohort: str
    scheme: str
    """The split whose train films it was shown."""
    cohort_sha256: str
    ehr: dict[str, Any]
    """The recipe's section on the health record."""
    films: SeenFilms
    images: ImageStore | None = None
    """The packed films of its cohort, where they are at hand; row for row those of its cohort."""

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(self.ehr["features"])


def list_films(cohort: Cohort, images: ImageStore | None, rows: Rows) -> SeenFilms:
    """Return these rows of a cohort as a list of films; without packed films their hashes are empty."""
    pixels = images.index.pixel_hash[rows] if images is not None else np.zeros(len(rows), PIXEL_HASH_DTYPE)
    return SeenFilms(cohort.image_id[rows], cohort.subject_id[rows], pixels)


def read_pretraining(workspace: Workspace, run_id: str) -> Pretraining:
    """Return what a finished run was shown.

    Raises: IntegrityError when its encoder is damaged or the list of films cannot be read.
    """
    encoder = workspace.runs / run_id / "encoder"
    settings = open_artefact(encoder, ENCODER_KIND).settings
    return Pretraining(
        run_id=run_id,
        dataset=str(settings["dataset"]),
        cohort=str(settings["cohort"]),
        scheme=str(settings["split"]),
        cohort_sha256=str(settings["cohort_sha256"]),
        ehr=dict(settings["recipe"]["ehr"]),
        films=_read_films(encoder / FILMS_FILE),
        images=_open_packed(workspace, str(settings["cohort"])),
    )


def audit_pretraining(
    run: Pretraining, cohort: Cohort, images: ImageStore | None, scheme: str, targets: Sequence[str] = ()
) -> list[Result]:
    """Return what makes the test films of a cohort worthless for a run.

    `targets` are findings, or features that are to be predicted; none named means all findings of the cohort.
    """
    targets = targets or cohort.finding_names.tolist()
    return [
        *audit_films(run, cohort, images, scheme),
        audit_outcomes(run.ehr),
        audit_imputation(run.ehr),
        _find_targets(run.features, targets),
        _find_revealing(run.features, cohort, scheme, targets),
    ]


def audit_films(run: Pretraining, cohort: Cohort, images: ImageStore | None, scheme: str) -> list[Result]:
    """Return which test films of a cohort a run has seen: by id, by person, by look."""
    test = cohort.rows_of("test", scheme)
    return [*_find_seen(run, cohort, test), *_find_look_alikes(run, cohort, images, test)]


def audit_outcomes(ehr: dict[str, Any]) -> Result:
    """Return whether an outcome went in that nobody asked for."""
    code, names = "outcome-undeclared", list(ehr["features"])
    compared = count_noun(len(names), "pretraining feature")
    outcomes = [name for name in names if name in FEATURE_NAMES and find_feature(name).role == "outcome"]
    if not outcomes or ehr.get("may_use_outcomes", True):
        return passed(code, compared)
    return found(code, compared, f"{', '.join(outcomes)}, known after the film, was a pretraining input unsaid")


def audit_imputation(ehr: dict[str, Any]) -> Result:
    """Return whether unknown values were guessed from all splits, as the published code does."""
    code, names = "imputed-with-test-rows", list(ehr["features"])
    compared = count_noun(len(names), "pretraining feature")
    if not names or ehr.get("missing") != "paper":
        return passed(code, compared)
    return found(code, compared, "unknown values were imputed from the rows of all splits (missing = paper)")


def _find_seen(run: Pretraining, cohort: Cohort, test: Rows) -> list[Result]:
    """Compare by id, within one dataset: test films, then test subjects who were seen on other films."""
    compared = f"{count_noun(len(test), 'test film')} with {count_noun(len(run.films.image_id), 'pretraining film')}"
    codes = ("pretrained-on-test-film", "pretrained-on-test-subject")
    if run.dataset != cohort.dataset:
        return [passed(code, f"{compared}, of two datasets") for code in codes]
    is_seen = np.isin(cohort.image_id[test], run.films.image_id)
    seen_subjects = np.unique(cohort.subject_id[test[is_seen]])
    is_known = np.isin(cohort.subject_id[test], run.films.subject_id)
    is_known &= ~np.isin(cohort.subject_id[test], seen_subjects)
    known_subjects = np.unique(cohort.subject_id[test[is_known]])
    films = (
        f"{count_noun(int(is_seen.sum()), 'test film')} ({count_noun(len(seen_subjects), 'test subject')}) "
        f"of cohort {cohort.name} took part in pretraining"
    )
    subjects = f"{count_noun(len(known_subjects), 'test subject')} of cohort {cohort.name} took part in pretraining"
    return [
        found(code, compared, what, test[chosen].tolist()) if chosen.any() else passed(code, compared)
        for code, what, chosen in zip(codes, (films, subjects), (is_seen, is_known), strict=True)
    ]


def _find_look_alikes(run: Pretraining, cohort: Cohort, images: ImageStore | None, test: Rows) -> list[Result]:
    """Compare by pixels; films of a test subject who is named by id already are not named again."""
    identical, near = "pretrained-on-identical-film", "pretrained-on-near-film"
    if images is None:
        return [skipped(identical, "the test films are not packed"), skipped(near, "the test films are not packed")]
    test = test[images.is_packed_N[test]]
    if run.dataset == cohort.dataset:
        test = test[~np.isin(cohort.subject_id[test], run.films.subject_id)]
    compared = f"{count_noun(len(test), 'test film')} with {count_noun(len(run.films.image_id), 'pretraining film')}"
    seen_pixels = run.films.pixel_hash[run.films.pixel_hash != b""]
    equal = test[np.isin(images.index.pixel_hash[test], seen_pixels)]
    what = f"{count_noun(len(equal), 'test film')} of cohort {cohort.name} took part in pretraining under another id"
    results = [found(identical, compared, what, equal.tolist()) if len(equal) else passed(identical, compared)]
    if run.images is None:
        return [*results, skipped(near, f"the packed films of cohort {run.cohort} are not here")]
    seen = np.flatnonzero(np.isin(run.images.image_id, run.films.image_id) & run.images.is_packed_N)
    alike = np.setdiff1d(find_near(run.images, seen, images, test).second, equal)
    what = f"{count_noun(len(alike), 'test film')} of cohort {cohort.name} looks like a pretraining film"
    return [*results, found(near, compared, what, alike.tolist()) if len(alike) else passed(near, compared)]


def _find_targets(features: Sequence[str], targets: Sequence[str]) -> Result:
    code = "target-was-input"
    compared = f"{count_noun(len(features), 'pretraining feature')} with {count_noun(len(targets), 'target')}"
    fed = {_quantity(name) for name in features}
    told = [target for target in targets if _quantity(target) in fed]
    if not told:
        return passed(code, compared)
    return found(code, compared, f"{', '.join(plain(name, 60) for name in told)} was a pretraining input")


def _find_revealing(features: Sequence[str], cohort: Cohort, scheme: str, targets: Sequence[str]) -> Result:
    code = "feature-reveals-target"
    compared = f"{count_noun(len(features), 'pretraining feature')} with {count_noun(len(targets), 'target')}"
    told = revealing_features(cohort, features, scheme, targets)
    return found(code, compared, "; ".join(told), severity="refuse") if told else passed(code, compared)


def _quantity(name: str) -> str:
    """Return what a feature or a finding is about, under one name for all its forms."""
    if name.casefold() not in FEATURE_NAMES:
        return name
    return find_feature(name.casefold()).form_of or GIVES_AWAY.get(name.casefold(), name.casefold())


def _read_films(path: Path) -> SeenFilms:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        if tuple(header) != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
            raise ValueError("its columns are not " + ", ".join(COLUMNS))
    except (OSError, ValueError, csv.Error) as error:
        raise IntegrityError(f"{FILMS_FILE} cannot be read: {plain(error, 120)}", path, "pretrain again") from None
    image_id, subject_id, pixel_hash = (np.array([line[k] for line in lines], np.str_) for k in range(len(COLUMNS)))
    return SeenFilms(image_id, subject_id, pixel_hash.astype(PIXEL_HASH_DTYPE))


def _open_packed(workspace: Workspace, cohort: str) -> ImageStore | None:
    """Return the packed films of a cohort, None where they are not at hand."""
    try:
        return open_images(workspace.images / cohort, verify=False)
    except IntegrityError:
        return None
