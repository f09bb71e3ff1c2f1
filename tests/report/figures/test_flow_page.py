"""The exclusion flow in print has the shapes and the words of its SVG."""

from __future__ import annotations

import sys

import pytest

from cxrssl.report.figure import Label, draw_flow, place_flow
from cxrssl.report.figures.draw import draw_figure
from cxrssl.report.figures.plan_flow import plan_flow
from cxrssl.report.flow import Flow, FlowStep
from tests.report.figures.svg import check_layout, texts_of

FLOW = Flow(
    "Films of cohort mimic",
    (
        FlowStep("rows in a table with a name that is far too long for the box in which it has to stand", 377_110),
        FlowStep("films in the cohort", 360_000, tuple((f"reason {k} <b>", 1710 + k) for k in range(10))),
    ),
    (
        (FlowStep("train", 300_000, (), 60_000), FlowStep("fitted on", 299_990, (("shown in a later split too", 10),))),
        (FlowStep("val", 30_000, (), 500),),
        (FlowStep("test", 30_000, (), 300),),
    ),
)


def test_print_says_what_the_svg_says() -> None:
    wanted = [shape.text for shape in place_flow(FLOW)[0] if isinstance(shape, Label)]
    svg = draw_figure(FLOW, "flow", ["svg"])["svg"]
    assert sorted(texts_of(svg)) == sorted(wanted)
    assert {"377,110", "−10 shown in a later split too", "3 further reasons", "60,000 subjects"} <= set(wanted)
    check_layout(svg)


def test_the_plan_has_the_svg_that_follows_the_page_and_the_print() -> None:
    figure = plan_flow("flow-mimic-official", FLOW).make()
    assert figure.svg.decode() == draw_flow(FLOW)
    assert figure.pdf.startswith(b"%PDF-")
    assert figure.png.startswith(b"\x89PNG")
    assert "films in the cohort: 360,000" in figure.alt


def test_without_matplotlib_the_svg_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    figure = plan_flow("flow", FLOW).make()
    assert figure.svg.decode() == draw_flow(FLOW)
    assert (figure.pdf, figure.png) == (b"", b"")


def test_an_empty_flow_has_a_page() -> None:
    check_layout(draw_figure(Flow("Empty", (FlowStep("rows", 0),), ()), "flow", ["svg"])["svg"])
