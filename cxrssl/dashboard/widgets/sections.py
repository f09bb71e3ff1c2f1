"""Parts of text with titles below each other, in two columns where there is room; it scrolls."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll

from cxrssl.dashboard.text.people import split_in_two
from cxrssl.dashboard.text.styles import KEY
from cxrssl.dashboard.widgets.line import Line

Section = tuple[str, Text]


class Sections(VerticalScroll):
    """All parts."""

    DEFAULT_CSS = """
    Sections Horizontal { height: auto; }
    Sections Line { width: 1fr; height: auto; padding: 0 1; }
    """

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Line(id="left", is_free=True)
            yield Line(id="right", is_free=True)

    def show(self, parts: Sequence[Section], num_columns: int = 1) -> None:
        """Show these parts in one or two columns."""
        heights = [body.plain.count("\n") + 3 for _, body in parts]
        first = len(parts) if num_columns == 1 else split_in_two(heights)
        self.query_one("#left", Line).show(_join(parts[:first]))
        right = self.query_one("#right", Line)
        right.display = first < len(parts)
        right.show(_join(parts[first:]))


def _join(parts: Sequence[Section]) -> Text:
    text = Text()
    for title, body in parts:
        text.append(f"{title}\n", KEY).append_text(body).append("\n\n")
    return text
