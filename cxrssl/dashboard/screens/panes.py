"""A screen of panes that tab walks through; on a low screen the last two take turns, by the class -at-probes.

In: the ids of focusable widgets, from above down. Out: which one has the focus.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.events import DescendantFocus
from textual.screen import Screen

from cxrssl.dashboard.state import turn


class PanedScreen(Screen[None]):
    """Knows the pane that the user is at."""

    PANES: ClassVar[tuple[str, ...]]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-high")]  # noqa: RUF012 (Textual annotates it as an instance's)

    def __init__(self) -> None:
        super().__init__()
        self.pane = self.PANES[0]

    def on_mount(self) -> None:
        self.show_pane()

    def show_pane(self) -> None:
        """Focus the pane that the user is at."""
        self.set_class(self.pane == self.PANES[-1], "-at-probes")
        self.query_one(f"#{self.pane}").focus()

    @on(DescendantFocus)
    def follow_focus(self) -> None:
        """Follow a focus that the mouse moved; focusing the first pane leaves the lower one as it is."""
        focused = self.focused.id if self.focused else None
        if focused in self.PANES:
            self.pane = focused
            is_left_open = focused == self.PANES[0] and self.has_class("-at-probes")
            self.set_class(focused == self.PANES[-1] or is_left_open, "-at-probes")

    def action_move_pane(self, by: int) -> None:
        """Go to another pane if there is anything in the first."""
        if self.query_one(f"#{self.PANES[0]}").display:
            self.pane = turn(self.PANES, self.pane, by)
            self.show_pane()
