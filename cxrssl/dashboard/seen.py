"""One packed film with what is known of it: its record, its labels, what a probe predicted.

In: a cohort, its packed films, an evaluation. Out: FilmDetail. Never: an id, unless it is asked for; the corners, where
text is burnt in, are part of the pixels and are covered by who draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import find_feature
from cxrssl.cohort.read import BLANK, UNCERTAIN, Cohort
from cxrssl.core.errors import CxrsslError
from cxrssl.core.filmnote import say_notes
from cxrssl.images.index import INDEX
from cxrssl.images.store import ImageStore, open_images
from cxrssl.records.evaluation import Evaluation

VALUES = {1: "present", 0: "absent", UNCERTAIN: "uncertain", BLANK: "blank"}
NUM_NEAREST = 3
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Label:
    """A finding of a film."""

    finding: str
    value: str
    score: float | None = None
    """What a probe predicted, as a decision value; None where it did not score this film."""
    rank: float | None = None
    """Share of the scored films that were given a lower one."""


@dataclass(frozen=True, eq=False)
class FilmDetail:
    """A film."""

    cohort: str = ""
    row: int = 0
    num_films: int = 0
    pixels: Pixels | None = None
    """[S, S], with black beside the film where it is no square."""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Where the film lies in it: top, left, height, width."""
    split: str = ""
    about: tuple[tuple[str, str], ...] = ()
    """View, link and features with their values."""
    sources: tuple[tuple[str, str], ...] = ()
    """Features of which something is known, with the table that says it."""
    ids: tuple[tuple[str, str], ...] = ()
    """Shown only while a key is held."""
    labels: tuple[Label, ...] = ()
    predicted_by: str = ""
    nearest: tuple[tuple[int, int], ...] = ()
    """Rows of the films whose coarse looks differ least, with the number of bits of 64 in which they do."""
    notes: str = ""
    run_id: str = ""
    """The run whose views of this film are shown; "" where no run is of this cohort."""
    epoch: int = 0
    """That this run is in."""
    problem: str = ""
    is_reading: bool = False


class Pack:
    """Packed films, opened again only when they were packed anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key: object = None
        self._read: ImageStore | str = ""

    def poll(self) -> ImageStore | str:
        """Return the films, or why they cannot be read."""
        try:
            info = (self.path / INDEX).stat()
        except OSError:
            return "its films are not packed: cxrssl ingest packs them"
        key = (info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_size)
        if key != self._key:
            try:
                self._read = open_images(self.path, verify=False)
            except CxrsslError as error:
                self._read = error.what
            self._key = key
        return self._read


def describe_film(
    cohort: Cohort, images: ImageStore, row: int, evaluation: Evaluation | None, predicted_by: str
) -> FilmDetail:
    """Return the film of this row of a cohort; one beyond the ends is that at the other end."""
    row %= max(len(cohort), 1)
    known: dict[str, Any] = {"cohort": cohort.name, "row": row, "num_films": len(cohort)}
    if images.cohort_sha256 != cohort.content_sha256:
        return FilmDetail(**known, problem="its films were packed for an older state: cxrssl ingest packs them again")
    is_packed = bool(images.is_packed_N[row])
    pixels = images.read_rows([row])[0] if is_packed else None
    labels, is_scored = _labels(cohort, row, evaluation)
    return FilmDetail(
        **known,
        pixels=pixels,
        box=_box(images, row),
        split=str(cohort.split_of()[row]) if cohort.default_split in cohort.schemes else "",
        about=tuple(_about(cohort, images, row)),
        sources=tuple((name, _source_of(find_feature(name), cohort)) for name in _known_names(cohort, row)),
        ids=tuple((name, str(getattr(cohort, name)[row])) for name in ("image_id", "study_id", "subject_id", "path")),
        labels=labels,
        predicted_by=predicted_by if is_scored else "",
        nearest=_nearest(images, row) if is_packed else (),
        notes=say_notes(int(images.index.note[row])),
        problem="" if is_packed else "this film is not packed: rejects.csv of the pack says why",
    )


def _box(images: ImageStore, row: int) -> tuple[int, int, int, int]:
    top, left, height, width = images.box_N4[row].tolist()
    return top, left, height, width


def _about(cohort: Cohort, images: ImageStore, row: int) -> list[tuple[str, str]]:
    rows, columns = images.source_px_N2[row].tolist()
    about = [("view", str(cohort.view[row]) or "unknown"), ("file", f"{rows} x {columns} px")]
    if cohort.link:
        gap = float(cohort.gap_h[row])
        when = f", {gap:+.1f} h" if np.isfinite(gap) else ""
        about.append(("link", (str(cohort.link_status[row]) or "none") + when))
    aged = [name for name in cohort.names if find_feature(name).has_age]
    for at, name in enumerate(cohort.names):
        feature = find_feature(name)
        if name == "view" or feature.form_of:
            continue
        value = _say_value(feature, float(cohort.ehr_values[row, at])) if cohort.ehr_known[row, at] else "unknown"
        if cohort.ehr_age_h is not None and name in aged:
            value += _say_age(float(cohort.ehr_age_h[row, aged.index(name)]))
        about.append((name, value))
    return about


def _known_names(cohort: Cohort, row: int) -> list[str]:
    return [name for name, is_known in zip(cohort.names, cohort.ehr_known[row].tolist(), strict=True) if is_known]


def _source_of(feature: Feature, cohort: Cohort) -> str:
    """Return where a feature is from, and that it is an outcome if it is one."""
    if feature.measured is not None:
        tables = [*(source.table for source in feature.measured.sources), *feature.measured.count_of]
        source = ", ".join(dict.fromkeys(tables))
    elif feature.source.startswith("image.") or not cohort.link:
        source = f"films of {cohort.dataset}"
    else:
        source = feature.source or ("the stay" if feature.rule else "patient")
    return f"{source}, outcome" if feature.role == "outcome" else source


def _say_value(feature: Feature, value: float) -> str:
    """Return the category of a value, or a number as it is."""
    names = feature.categories
    return names[int(value)] if names and 0 <= value < len(names) else f"{value:g}"


def _say_age(age_h: float) -> str:
    return f", {age_h:.1f} h before the film" if np.isfinite(age_h) else ""


def _labels(cohort: Cohort, row: int, evaluation: Evaluation | None) -> tuple[tuple[Label, ...], bool]:
    scores: dict[str, tuple[float, float]] = {}
    if evaluation is not None:
        predicted = evaluation.predictions()
        (at,) = np.nonzero(predicted.image_id == cohort.image_id[row])
        if len(at):
            for column, finding in enumerate(predicted.finding_names.tolist()):
                values = predicted.logits[:, column]
                score = float(values[at[0]])
                scores[finding] = score, float((values < score).mean())
    names = cohort.finding_names.tolist()
    labels = tuple(
        Label(name, VALUES.get(int(cohort.label_values[row, at]), "unknown"), *scores.get(name, (None, None)))
        for at, name in enumerate(names)
    )
    return labels, bool(scores)


def _nearest(images: ImageStore, row: int) -> tuple[tuple[int, int], ...]:
    """Return the films whose perceptual hashes differ least from that of one."""
    hashes = images.index.phash
    differs = np.bitwise_count(hashes ^ hashes[row]).astype(np.int64)
    differs[~images.is_packed_N] = 65
    differs[row] = 65
    order = np.argsort(differs, kind="stable")[:NUM_NEAREST]
    return tuple((int(at), int(differs[at])) for at in order if differs[at] <= 64)
