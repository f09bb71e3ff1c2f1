"""All runs above; the focused run's curve and its probe results below.

In: DashboardState. Out: what the widgets show, and which run and metric are read next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import Footer, Input

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.screens.findings import FindingsScreen
from cxrssl.dashboard.screens.help import HelpScreen
from cxrssl.dashboard.screens.panes import PanedScreen
from cxrssl.dashboard.screens.reading import ReadFailed, ReadingScreen, StateRead
from cxrssl.dashboard.state import DashboardState, RunRow, filter_runs, turn
from cxrssl.dashboard.text.lines import empty_text, failure_line, no_curve_text, run_lines, top_line
from cxrssl.dashboard.widgets.filter import RunFilter
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.plot import Change, CurvePlot
from cxrssl.dashboard.widgets.probe_pane import ProbePane
from cxrssl.dashboard.widgets.run_table import RunTable


class RunsScreen(ReadingScreen, PanedScreen):
    """Everything at one glance."""

    PANES = ("runs", "curve", "probes")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "Quit", id="quit"),
        Binding("r", "read", "Refresh", id="refresh"),
        Binding("tab", "move_pane(1)", "Pane", id="next_pane"),
        Binding("shift+tab", "move_pane(-1)", "Pane back", id="previous_pane", show=False),
        Binding("slash", "filter", "Filter", key_display="/", id="filter"),
        Binding("y", "redraw('log')", "Log y", id="log_y"),
        Binding("x", "redraw('axis')", "X axis", id="x_axis"),
        Binding("s", "redraw('smooth')", "Smooth", id="smooth"),
        Binding("m", "move_metric(1)", "Metric", id="next_metric"),
        Binding("M", "move_metric(-1)", "Metric back", id="previous_metric", show=False),
        Binding("question_mark", "help", "Help", key_display="?", id="help"),
        Binding("escape", "leave_filter", "All runs", show=False),
    ]

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.reader = Reader(workspace)
        self.state: DashboardState | None = None
        self.metric = "loss"

    def compose(self) -> ComposeResult:
        yield Line(id="top")
        yield Line(id="empty", is_free=True)
        yield RunTable(id="runs")
        yield RunFilter(id="filter")
        yield Line(id="about")
        yield CurvePlot(id="curve")
        yield ProbePane(id="probe-pane")
        yield Footer(show_command_palette=False, compact=True)

    def plan_reading(self) -> Callable[[], DashboardState]:
        return partial(self.reader.read_state, self.query_one(RunTable).selected, self.metric)

    @property
    def focused_run(self) -> RunRow | None:
        """The run at the cursor."""
        return self.state.find_run(self.query_one(RunTable).selected) if self.state else None

    @on(StateRead)
    def take_state(self, message: StateRead) -> None:
        self.state = message.state
        self.show_state()

    @on(ReadFailed)
    def show_failure(self, message: ReadFailed) -> None:
        self.query_one("#top", Line).show(failure_line(message.what))

    def show_state(self) -> None:
        if self.state is None:
            return
        text, table, empty = self.query_one(RunFilter).value, self.query_one(RunTable), self.query_one("#empty", Line)
        shown = filter_runs(self.state.runs, text)
        self.query_one("#top", Line).show(top_line(self.state, text, len(shown)))
        table.display, empty.display = bool(self.state.runs), not self.state.runs
        if not self.state.runs:
            empty.show(empty_text(self.state))
        table.show_runs(shown)
        self.show_focused()

    def show_focused(self) -> None:
        state, run, about = self.state, self.focused_run, self.query_one("#about", Line)
        plot, pane = self.query_one(CurvePlot), self.query_one(ProbePane)
        if state is None or run is None:
            about.clear()
            plot.show(None)
            pane.clear()
            return
        about.show(run_lines(run, time.time(), state.latest_of(run), state.ablations_of(run)))
        reason = no_curve_text(run, self.metric, self.is_reading or state.is_reading)
        plot.show(state.curve_of(run, self.metric), reason)
        pane.show(state, run)

    @on(Resize)
    def fit(self) -> None:
        self.call_after_refresh(self.show_state)

    @on(RunTable.Moved, "#runs")
    def focus_run(self) -> None:
        self.action_read()
        self.show_focused()

    @on(ProbePane.Opened)
    def open_findings(self, message: ProbePane.Opened) -> None:
        self.app.push_screen(FindingsScreen(message.probe))

    @on(Input.Changed)
    def filter_more(self) -> None:
        self.show_state()
        self.action_read()

    @on(Input.Submitted)
    def go_to_runs(self) -> None:
        self.query_one(RunTable).focus()

    def action_filter(self) -> None:
        self.query_one(RunFilter).open()

    def action_leave_filter(self) -> None:
        self.query_one(RunFilter).leave()
        self.query_one(RunTable).focus()

    def action_redraw(self, change: Change) -> None:
        self.query_one(CurvePlot).redraw(change)

    def action_move_metric(self, by: int) -> None:
        if self.state and self.state.metrics:
            self.metric = turn(self.state.metrics, self.metric, by)
            self.action_read()
            self.show_focused()

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())
