"""Dots of known curves, and ticks."""

from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
import pytest

from cxrssl.dashboard.widgets.raster import (
    BAD,
    BAND,
    BRAILLE_BITS,
    LINE,
    PlotOptions,
    Raster,
    draw_curves,
)
from cxrssl.dashboard.widgets.ticks import nice_ticks, tick_text
from cxrssl.records.curve import Curve

RAW = PlotOptions(smoothing=0)


def curve_of(values: npt.ArrayLike, low: npt.ArrayLike | None = None, high: npt.ArrayLike | None = None) -> Curve:
    given = np.asarray(values, float)
    mean = np.where(np.isfinite(given), given, np.nan)
    step = np.arange(len(mean), dtype=float)
    lows, highs = (mean if edge is None else np.asarray(edge, float) for edge in (low, high))
    return Curve("r", "loss", step, step / 10, step * 60, lows, mean, highs, mean, ~np.isfinite(mean))


def draw_curve(curve: Curve, width: int, height: int, options: PlotOptions) -> Raster:
    return draw_curves([curve], width, height, options)


def dots_of(raster: Raster) -> list[str]:
    rows, columns = raster.dots_HW.shape
    lines = []
    for y in range(4 * rows):
        bits = [raster.dots_HW[y // 4, x // 2] & BRAILLE_BITS[y % 4, x % 2] for x in range(2 * columns)]
        lines.append("".join("#" if bit else "." for bit in bits))
    return lines


def test_a_rising_line_is_a_diagonal_of_dots() -> None:
    assert dots_of(draw_curve(curve_of(range(8)), 4, 2, RAW)) == [
        ".......#",
        "......#.",
        ".....#..",
        "....#...",
        "...#....",
        "..#.....",
        ".#......",
        "#.......",
    ]


def test_a_jump_is_joined_without_a_gap() -> None:
    dots = dots_of(draw_curve(curve_of([0, 0, 0, 0, 7, 7, 7, 7]), 4, 2, RAW))
    assert [line[4] for line in dots] == ["#"] * 7 + ["."]
    assert dots[0] == "....####"
    assert dots[7] == "####...."


def test_two_points_are_joined_by_a_straight_line() -> None:
    assert dots_of(draw_curve(curve_of([0, 7]), 4, 2, RAW)) == dots_of(draw_curve(curve_of(range(8)), 4, 2, RAW))


def test_every_column_shows_its_minimum_and_maximum_faint_and_the_line_over_it() -> None:
    raster = draw_curve(curve_of(np.full(80, 50.0), np.zeros(80), np.full(80, 100.0)), 4, 3, RAW)
    assert (raster.ink_HW[1] == LINE).all()
    assert (raster.ink_HW[[0, 2]] == BAND).all()
    assert (raster.dots_HW[0] == 0xFF).all()


def test_a_value_that_is_not_finite_is_a_mark_below_and_no_dot_of_the_curve() -> None:
    raster = draw_curve(curve_of([0, 1, math.nan, 3, 4, 5, math.inf, 7]), 4, 2, RAW)
    assert (raster.ink_HW[1] == BAD).tolist() == [False, True, False, True]
    assert "not finite" in raster.note


@pytest.mark.parametrize("values", [[], [math.nan] * 3, [math.inf]])
def test_nothing_to_draw_is_reported(values: list[float]) -> None:
    raster = draw_curve(curve_of(values), 10, 4, PlotOptions())
    assert raster.note == "no finite value yet"
    assert not raster.dots_HW.any()


def test_log_axis_leaves_out_zero_and_says_so() -> None:
    raster = draw_curve(curve_of([0, 1, 10, 100, 1000]), 10, 6, PlotOptions(is_log=True, smoothing=0))
    assert raster.note == "values of 0 and below are not drawn"
    assert set(raster.y_ticks.values()) >= {"1", "100"}
    assert "above 0" in draw_curve(curve_of([-1, -2]), 10, 6, PlotOptions(is_log=True)).note


@pytest.mark.parametrize("values", [[5.0], [5.0, 5.0], [0.0] * 9, [9e299, -9e299], [1e-300, 2e-300]])
@pytest.mark.parametrize("size", [(0, 0), (3, 1), (4, 2), (200, 60)])
def test_flat_single_and_extreme_curves_are_drawn(values: list[float], size: tuple[int, int]) -> None:
    for options in (PlotOptions(), PlotOptions("time", True), PlotOptions("epoch")):
        assert draw_curve(curve_of(values), *size, options).dots_HW.shape == (size[1], size[0])


def test_ticks_are_round_and_labels_tell_neighbours_apart() -> None:
    assert nice_ticks(1.1, 5.9, 4) == [2, 3, 4, 5]
    assert nice_ticks(0, 6000, 3) == [0, 2000, 4000, 6000]
    assert nice_ticks(2, 2, 3) == [2]
    ticks = nice_ticks(0.9991, 1.0004, 4)
    assert len({tick_text(tick, ticks) for tick in ticks}) == len(ticks)


def test_time_axis_has_labels_of_time() -> None:
    labels = draw_curve(curve_of(range(61)), 60, 6, PlotOptions("time")).x_ticks
    assert "20m00s" in labels.values()


def test_parts_of_an_epoch_have_equal_decimals_and_steps_none() -> None:
    curve = curve_of(range(26))
    assert list(draw_curve(curve, 80, 6, PlotOptions("epoch")).x_ticks.values()) == [
        "0.0",
        "0.5",
        "1.0",
        "1.5",
        "2.0",
        "2.5",
    ]
    assert list(draw_curve(curve, 80, 6, PlotOptions()).x_ticks.values()) == ["0", "5", "10", "15", "20", "25"]


def test_twenty_thousand_points_take_less_than_20_ms() -> None:
    rng = np.random.default_rng(0)
    curve = curve_of(rng.normal(size=20_000))
    draw_curve(curve, 110, 30, PlotOptions())
    started = time.process_time()
    for _ in range(5):
        draw_curve(curve, 110, 30, PlotOptions())
    assert (time.process_time() - started) / 5 < 0.02
