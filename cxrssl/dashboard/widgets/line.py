"""A line of text, or a few, redrawn only when a word or a colour changed."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class Line(Static):
    """Text whose height the style sheet sets; with `is_free`, as high as the text."""

    def __init__(self, *, id: str | None = None, is_free: bool = False) -> None:
        super().__init__(id=id)
        self.is_free = is_free
        self._shown: Text | None = None

    def show(self, text: Text) -> None:
        """Show this text."""
        if text != self._shown:
            self._shown = text
            self.update(text, layout=self.is_free)

    def clear(self) -> None:
        """Show nothing."""
        self.show(Text(""))
