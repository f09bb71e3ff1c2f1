"""Nearest films: test films, drawn by a seed, and the train films whose features are most alike, by one encoder.

In: published features and packed films of this workspace. Out: Plans. Never: without being asked for, as films are of
patients and text may be burnt into them; a film of the subject of the test film beside it.

Suffix letters: N films, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.seed import derive_seed
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.images.corners import Box
from cxrssl.images.store import ImageStore, open_images
from cxrssl.records.eval_settings import EvalSettings
from cxrssl.records.features import ATTENTION, open_features, open_tokens
from cxrssl.report.document import file_stem
from cxrssl.report.figures.featured import find_featured, find_features, find_tests, read_or_leave_out
from cxrssl.report.figures.films import FilmCell, FilmFigure, has_text, lay_over, shrink
from cxrssl.report.figures.plan import Material, Plan, hash_drawn
from cxrssl.report.figures.terms import name_file, name_terms
from cxrssl.stats.metrics import Floats

NUM_FILMS, NUM_NEAR, NUM_LOOKED_AT = 4, 5, 6
HEADS = "Test film", "Nearest films of other train subjects"
LOOKED_AT = "Test films, and below each where its class token looks", ""
NOT_SHARED = "This figure shows films of patients and must not be shared."


@dataclass(frozen=True)
class _Sheet:
    """A figure before its films are read."""

    workspace: Workspace
    settings: EvalSettings
    folder: Path
    """Of the features."""
    title: str

    def collect(self) -> FilmFigure:
        """Return the figure; without a film, and with the reason, where what it needs cannot be read."""
        return read_or_leave_out(self._collect, lambda notes: FilmFigure(self.title, HEADS, (), notes))

    def _collect(self) -> FilmFigure:
        cohort = open_cohort(self.workspace.cohorts / self.settings.cohort)
        images = open_images(self.workspace.images / self.settings.cohort, verify=False)
        features_ND = open_features(self.folder)
        rows = list(find_nearest(features_ND, cohort, images, self.settings))
        shown = sorted({row for query, near in rows for row in (query, *(each for each, _ in near))})
        films = dict(zip(shown, images.read_rows(shown), strict=True))
        boxes = {row: _box_of(images, row) for row in shown}
        marked = sum(has_text(film, boxes[row]) for row, film in films.items())
        cells = tuple(
            (
                FilmCell(shrink(films[query], boxes[query]), _describe(cohort, query)),
                *(
                    FilmCell(shrink(films[row], boxes[row]), (f"cosine {cosine:.2f}", *_describe(cohort, row)))
                    for row, cosine in near
                ),
            )
            for query, near in rows
        )
        seen = f"{marked} of {count_noun(len(films), 'film')}"
        note = (
            f"{NOT_SHARED} Test films are drawn by a seed; below each film what its labels say. Corners are covered: "
            f"{seen} have what looks like burnt-in text there. Text elsewhere is not covered, and not searched for."
        )
        return FilmFigure(self.title, HEADS, cells, (note,))


@dataclass(frozen=True)
class _AttentionSheet:
    """The attention of the class token over the same test films."""

    near: _Sheet
    folder: Path
    title: str

    def collect(self) -> FilmFigure:
        """Return the figure; without a film, and with the reason, where what it needs cannot be read."""
        return read_or_leave_out(self._collect, lambda notes: FilmFigure(self.title, LOOKED_AT, (), notes))

    def _collect(self) -> FilmFigure:
        settings, workspace = self.near.settings, self.near.workspace
        cohort = open_cohort(workspace.cohorts / settings.cohort)
        images = open_images(workspace.images / settings.cohort, verify=False)
        attention_NP = open_tokens(self.folder)
        rows = _draw_tests(find_tests(images.is_packed_N, cohort, settings), settings, NUM_LOOKED_AT)
        copies = [shrink(film, _box_of(images, row)) for row, film in zip(rows, images.read_rows(rows), strict=True)]
        films = tuple(FilmCell(copy, _describe(cohort, row)) for row, copy in zip(rows, copies, strict=True))
        maps = tuple(
            FilmCell(lay_over(copy, attention_NP[row].astype(np.float32)), ())
            for row, copy in zip(rows, copies, strict=True)
        )
        note = (
            f"{NOT_SHARED} Orange: attention of the class token in the last block, mean over heads, as a share of the "
            f"largest of the film; it says where features come from and not what they mean. Corners are covered."
        )
        return FilmFigure(self.title, LOOKED_AT, (films, maps) if rows else (), (note,))


def plan_films(material: Material) -> list[Plan]:
    """Return nearest films for the first trained setup of each table, nothing where films were not asked for."""
    if material.films is None:
        return []
    return [plan for table in material.tables for plan in _plan_table(material.films, table, material)]


def _plan_table(workspace: Workspace, table: Sequence[SeedGroup], material: Material) -> Iterator[Plan]:
    featured = find_featured(workspace, table, material)
    if featured is None:
        return
    settings, content_sha256 = featured.evaluation.settings, featured.evaluation.content_sha256
    title = f"Nearest films by {featured.name}"
    sheet = _Sheet(workspace, settings, featured.folder, title)
    caption = f"{title}, on {name_terms(table)}. {NOT_SHARED}"
    key = hash_drawn(title, caption, content_sha256, featured.folder.name)
    name = file_stem(f"films-{name_file(table)}")
    yield Plan(name, caption, f"{caption} They are not described.", key, sheet.collect)
    looked_at = find_features(workspace, settings, ATTENTION)
    if looked_at is not None:
        title = f"Attention of {featured.name}"
        over = _AttentionSheet(sheet, looked_at, title)
        caption = f"{title}, on {name_terms(table)}. {NOT_SHARED}"
        key = hash_drawn(title, caption, content_sha256, looked_at.name)
        yield Plan(f"{name}-attention", caption, f"{caption} They are not described.", key, over.collect)


def find_nearest(
    features_ND: NDArray[np.float32], cohort: Cohort, images: ImageStore, settings: EvalSettings
) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """Yield rows of test films with the rows of the train films that are nearest to them, and how near they are.

    Nearness is the cosine of features from which the mean of the train films was taken. Films are of other subjects,
    and each subject is there once; with folds, all films of other subjects count as train films.
    """
    is_there_N = images.is_packed_N & np.isfinite(features_ND).all(axis=1)
    tests, trains = (find_tests(is_there_N, cohort, settings, part) for part in ("test", "train"))
    if not len(trains):
        return
    unit_ND = _normalise(features_ND.astype(np.float64), trains)
    for query in _draw_tests(tests, settings, NUM_FILMS):
        cosines = unit_ND[trains] @ unit_ND[query]
        yield query, _take_nearest(cosines, trains, cohort.subject_id, query)


def _draw_tests(tests: NDArray[np.int64], settings: EvalSettings, num: int) -> list[int]:
    """Return some of the films in their order; the first of more are the same."""
    generator = np.random.Generator(np.random.PCG64(derive_seed(settings.probe.seed, 0, "films of a report")))
    drawn: list[int] = np.sort(generator.permutation(tests)[:num]).tolist()
    return drawn


def _normalise(features_ND: Floats, trains: NDArray[Any]) -> Floats:
    centred_ND = features_ND - features_ND[trains].mean(axis=0)
    length_N1 = np.linalg.norm(centred_ND, axis=1, keepdims=True)
    return np.asarray(centred_ND / np.where(length_N1 > 0, length_N1, 1.0))


def _take_nearest(
    cosines: Floats, trains: NDArray[Any], subject_id: NDArray[Any], query: int
) -> list[tuple[int, float]]:
    near: list[tuple[int, float]] = []
    seen = {subject_id[query]}
    for place in np.argsort(-cosines, kind="stable").tolist():
        row = int(trains[place])
        if subject_id[row] not in seen:
            seen.add(subject_id[row])
            near.append((row, float(cosines[place])))
        if len(near) == NUM_NEAR:
            break
    return near


def _box_of(images: ImageStore, row: int) -> Box:
    top, left, height, width = images.box_N4[row].tolist()
    return top, left, height, width


def _describe(cohort: Cohort, row: int) -> tuple[str]:
    """Return what the labels of a film say."""
    names = cohort.finding_names.tolist()
    labels_L = cohort.labels(names)[row] if names else []
    found = ", ".join(plain(name, 40) for name, label in zip(names, labels_L, strict=True) if label == 1)
    return (found or "no finding labelled",)
