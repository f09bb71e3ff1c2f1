"""Keys and states, over another screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrssl.dashboard.text.help import help_text
from cxrssl.dashboard.text.styles import paint
from cxrssl.dashboard.widgets.theme import theme_of


class HelpScreen(ModalScreen[None]):
    """Lists the keys of a screen, and what the states of runs mean."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close"),
    ]

    def __init__(self, name: str = "runs") -> None:
        super().__init__()
        self.screen_name = name

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(paint(help_text(self.screen_name), theme_of(self)))
