"""The exclusion flow of a report as a figure: the SVG of `report.figure`, and its shapes in print.

In: a flow whose small counts are hidden. Out: a Plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cxrssl.report.document import Figure
from cxrssl.report.figure import NARROW, WIDTH, draw_flow
from cxrssl.report.figures.formats import FORMATS, Format
from cxrssl.report.figures.plan import Plan, hash_drawn, is_installed, keep
from cxrssl.report.figures.width import is_narrow
from cxrssl.report.flow import Flow


@dataclass(frozen=True)
class FlowPlan(Plan):
    """A figure whose SVG needs no matplotlib."""

    svg: bytes = b""

    def make(self, formats: Sequence[Format] = FORMATS) -> Figure:
        """Return the figure; without matplotlib as SVG alone."""
        others = [kind for kind in formats if kind != "svg"] if is_installed() else []
        made = super().make(others) if others else Figure(self.name, self.title, self.alt, b"")
        return Figure(self.name, self.title, self.alt, self.svg, made.pdf, made.png)


def plan_flow(name: str, flow: Flow) -> FlowPlan:
    """Return the figure of a flow; `name` is that of its files."""
    steps = "; ".join(f"{what}: {films}" for what, films in flow.to_table().texts())
    alt, svg = f"{flow.title}. {steps}", draw_flow(flow, NARROW if is_narrow() else WIDTH)
    return FlowPlan(name, flow.title, alt, hash_drawn(svg, alt), partial(keep, flow), svg.encode())
