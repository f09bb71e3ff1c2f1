"""What tells one series of a figure from the next: a colour, a mark and a kind of line, so that it reads in grey too.

Source: the colours are those of Okabe & Ito 2008 (Color Universal Design), but for yellow, which is pale on paper.
"""

from __future__ import annotations

from typing import NamedTuple

INK, SOFT, FAINT, PAPER, SHADE = "#1f2328", "#59636e", "#c8d1da", "#ffffff", "#eef2f6"
"""Text and axes, remarks, rules, the page, and what stands out from it."""
DARK = {INK: "#e6edf3", SOFT: "#9198a1", FAINT: "#3d444d", PAPER: "#0d1117", SHADE: "#1b2330"}
"""The same where the reader asks for dark pages."""
COLUMN_IN, PAGE_IN = 3.5, 7.0
"""Widths of a column and of a page of a journal."""


class Series(NamedTuple):
    """How one series is drawn."""

    colour: str
    marker: str
    dashes: tuple[float, ...]
    """Lengths of dashes and gaps in widths of the line; () for a whole line."""


SERIES = (
    Series("#0072b2", "o", ()),
    Series("#d55e00", "s", (5, 1.6)),
    Series("#009e73", "^", (1.2, 1.4)),
    Series("#cc79a7", "D", (6, 1.6, 1.2, 1.6)),
    Series("#e69f00", "v", (3, 1.2)),
    Series("#56b4e9", "P", (8, 2, 3, 2)),
)
"""No figure has more of them."""
