"""The findings of one candidate, over the screen of runs."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrssl.dashboard.state import ProbeRow
from cxrssl.dashboard.text.lines import findings_title
from cxrssl.dashboard.text.styles import paint
from cxrssl.dashboard.widgets.finding_table import FindingTable
from cxrssl.dashboard.widgets.theme import theme_of


class FindingsScreen(ModalScreen[None]):
    """The findings of one candidate."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close", priority=True)]

    def __init__(self, probe: ProbeRow) -> None:
        super().__init__()
        self.probe = probe

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(paint(findings_title(self.probe), theme_of(self)), classes="about")
            yield FindingTable(id="findings")

    def on_mount(self) -> None:
        table = self.query_one(FindingTable)
        table.show_findings(self.probe)
        table.focus()
