"""Forest plots show every number with its marks, whatever the names and however many."""

from __future__ import annotations

import math

import pytest

from cxrssl.report.figures import forest as module
from cxrssl.report.figures.draw import draw_figure
from cxrssl.report.figures.forest import PAGE_ROWS, Forest, ForestRow, ForestSection, find_limits
from cxrssl.stats.resample import Interval
from tests.hostile import hostile_texts
from tests.report.figures.svg import check_layout, parse, size_of, texts_of


def interval(value: float, half: float = 0.02, num_rarer: int = 50) -> Interval:
    return Interval(value, value - half, value + half, 1000, 1000, num_rarer)


def forest(*rows: ForestRow, heading: str = "", min_difference: float = 0.0) -> Forest:
    sections = (ForestSection(heading, rows),) if rows else ()
    return Forest("Differences", "Difference in AUROC", sections, "seeds", min_difference, ("A note.",))


def svg_of(made: Forest) -> bytes:
    return draw_figure(made, "forest", ["svg"])["svg"]


def test_numbers_stand_beside_their_rows_with_marks() -> None:
    rows = (
        ForestRow("predict − vanilla", interval(-0.026), "3", (-0.03, -0.02, -0.028), is_primary=True),
        ForestRow("paper − vanilla", interval(0.031), "3", p_holm=0.01),
        ForestRow("rare", interval(0.4, 0.3, num_rarer=4), "1"),
        ForestRow("one subject", Interval(0.1, math.nan, math.nan, 1000, 1000, 1), "1"),
        ForestRow("absent", Interval(math.nan, math.nan, math.nan, 0, 1000, 0), "0"),
    )
    shown = texts_of(svg_of(forest(*rows, heading="Cohort demo")))
    assert "Cohort demo" in shown
    assert "−0.026 [−0.046, −0.006]" in shown
    assert "+0.031 [+0.011, +0.051]^" in shown
    assert "+0.400 [+0.100, +0.700]*" in shown
    assert "+0.100 no interval" in shown
    assert "not defined" in shown
    assert shown.index("predict − vanilla") < shown.index("paper − vanilla")


def test_smallest_difference_that_matters_is_marked_on_both_sides() -> None:
    row = ForestRow("a", interval(0.0, 0.005), "1")
    without, marked = svg_of(forest(row)), svg_of(forest(row, min_difference=0.01))
    dashed = [svg.count(b"stroke-dasharray") for svg in (without, marked)]
    assert dashed == [0, 2]
    low, high = find_limits([forest(row, min_difference=0.01)])
    assert low < -0.01
    assert high > 0.01


def test_wide_intervals_of_few_subjects_do_not_squeeze_the_others() -> None:
    rows = [ForestRow("firm", interval(0.02)), ForestRow("rare", interval(0.0, 0.5, num_rarer=3))]
    low, high = find_limits([forest(*rows)])
    assert 0.04 < high < 0.1
    assert -0.1 < low < 0
    assert find_limits([forest(rows[1])]) == pytest.approx((-0.55, 0.55))


def test_no_row_and_no_number_have_an_axis_too() -> None:
    nan = ForestRow("x", Interval(math.nan, math.nan, math.nan, 0))
    for made in (forest(), forest(nan), forest(ForestRow("zero", Interval(0.0, 0.0, 0.0, 10)))):
        low, high = find_limits([made])
        assert low < 0 < high
        check_layout(svg_of(made))


@pytest.mark.parametrize("num", [0, 1, 2, 40])
def test_nothing_overlaps_or_is_cut(num: int) -> None:
    long = "MSN + demo, meta, icu, social and everything else that a record may hold (vit-tiny-6h, 100 epochs, seed"
    rows = [ForestRow(f"{long} {k}, {k:08x})", interval(0.01 * k), f"{k} / {k}") for k in range(num)]
    made = forest(*rows, heading="A heading that goes on and on " * 5, min_difference=0.01)
    svg = svg_of(made)
    check_layout(svg)
    shown = " ".join(texts_of(svg))
    assert all(f"{k:08x}" in shown for k in range(num))


def test_five_hundred_rows_are_pages_of_one_axis_each_row_once() -> None:
    made = forest(*(ForestRow(f"row {k}", interval(0.001 * k)) for k in range(500)), heading="All")
    pages = made.split()
    assert len(pages) == 500 / PAGE_ROWS
    assert [row for page in pages for row in page.rows] == made.rows
    assert pages[1].sections[0].heading == "All, continued"
    assert pages[0].title == "Differences (1 of 10)"
    svg = svg_of(pages[9])
    check_layout(svg)
    assert size_of(svg)[1] < 11 * 72  # fits a sheet of paper


def test_a_heading_does_not_stand_alone_at_the_end_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = tuple(
        ForestSection(name, tuple(ForestRow(f"{name}{k}", interval(0.0)) for k in range(num)))
        for name, num in (("a", 9), ("b", 4))
    )
    monkeypatch.setattr(module, "PAGE_ROWS", 10)
    pages = Forest("t", "x", sections).split()
    assert [[(each.heading, len(each.rows)) for each in page.sections] for page in pages] == [[("a", 9)], [("b", 4)]]


def test_hostile_names_are_texts() -> None:
    rows = [ForestRow(text, interval(0.0), text[:5]) for text in hostile_texts(45, 7)]
    svg = svg_of(forest(*rows, heading="$x^2$ \\frac"))
    parse(svg)
    assert "$x^2$ \\frac" in texts_of(svg)
