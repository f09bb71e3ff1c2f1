"""What an SVG shows: its texts, and the boxes that they fill."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations
from xml.etree import ElementTree

from cxrssl.report.figures.page import measure

SVG = "{http://www.w3.org/2000/svg}"
POINTS_PER_INCH = 72


@dataclass(frozen=True)
class Box:
    """A text and where it stands, in points from the upper left."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than a hair."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide > 0.5 and high > 0.5


def parse(svg: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(svg.decode())


def texts_of(svg: bytes) -> list[str]:
    """Return the texts of a figure in the order in which they are drawn."""
    return ["".join(each.itertext()) for each in parse(svg).iter(f"{SVG}text")]


def size_of(svg: bytes) -> tuple[float, float]:
    """Return width and height in points."""
    _, _, width, height = map(float, parse(svg).attrib["viewBox"].split())
    return width, height


def boxes_of(svg: bytes) -> list[Box]:
    """Return the boxes of all texts that are not turned."""
    boxes = []
    for each in parse(svg).iter(f"{SVG}text"):
        style, text = each.attrib["style"], "".join(each.itertext())
        if not text or "rotate(-90" in each.attrib["transform"]:
            continue
        size = float(re.search(r"([\d.]+)px", style)[1])  # type: ignore[index]
        width = measure(text, size, "bold" in style or "700" in style) * POINTS_PER_INCH
        x, y = float(each.attrib["x"]), float(each.attrib["y"])
        share = 0.5 if "middle" in style else 1.0 if "end" in style else 0.0
        boxes.append(Box(text, x - share * width, y - 0.75 * size, x + (1 - share) * width, y + 0.2 * size))
    return boxes


def check_layout(svg: bytes) -> None:
    """Assert that no text is cut by the page or stands on another."""
    width, height = size_of(svg)
    boxes = boxes_of(svg)
    cut = [box for box in boxes if box.left < -0.5 or box.right > width + 0.5 or box.top < 0 or box.bottom > height]
    assert not cut
    assert not [(a.text, b.text) for a, b in combinations(boxes, 2) if a.overlaps(b)]
