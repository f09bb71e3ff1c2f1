"""A list to pick one thing from, or several, over another screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, SelectionList, Static
from textual.widgets.option_list import Option
from textual.widgets.selection_list import Selection

from cxrssl.core.text import plain

MOVES: list[BindingType] = [
    Binding("j", "list_move('cursor_down')", "Down", show=False),
    Binding("k", "list_move('cursor_up')", "Up", show=False),
    Binding("g", "list_move('first')", "Top", show=False),
    Binding("G", "list_move('last')", "Bottom", show=False),
]


class PickScreen(ModalScreen[int | None]):
    """Returns the place of what was picked, None for nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Close"), *MOVES]

    def __init__(self, title: str, options: Sequence[str], at: int = 0) -> None:
        super().__init__()
        self.title_text, self.options, self.at = title, options, at

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(f"{self.title_text}: enter picks, escape leaves it as it is"), classes="about")
            yield OptionList(*(Option(Text(plain(text, 200))) for text in self.options))

    def on_mount(self) -> None:
        options = self.query_one(OptionList)
        options.highlighted = min(self.at, len(self.options) - 1) if self.options else None
        options.focus()

    def action_list_move(self, how: str) -> None:
        getattr(self.query_one(OptionList), f"action_{how}")()

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index)


class ChooseScreen(ModalScreen[tuple[str, ...] | None]):
    """Returns what was chosen, in the order of the list; None when the user left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "Take", priority=True),
        Binding("escape,q", "dismiss", "Close"),
        *MOVES,
    ]

    def __init__(self, title: str, options: Sequence[str], chosen: Sequence[str]) -> None:
        super().__init__()
        self.title_text, self.options, self.chosen = title, tuple(options), set(chosen)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text(f"{self.title_text}: space chooses, enter takes them, escape leaves it"), classes="about")
            yield SelectionList[int](
                *(Selection(Text(plain(name, 200)), at, name in self.chosen) for at, name in enumerate(self.options))
            )

    def on_mount(self) -> None:
        self.query_one(SelectionList).focus()

    def action_list_move(self, how: str) -> None:
        getattr(self.query_one(SelectionList), f"action_{how}")()

    def action_take(self) -> None:
        selected = set(self.query_one(SelectionList).selected)
        self.dismiss(tuple(name for at, name in enumerate(self.options) if at in selected))
