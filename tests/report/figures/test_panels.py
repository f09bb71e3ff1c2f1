"""Panels of curves and of reliability: numbers, legends and layout."""

from __future__ import annotations

import math

import pytest

from cxrssl.report.figures.draw import draw_figure
from cxrssl.report.figures.ink import SERIES
from cxrssl.report.figures.plan import PAGE_PANELS, split_panels
from cxrssl.report.figures.reliability import (
    ReliabilityFigure,
    ReliabilityPanel,
    ReliabilityPoint,
    find_end,
)
from cxrssl.report.figures.roc import RocFigure, RocLine, RocPanel
from cxrssl.stats.resample import Interval
from cxrssl.stats.roc import CurveKind
from tests.hostile import hostile_texts
from tests.report.figures.svg import boxes_of, check_layout, parse, size_of, texts_of

X = (0.0, 0.5, 1.0)
LONG = "MSN + demo, meta, icu, social and everything else that a record may hold (vit-tiny-6h, 100 epochs"
LINE = RocLine((0.0, 0.7, 1.0), Interval(0.7, 0.6, 0.8, 10, 10, 30), (0.0, 0.5, 1.0), (0.2, 0.9, 1.0))
PLAIN = RocLine((0.0, 0.5, 1.0), Interval(0.5, 0.4, 0.6, 10, 10, 5))


def roc(num: int, names: tuple[str, ...] = ("MSN", "pixels"), kind: CurveKind = "roc") -> RocFigure:
    panels = tuple(RocPanel(f"Finding {k}", "43 / 85", (LINE, PLAIN)[: len(names)], 0.3) for k in range(num))
    return RocFigure(kind, "Curves: cohort demo", names, X, panels, ("A note. " * 30,))


def svg_of(figure: RocFigure | ReliabilityFigure) -> bytes:
    return draw_figure(figure, "panels", ["svg"])["svg"]


def test_each_panel_has_its_finding_its_subjects_and_the_number_of_each_series() -> None:
    shown = texts_of(svg_of(roc(2)))
    assert shown.count("Finding 0") == shown.count("Finding 1") == 1
    assert shown.count("43 / 85") == 2
    assert shown.count("0.700 [0.600, 0.800]") == 2
    assert shown.count("0.500 [0.400, 0.600]*") == 2
    assert {"MSN", "pixels", "Sensitivity", "False positive rate (1 − specificity)"} <= set(shown)


def test_series_differ_in_colour_and_in_kind_of_line() -> None:
    svg = svg_of(roc(1)).decode()
    for series in SERIES[:2]:
        assert f"stroke: {series.colour}" in svg
    assert "stroke-dasharray: 5.5" in svg
    assert len({each.dashes for each in SERIES}) == len({each.marker for each in SERIES}) == len(SERIES)


def test_precision_has_the_line_of_chance() -> None:
    assert "Precision (positive predictive value)" in texts_of(svg_of(roc(1, kind="pr")))


@pytest.mark.parametrize("num", [0, 1, 2, 5, 16])
@pytest.mark.parametrize("names", [("MSN",), (f"{LONG}, seed 0)", f"{LONG}, seed 1)", "pixels")])
def test_nothing_overlaps_or_is_cut(num: int, names: tuple[str, ...]) -> None:
    svg = svg_of(roc(num, names))
    check_layout(svg)
    assert size_of(svg)[0] == 7 * 72
    assert size_of(svg)[1] < 11 * 72


def test_five_hundred_findings_are_pages_each_once() -> None:
    pages = split_panels(list(range(500)))
    assert max(map(len, pages)) == PAGE_PANELS
    assert [each for page in pages for each in page] == list(range(500))
    assert split_panels([]) == [[]]


def test_hostile_names_are_texts() -> None:
    texts = hostile_texts(16, 3)
    panels = tuple(RocPanel(text, text[:9], (LINE,)) for text in texts)
    parse(svg_of(RocFigure("roc", "$t$", (texts[1],), X, panels)))
    assert "$t$" in texts_of(svg_of(RocFigure("roc", "$t$", ("$s$",), X, ())))


def reliability(*points: ReliabilityPoint) -> ReliabilityFigure:
    panel = ReliabilityPanel("Edema", "43 / 85", ((0, "slope 0.80 [0.60, 1.10]"), (1, "slope -0.10")), points)
    return ReliabilityFigure("Reliability", ("as fitted", "after Platt's map"), (panel,) * 3, ("Note.",))


def test_reliability_has_a_mark_for_each_group_and_its_slopes() -> None:
    points = ReliabilityPoint((0.1, 0.2), 0.15, 0.1, 0.2), ReliabilityPoint((0.4,), 0.3, math.nan, math.nan)
    svg = svg_of(reliability(*points))
    check_layout(svg)
    shown = texts_of(svg)
    assert shown.count("slope 0.80 [0.60, 1.10]") == 3
    assert shown.count("slope −0.10") == 3
    assert {"Predicted probability", "Observed share", "as fitted", "0.4", "0.2"} <= set(shown)


@pytest.mark.parametrize(("most", "end"), [(0.01, 0.02), (0.15, 0.2), (0.31, 0.4), (0.7, 0.8), (0.99, 1.0)])
def test_axes_end_where_the_highest_point_has_room(most: float, end: float) -> None:
    panel = ReliabilityPanel("x", "", (), (ReliabilityPoint((most / 2,), most / 3, 0.0, most),))
    assert find_end(panel) == end


@pytest.mark.parametrize(("num", "columns"), [(1, 2), (4, 4), (5, 3), (6, 3), (7, 4), (9, 3), (13, 4), (16, 4)])
def test_a_sheet_of_reliability_has_as_few_empty_places_as_a_page_allows(num: int, columns: int) -> None:
    points = ReliabilityPoint((0.1, 0.2), 0.15, 0.1, 0.2), ReliabilityPoint((0.4, 0.3), 0.3, 0.2, 0.4)
    panels = tuple(ReliabilityPanel(f"Finding {at}", "43 / 85", (), points) for at in range(num))
    svg = svg_of(ReliabilityFigure("Reliability", ("as fitted", "after Platt's map"), panels, ("Note.",)))
    check_layout(svg)
    assert size_of(svg)[1] < 11 * 72
    places = {round(each.left) for each in boxes_of(svg) if each.text.startswith("Finding")}
    assert len(places) == min(columns, num)


def test_empty_reliability_has_a_page() -> None:
    check_layout(svg_of(ReliabilityFigure("Reliability", ("as fitted",), ())))
    check_layout(svg_of(reliability()))
