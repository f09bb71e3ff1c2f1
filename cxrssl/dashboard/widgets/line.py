"""A line of text, or a few, redrawn only when a word or a colour changed."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from cxrssl.dashboard.text.styles import paint
from cxrssl.dashboard.widgets.theme import theme_of


class Line(Static):
    """Text whose height the style sheet sets; with `is_free`, as high as the text."""

    def __init__(self, *, id: str | None = None, is_free: bool = False) -> None:
        super().__init__(id=id)
        self.is_free = is_free
        self._shown: tuple[Text, str] | None = None

    def show(self, text: Text) -> None:
        """Show this text."""
        theme = theme_of(self)
        if (text, theme) != self._shown:
            self._shown = text, theme
            self.update(paint(text, theme), layout=self.is_free)

    def clear(self) -> None:
        """Show nothing."""
        self.show(Text(""))
