"""A film that another cohort has cut to its centre square, or in other greys, is found; others are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrssl.audit.looks import find_near
from cxrssl.audit.thumbs import centre_boxes, normalise_locally
from cxrssl.cohort.ingest import IngestOptions
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import open_images
from cxrssl.ingest import ingest_dataset
from tests.audit.films import draw, pack

MAP = Path(__file__).parents[1] / "cohort" / "maps" / "hannover.toml"
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def test_a_film_cut_to_its_centre_or_in_other_greys_is_found_in_another_cohort(tmp_path: Path) -> None:
    films = {str(seed): draw(seed) for seed in range(6)}
    whole = pack(tmp_path / "whole", films)
    slope = np.linspace(0.5, 1.0, 120)[None, :]
    other = {
        "cut": films["2"][:, 15:105],
        "greys": films["4"] * slope,
        "none": draw(99),
        "none cut": draw(98)[:, 15:105],
    }
    cut = pack(tmp_path / "cut", other)
    pairs = find_near(whole, np.arange(6), cut, np.arange(4))
    assert list(zip(*(side.tolist() for side in pairs), strict=True)) == [(2, 0), (4, 1)]
    swapped = find_near(cut, np.arange(4), whole, np.arange(6))
    assert sorted(zip(swapped.second.tolist(), swapped.first.tolist(), strict=True)) == [(2, 0), (4, 1)]


def test_the_centre_of_a_box_is_its_middle_square() -> None:
    boxes = np.array([[0, 0, 10, 30], [5, 7, 31, 10], [0, 0, 8, 8]], np.int16)
    assert centre_boxes(boxes).tolist() == [[0, 10, 10, 10], [15, 7, 10, 10], [0, 0, 8, 8]]


def test_a_point_is_told_by_the_mean_and_the_deviation_of_the_25_points_around_it() -> None:
    thumbs = np.random.default_rng(3).uniform(0, 255, (2, 32, 32)).astype(np.float32)
    thumbs[1, :16] = 7  # of one grey: no point differs from those around it
    found, padded = normalise_locally(thumbs), np.pad(thumbs, ((0, 0), (2, 2), (2, 2)), mode="edge").astype(np.float64)
    for film, row, column in ((0, 0, 0), (0, 5, 31), (0, 17, 11), (1, 16, 4), (1, 3, 3)):
        around = padded[film, row : row + 5, column : column + 5]
        expected = (thumbs[film, row, column] - around.mean()) / max(around.std(), 1e-6)
        assert found[film, row, column] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_films_of_hannover_that_the_covid_collection_has_cut_are_found(tmp_path: Path) -> None:
    if not (DATA / "hannover_covid19").is_dir():
        pytest.skip("the real data are not here")
    workspace = Workspace(tmp_path / "workspace").create()
    own = IngestOptions("folder", DATA / "hannover_covid19", map=MAP, name="hannover", num_workers=1)
    ingest_dataset(workspace, own)
    ingest_dataset(workspace, IngestOptions("covid", DATA / "covid19_cxr", num_workers=1))
    a, b = (open_images(workspace.images / name) for name in ("hannover", "covid"))
    pairs = find_near(a, np.arange(len(a.image_id)), b, np.arange(len(b.image_id)))
    names = [name.rpartition(".")[0] for name in b.image_id[pairs.second].tolist()]
    assert len(set(a.image_id.tolist()) & {name.rpartition(".")[0] for name in b.image_id.tolist()}) == 104
    assert a.image_id[pairs.first].tolist() == names
    assert len(names) == 97  # most of the others were turned, or cut elsewhere
