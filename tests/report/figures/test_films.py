"""Nearest films: other subjects, corners covered, and nothing where films were not asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from cxrssl.cohort.read import Cohort
from cxrssl.core.workspace import Workspace
from cxrssl.images.corners import list_corners
from cxrssl.images.store import ImageStore
from cxrssl.records.eval_settings import EvalSettings, ProbeSettings
from cxrssl.report import pictures
from cxrssl.report.figures.draw import draw_figure
from cxrssl.report.figures.films import (
    OVERLAY,
    FilmCell,
    FilmFigure,
    has_text,
    lay_over,
    shrink,
)
from cxrssl.report.figures.plan import Material, Plan
from cxrssl.report.figures.plan_films import NUM_FILMS, NUM_NEAR, find_nearest, plan_films
from cxrssl.report.write import write_report
from tests.hostile import hostile_texts
from tests.report.figures.svg import check_layout, parse, texts_of
from tests.report.test_report import make_evaluation

WHOLE = (0, 0, 100, 100)


def settings(split: str) -> EvalSettings:
    return cast(EvalSettings, SimpleNamespace(split=split, probe=ProbeSettings()))


def cohort(subjects: Any, splits: Any) -> Cohort:
    return cast(Cohort, SimpleNamespace(subject_id=np.array(subjects), split_of=lambda _: np.array(splits)))


def images(is_packed: Any) -> ImageStore:
    return cast(ImageStore, SimpleNamespace(is_packed_N=np.array(is_packed)))


def test_nearest_are_films_of_other_train_subjects_one_each_by_their_cosine() -> None:
    """Row 0 is the test film; 1 is of its subject, 2 is not packed, 3 and 4 are of one subject, 6 is of val."""
    subjects, splits = ["a", "a", "b", "c", "c", "d", "e"], ["test", *["train"] * 5, "val"]
    features = np.array([[3, 0], [3, 0], [3, 0], [2, 1], [2, 0.1], [-3, 0.5], [3, 0]], np.float32)
    packed = images([True, True, False, True, True, True, True])
    ((query, near),) = find_nearest(features, cohort(subjects, splits), packed, settings("official"))
    assert query == 0
    assert [row for row, _ in near] == [4, 5]
    centred = features - features[[1, 3, 4, 5]].mean(axis=0)
    wanted = centred[0] @ centred[4] / np.linalg.norm(centred[0]) / np.linalg.norm(centred[4])
    assert near[0][1] == pytest.approx(wanted)


def test_with_folds_all_other_subjects_count_and_the_drawn_films_are_the_same_again() -> None:
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    subjects = np.arange(40) // 2
    found = [list(find_nearest(features, cohort(subjects, []), images([True] * 40), settings("5-folds"))) for _ in "ab"]
    assert found[0] == found[1]
    assert len(found[0]) == NUM_FILMS
    for query, near in found[0]:
        assert len(near) == NUM_NEAR
        assert len({subjects[query], *(subjects[row] for row, _ in near)}) == NUM_NEAR + 1
        assert [cosine for _, cosine in near] == sorted((cosine for _, cosine in near), reverse=True)


def test_films_without_features_have_no_part() -> None:
    features = np.full((4, 2), np.nan, np.float32)
    assert (
        list(find_nearest(features, cohort("abcd", ["test", *["train"] * 3]), images([True] * 4), settings("x"))) == []
    )


def test_copies_are_means_and_small_films_stay() -> None:
    film = np.zeros((200, 200), np.uint8)
    film[100:, :] = 100
    copy = shrink(film, (0, 0, 200, 200), 50)
    assert copy.shape == (50, 50)
    assert copy[30, 25] == 100
    assert copy[20, 25] == 0
    assert shrink(film[:40, :40], (0, 0, 40, 40), 50).shape == (40, 40)


def test_strokes_in_a_corner_are_text_and_light_corners_are_none() -> None:
    dark = np.full((100, 100), 30, np.uint8)
    assert not has_text(dark, WHOLE)
    written = dark.copy()
    written[5:12, 10] = written[5:12, 14] = written[8, 10:15] = 250  # an H
    assert has_text(written, WHOLE)
    middle = dark.copy()
    middle[50:57, 50] = 250
    assert not has_text(middle, WHOLE)
    light = np.full((100, 100), 230, np.uint8)
    assert not has_text(light, WHOLE)
    half = dark.copy()
    half[:, :60] = 240
    assert not has_text(half, WHOLE)


def test_corners_of_a_tiny_film_are_a_pixel() -> None:
    assert {(rows.start, columns.start) for rows, columns in list_corners((0, 0, 2, 2))} == {
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
    }


@pytest.mark.parametrize("num", [0, 1, 4])
def test_nothing_overlaps_or_is_cut_whatever_the_labels(num: int) -> None:
    texts = hostile_texts(24, 11)
    pixels = np.zeros((112, 112), np.uint8)
    rows = tuple(
        tuple(FilmCell(pixels, (f"cosine 0.9{k}", texts[6 * row + k] + ", Edema" * 9)) for k in range(6))
        for row in range(num)
    )
    svg = draw_figure(
        FilmFigure("Nearest films by MSN", ("Test film", "Nearest films"), rows, ("A note. " * 40,)), "films", ["svg"]
    )["svg"]
    parse(svg)
    check_layout(svg)
    assert texts_of(svg)[0] == "Nearest films by MSN"


def test_attention_is_laid_over_the_film_as_a_share_of_its_largest() -> None:
    copy = np.full((4, 4), 100, np.uint8)
    mixed = lay_over(copy, np.array([0.0, 0.1, 0.05, 0.2], np.float32))
    assert mixed.shape == (4, 4, 3)
    assert (mixed[:2, :2] == 60).all()
    assert (mixed[2:, 2:] == OVERLAY).all()
    assert (mixed[:2, 2:] == [145, 110, 30]).all()
    assert (lay_over(copy, np.zeros(4, np.float32)) == 60).all()


@pytest.mark.parametrize("shows_films", [False, True])
def test_a_report_gives_films_to_figures_only_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shows_films: bool
) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "run")
    given: list[Material] = []

    def plan(material: Material) -> list[Plan]:
        given.append(material)
        return []

    monkeypatch.setattr(pictures, "plan_figures", plan)
    folder = write_report(workspace, has_figures=True, shows_films=shows_films).folder
    assert given[0].films == (workspace if shows_films else None)
    settings = json.loads((folder / "manifest.json").read_text())["settings"]
    assert settings.get("shows_films", False) is shows_films


def test_films_are_not_planned_unless_they_were_asked_for(tmp_path: Any) -> None:
    material = Material([], {}, {}, (), "hide")
    assert plan_films(material) == []
    assert plan_films(replace(material, films=Workspace(tmp_path))) == []
