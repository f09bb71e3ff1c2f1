"""Thumbnails as features: means of areas of a film's own box, and what they say of an encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrssl.cli.lines import lay_out
from cxrssl.cli.probed import describe_differences
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import describe_against_pixels, group_evaluations, list_pairs, publish_comparisons
from cxrssl.evaluate.pixels import GRID_PX, average_areas, pixels_candidate, read_thumbnails
from cxrssl.report.probe_tables import macro_table
from cxrssl.stats.resample import Interval
from cxrssl.train.pooled import open_films
from tests.report.test_report import evaluations_of, make_evaluation
from tests.world import make_workspace


def test_a_thumbnail_holds_the_means_of_areas_of_the_films_own_box() -> None:
    film = np.full((64, 64), 255, np.uint8)
    own = np.random.default_rng(0).integers(0, 200, (40, 60)).astype(np.uint8)
    film[10:50, 2:62] = own
    expected = own.reshape(20, 2, 20, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(average_areas(film, (10, 2, 40, 60)), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(33, 47), (7, 20), (1, 3)])
def test_areas_that_end_within_a_pixel_take_that_part_of_it(shape: tuple[int, int]) -> None:
    film = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    fine = np.repeat(np.repeat(film.astype(float), GRID_PX, axis=0), GRID_PX, axis=1)
    expected = fine.reshape(GRID_PX, shape[0], GRID_PX, shape[1]).mean(axis=(1, 3))
    np.testing.assert_allclose(average_areas(film, (0, 0, *shape)), expected, rtol=1e-4)


def test_thumbnails_are_those_of_the_packed_films_in_cohort_order(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, num_patients=12)
    _, images = open_films(workspace, "nih")
    values = read_thumbnails(images)
    assert values.shape == (len(images.image_id), GRID_PX * GRID_PX)
    film = images.read_rows([5])[0]
    np.testing.assert_array_equal(values[5], average_areas(film, tuple(images.box_N4[5].tolist())).ravel())
    candidate = pixels_candidate(images)
    assert (candidate.kind, candidate.label) == ("pixels", "pixels, 20 x 20")


def number(value: float, lo: float, hi: float) -> Interval:
    return Interval(value, lo, hi, 100, 100, 50)


def test_an_encoder_that_does_not_beat_pixels_is_named_in_plain_words() -> None:
    assert describe_against_pixels("MSN", number(0.05, 0.01, 0.09)) == ""
    unclear = describe_against_pixels("MSN", number(0.01, -0.01, 0.03))
    assert unclear == "MSN does not beat pixels: macro AUROC +0.010 [-0.010, +0.030]."
    assert describe_against_pixels("MSN", number(-0.05, -0.09, -0.01)).startswith("MSN is worse than pixels:")


def test_a_report_and_a_probe_print_encoder_minus_pixels(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "good", skill=2.5)
    make_evaluation(workspace, "poor", skill=0.1, features=("sex",))
    make_evaluation(workspace, "pixels-20", kind="pixels", skill=1.0)
    (group,) = group_evaluations(evaluations_of(workspace))
    table = macro_table(group, publish_comparisons(workspace, list_pairs(group)))
    rows = {row[0].split(" (")[0]: row for row in table.texts()}
    assert table.columns[-1] == "AUROC - pixels"
    assert rows["good"][-1].startswith("+")
    assert rows["poor"][-1].startswith("-")
    assert rows["pixels-20"][-1] == ""
    assert "poor (vit-tiny, 3 epochs, seed 0, poor) " in table.note
    assert "pixels: macro AUROC -" in table.note
    assert "good" not in table.note
    poor = [each for each in group if each.settings.candidate_id in ("poor", "pixels-20")]
    lines = lay_out(describe_differences(workspace, poor), 120)
    assert lines[:2] == ["", "Macro AUROC of poor minus that of:"]
    assert lines[2].split() == ["pixels", *rows["poor"][-1].split()]
    assert lines[3].startswith("poor ")
    assert describe_differences(workspace, poor[1:]) == []
