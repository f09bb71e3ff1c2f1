"""Films: every finding shows on the same chest, and only there."""

import dataclasses

import numpy as np
import pytest

from cxrssl.synthetic import RISKS, FilmKey, draw_film

KEY = FilmKey(0, 11, 22, 0, "F", 66, "PA", is_recumbent=False, height=120, width=100)


def test_a_film_is_a_function_of_its_key() -> None:
    first, second = draw_film(KEY, {"Edema": 0.5}), draw_film(KEY, {"Edema": 0.5})
    assert first.dtype == np.uint8
    assert first.shape == (120, 100)
    assert (first == second).all()


@pytest.mark.parametrize("view", ["PA", "AP", "LATERAL"])
@pytest.mark.parametrize("finding", RISKS)
def test_each_finding_changes_the_same_film(finding: str, view: str) -> None:
    key = dataclasses.replace(KEY, view=view, is_recumbent=view == "AP")
    healthy = draw_film(key, {}).astype(int)
    mild, severe = (np.abs(draw_film(key, {finding: sick}) - healthy) for sick in (0.1, 1.0))
    assert (severe > 12).mean() > 0.002
    assert severe.sum() > mild.sum() > 0


def test_adding_a_finding_leaves_the_rest_of_the_film_alone() -> None:
    nodule = draw_film(KEY, {"Lung Lesion": 0.5}).astype(int)
    changed = np.abs(nodule - draw_film(KEY, {})) > 6
    assert 0 < changed.mean() < 0.05


def test_a_bigger_heart_is_wider_on_the_film() -> None:
    row = slice(65, 75)
    widths = [(draw_film(KEY, {"Cardiomegaly": s} if s else {})[row, 10:-10] > 170).mean() for s in (0.0, 0.2, 1.0)]
    assert widths[0] < widths[1] < widths[2]


def test_lungs_are_darker_than_heart_and_the_film_uses_the_grey_range() -> None:
    film = draw_film(KEY, {})
    assert film[48:60, 24:32].mean() + 40 < film[62:74, 50:58].mean()
    assert np.percentile(film, 99) - np.percentile(film, 1) > 120


def test_films_of_one_patient_are_more_alike_than_those_of_two() -> None:
    keys = [dataclasses.replace(KEY, subject_id=s, study_id=t) for s in (1, 2, 3, 4) for t in (5, 6)]
    films = np.stack([draw_film(key, {}).ravel().astype(float) for key in keys])
    alike = np.corrcoef(films)
    same = np.mean([alike[i, i + 1] for i in range(0, 8, 2)])
    other = np.mean([alike[i, j] for i in range(8) for j in range(8) if i // 2 != j // 2])
    assert same > other
