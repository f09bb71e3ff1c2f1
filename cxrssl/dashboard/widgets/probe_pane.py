"""The lower pane: candidates probed on the cohort and split of the focused run, under a title."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message

from cxrssl.dashboard.state import DashboardState, ProbeRow, RunRow, probes_of
from cxrssl.dashboard.text.lines import probe_title
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.probe_table import ProbeTable


class ProbePane(Vertical):
    """A title and a table."""

    class Opened(Message):
        """The user wants to see all of a candidate."""

        def __init__(self, probe: ProbeRow) -> None:
            super().__init__()
            self.probe = probe

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._probes: dict[str, ProbeRow] = {}

    def compose(self) -> ComposeResult:
        yield Line(id="probe-title")
        yield ProbeTable(id="probes")

    def show(self, state: DashboardState, run: RunRow) -> None:
        """Show the candidates beside this run."""
        probes = probes_of(state, run)
        self._probes = {probe.eval_id: probe for probe in probes}
        self.query_one(Line).show(probe_title(state, run, probes))
        self.query_one(ProbeTable).show_probes(probes, run)

    def clear(self) -> None:
        """Show nothing."""
        self.query_one(Line).clear()
        self.query_one(ProbeTable).show((), {})

    @on(ProbeTable.RowSelected)
    def open_candidate(self, event: ProbeTable.RowSelected) -> None:
        probe = self._probes.get(event.row_key.value or "")
        if probe is not None:
            self.post_message(self.Opened(probe))
