"""The formats of figures: SVG for pages, PDF for print, PNG where neither is shown."""

from __future__ import annotations

from typing import Literal

Format = Literal["svg", "pdf", "png"]
FORMATS: tuple[Format, ...] = ("svg", "pdf", "png")
