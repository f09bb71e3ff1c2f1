"""The exclusion flow on a page: the shapes of its SVG, for print.

In: a Flow. Out: a page. Never: another layout than that of `report.figure`.
"""

from __future__ import annotations

from matplotlib.patches import FancyBboxPatch, Polygon

from cxrssl.report.figure import COLOURS, NARROW, WIDTH, Box, Label, Route, place_flow
from cxrssl.report.figures.ink import INK, PAGE_IN
from cxrssl.report.figures.page import Align, Page
from cxrssl.report.figures.width import is_narrow
from cxrssl.report.flow import Flow

SCALE = PAGE_IN / WIDTH
"""Inches of a pixel."""
SIZES = {"title": 17.0, "": 14.0}
"""Of text in pixels."""
NARROWER = 0.9
"""Texts are in a wider font than that of the SVG."""
LIGHT = {(kind, values[0]): values[1] for kind, values in COLOURS.items()}


def draw_flow_page(flow: Flow) -> Page:
    """Return the page of a flow."""
    width = NARROW if is_narrow() else WIDTH
    shapes, height = place_flow(flow, width)
    page = Page(width * SCALE, height * SCALE)
    for shape in shapes:
        if isinstance(shape, Box):
            _draw_box(page, shape, width, height)
        elif isinstance(shape, Route):
            _draw_route(page, shape, width, height)
        else:
            _write_label(page, shape)
    return page


def _draw_box(page: Page, box: Box, width: int, height: int) -> None:
    radius = box.radius
    corner = (box.x + radius) / width, 1 - (box.y + box.height - radius) / height
    size = (box.width - 2 * radius) / width, (box.height - 2 * radius) / height
    edge = LIGHT.get((f".{box.kind} ", "stroke"), "none")
    patch = FancyBboxPatch(
        corner,
        *size,
        boxstyle=f"round,pad={radius / width},rounding_size={radius / width}",
        mutation_aspect=width / height,
        facecolor=LIGHT[f".{box.kind}", "fill"],
        edgecolor=edge,
        linewidth=0.6,
    )
    page.figure.add_artist(patch)


def _draw_route(page: Page, route: Route, width: int, height: int) -> None:
    colour = LIGHT[".arrow", "stroke"]
    ends = [(route.x, route.y), (route.to_x, route.to_y)]
    page.draw_path([(x * SCALE, y * SCALE) for x, y in ends], colour=colour, width_pt=0.9)
    if route.has_head:
        x, y = route.to_x, route.to_y
        turn = [(0, 0), (-4, -7), (4, -7)] if route.to_y != route.y else [(0, 0), (-7, -4), (-7, 4)]
        places = [((x + dx) / width, 1 - (y + dy) / height) for dx, dy in turn]
        page.figure.add_artist(Polygon(places, facecolor=colour, edgecolor="none"))


def _write_label(page: Page, label: Label) -> None:
    size = SIZES.get(label.kind, SIZES[""]) * SCALE * 72 * NARROWER
    colour = LIGHT.get((f".{label.kind}", "fill"), INK)
    align: Align = "right" if label.kind == "count" else "left"
    is_bold = label.kind in ("title", "count")
    page.write(label.x * SCALE, label.y * SCALE, label.text, size=size, align=align, colour=colour, is_bold=is_bold)
