"""The exclusion flow as a figure: plain SVG that follows the reader's light or dark setting and embeds no fonts.

In: a Flow. Out: its shapes, and the text of an SVG file. Never: text from data taken as markup, or wider than its box.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

from cxrssl.core.text import plain
from cxrssl.report.flow import Flow, FlowStep

MARGIN, GAP = 24, 30
WIDTH, NARROW = 880, 440
"""Of a page, and of a column of one."""
BOX_WIDTH, SIDE_LEFT = 400, 464
RAIL = 20
"""From the edge of a narrow box to the arrow below it, beside which its reasons stand."""
PART_GAP = 20
LINE_PX, PADDING = 20, 11
CHARS_PER_PX = 0.136
"""Of 14 px sans-serif text, with room to spare."""
TITLE_SIZE = 14 / 18
MAX_REASONS = 8
# Class: (property, light, dark). Explicit colours, because not every reader of SVG knows CSS variables.
COLOURS = {
    ".page": ("fill", "#ffffff", "#0d1117"),
    "text": ("fill", "#1f2328", "#e6edf3"),
    ".soft": ("fill", "#59636e", "#9198a1"),
    ".box": ("fill", "#f3f6fa", "#161c24"),
    ".box ": ("stroke", "#c8d1da", "#3d444d"),
    ".out": ("fill", "#fff6e5", "#241d0f"),
    ".out ": ("stroke", "#e0b04c", "#8a6a1f"),
    ".arrow": ("stroke", "#8c959f", "#6e7681"),
    ".head": ("fill", "#8c959f", "#6e7681"),
    ".train": ("fill", "#0969da", "#4493f8"),
    ".val": ("fill", "#8250df", "#ab7df8"),
    ".test": ("fill", "#1a7f37", "#3fb950"),
}
FONTS = (
    "text { font: 14px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif } "
    ".title { font-size: 17px; font-weight: 600 } .count { font-weight: 600; text-anchor: end } "
    ".arrow { fill: none; stroke-width: 1.5 }"
)


@dataclass(frozen=True)
class Box:
    """A rectangle with round corners."""

    kind: str
    """One of COLOURS, without the dot."""
    x: int
    y: int
    width: int
    height: int
    radius: int

    def to_svg(self) -> str:
        size = f'width="{self.width}" height="{self.height}" rx="{self.radius}"'
        return f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" {size}/>'


@dataclass(frozen=True)
class Route:
    """A line that goes straight down or sideways."""

    x: int
    y: int
    to_x: int
    to_y: int
    has_head: bool = False

    def to_svg(self) -> str:
        line = f'<path class="arrow" d="M{self.x} {self.y}L{self.to_x} {self.to_y}"/>'
        if not self.has_head:
            return line
        turn = "l-4 -7h8z" if self.to_y != self.y else "l-7 -4v8z"
        return f'{line}\n<path class="head" d="M{self.to_x} {self.to_y}{turn}"/>'


@dataclass(frozen=True)
class Label:
    """A text whose base is at `y`; a count ends at `x`."""

    x: int
    y: int
    text: str
    kind: str = ""
    """title, count, soft or nothing."""

    def to_svg(self) -> str:
        kind = f' class="{self.kind}"' if self.kind else ""
        return f'<text x="{self.x}" y="{self.y}"{kind}>{escape(self.text)}</text>'


Shape: TypeAlias = Box | Route | Label


def draw_flow(flow: Flow, width: int = WIDTH) -> str:
    """Return the figure of a flow as SVG."""
    shapes, height = place_flow(flow, width)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n<title>{escape(_clean(flow.title))}</title>'
    page = f'<rect class="page" width="{width}" height="{height}"/>'
    lines = [opening, f"<style>{_style()}</style>", page, *(shape.to_svg() for shape in shapes), "</svg>", ""]
    return "\n".join(lines)


def place_flow(flow: Flow, width: int = WIDTH) -> tuple[list[Shape], int]:
    """Return the shapes of a flow, in the order in which they are drawn, and its height; `width` wide, in pixels."""
    is_narrow = width == NARROW
    title = textwrap.wrap(_clean(flow.title), int((width - 2 * MARGIN) * CHARS_PER_PX * TITLE_SIZE), max_lines=3)
    lines = title if is_narrow else [flow.title]
    shapes: list[Shape] = [_text(MARGIN, MARGIN + 14 + k * 22, line, "title") for k, line in enumerate(lines)]
    y = MARGIN + 34 + 22 * (len(lines) - 1)
    box, side = (width - 2 * MARGIN, MARGIN + 2 * RAIL) if is_narrow else (BOX_WIDTH, SIDE_LEFT)
    middle = MARGIN + (RAIL if is_narrow else box // 2)
    for number, step in enumerate(flow.steps):
        if number:
            shapes += _draw_between(step, middle, side, width - MARGIN - side, y)
            y += _gap(step)
        shapes += _draw_step(step, MARGIN, y, box)
        y += _step_height(step)
    if flow.parts:
        shapes_below, y = (_draw_parts_below if is_narrow else _draw_parts)(flow.parts, y)
        shapes += shapes_below
    return shapes, y + MARGIN


def _draw_step(step: FlowStep, x: int, y: int, width: int, colour: str = "") -> list[Shape]:
    """Return a box with the name of a step, its number of films and, below, its detail."""
    shapes: list[Shape] = [Box("box", x, y, width, _step_height(step), 6)]
    if colour:
        shapes.append(Box(colour, x, y, 5, _step_height(step), 2))
    base = y + PADDING + 14
    room = width - 3 * PADDING - 9 * len(f"{step.films:,}")
    shapes += [
        _text(x + PADDING + 4, base, _shorten(step.what, room)),
        _text(x + width - PADDING, base, f"{step.films:,}", "count"),
    ]
    return shapes + ([_text(x + PADDING + 4, base + LINE_PX, step.detail, "soft")] if step.detail else [])


def _draw_between(step: FlowStep, middle: int, side: int, side_width: int, y: int) -> list[Shape]:
    """Return the arrow to the step below and, beside it, the films left out there, with reasons."""
    gap = _gap(step)
    shapes: list[Shape] = [Route(middle, y, middle, y + gap, True)]
    if not step.reasons:
        return shapes
    lines = _reason_lines(step)
    height = len(lines) * LINE_PX + 2 * PADDING - 4
    top = y + (gap - height) // 2
    shapes.append(Route(middle, y + gap // 2, side, y + gap // 2, True))
    shapes.append(Box("out", side, top, side_width, height, 6))
    for k, (what, num) in enumerate(lines):
        base = top + PADDING + 12 + k * LINE_PX
        room = side_width - 3 * PADDING - 9 * len(f"{num:,}")
        shapes.append(_text(side + PADDING, base, _shorten(what, room)))
        shapes.append(_text(side + side_width - PADDING, base, f"{num:,}", "count"))
    return shapes


def _draw_parts(parts: Sequence[Sequence[FlowStep]], y: int) -> tuple[list[Shape], int]:
    """Return the splits side by side, each with the steps below it, and the y at which they end."""
    width = (WIDTH - 2 * MARGIN - PART_GAP * (len(parts) - 1)) // len(parts)
    fork, top = y + GAP // 2, y + GAP
    shapes: list[Shape] = [Route(MARGIN + BOX_WIDTH // 2, y, MARGIN + BOX_WIDTH // 2, fork)]
    bottoms = []
    for number, steps in enumerate(parts):
        x = MARGIN + number * (width + PART_GAP)
        middle = x + width // 2
        shapes.append(Route(MARGIN + BOX_WIDTH // 2, fork, middle, fork))
        shapes.append(Route(middle, fork, middle, top, True))
        shapes_below, bottom = _draw_part(steps, x, top, width)
        shapes += shapes_below
        bottoms.append(bottom)
    return shapes, max(bottoms)


def _draw_parts_below(parts: Sequence[Sequence[FlowStep]], y: int) -> tuple[list[Shape], int]:
    """Return the splits below each other, for a narrow figure, and the y at which they end."""
    left, rail = MARGIN + 2 * RAIL, MARGIN + RAIL
    shapes: list[Shape] = []
    begun = below = y
    for steps in parts:
        below += PART_GAP
        middle = below + _step_height(steps[0]) // 2
        shapes += [Route(rail, begun, rail, middle), Route(rail, middle, left, middle, True)]
        shapes_below, below = _draw_part(steps, left, below, NARROW - MARGIN - left)
        shapes += shapes_below
        begun = middle
    return shapes, below


def _draw_part(steps: Sequence[FlowStep], x: int, y: int, width: int) -> tuple[list[Shape], int]:
    """Return the steps of a split below each other, and the y at which they end."""
    shapes: list[Shape] = []
    for place, step in enumerate(steps):
        if place:
            lines = [f"−{num:,} {reason}" for reason, num in step.reasons]
            gap = GAP + LINE_PX * len(lines)
            shapes.append(Route(x + PADDING + 6, y, x + PADDING + 6, y + gap, True))
            for k, line in enumerate(lines):
                base = y + GAP // 2 + 14 + k * LINE_PX
                shapes.append(_text(x + PADDING + 18, base, _shorten(line, width - PADDING - 24), "soft"))
            y += gap
        shapes += _draw_step(step, x, y, width, steps[0].what)
        y += _step_height(step)
    return shapes, y


def _reason_lines(step: FlowStep) -> list[tuple[str, int]]:
    """Return the reasons, most films first; those that do not fit become one line."""
    reasons = sorted(step.reasons, key=lambda reason: -reason[1])
    if len(reasons) <= MAX_REASONS:
        return reasons
    shown, rest = reasons[: MAX_REASONS - 1], reasons[MAX_REASONS - 1 :]
    return [*shown, (f"{len(rest)} further reasons", sum(num for _, num in rest))]


def _gap(step: FlowStep) -> int:
    return GAP if not step.reasons else len(_reason_lines(step)) * LINE_PX + 2 * PADDING + GAP - 10


def _step_height(step: FlowStep) -> int:
    return 2 * PADDING + LINE_PX * (2 if step.detail else 1) - 2


def _text(x: int, y: int, text: str, kind: str = "") -> Label:
    return Label(x, y, _clean(text), kind)


def _shorten(text: str, width_px: int) -> str:
    return textwrap.shorten(text, max(8, int(width_px * CHARS_PER_PX)), placeholder=" …") if text else text


def _clean(text: str) -> str:
    return plain(text, 200)


def _style() -> str:
    light, dark = (
        " ".join(f"{name.strip()} {{ {values[0]}: {values[k]} }}" for name, values in COLOURS.items()) for k in (1, 2)
    )
    return f"{FONTS} {light} @media (prefers-color-scheme: dark) {{ {dark} }}"
