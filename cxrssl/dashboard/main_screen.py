"""The one screen of the dashboard: runs above, the focused run's curve and probe results below.

In: DashboardState, read about once a second in a thread. Never: a write, or a read of a file on the thread that draws.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static
from textual.worker import Worker, WorkerState

from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.lines import empty_text, probe_title, run_lines, top_line
from cxrssl.dashboard.plot import CurvePlot
from cxrssl.dashboard.raster import AXES, PlotOptions
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.screens import FindingsScreen, HelpScreen
from cxrssl.dashboard.state import DashboardState, RunRow, filter_runs, probes_of
from cxrssl.dashboard.tables import TROUBLE, KeyedTable, ProbeTable, RunTable

REFRESH_S = 1.0
PANES = ("runs", "curve", "probes")


class StateRead(Message):
    """The files have been read."""

    def __init__(self, state: DashboardState) -> None:
        super().__init__()
        self.state = state


class MainScreen(Screen[None]):
    """Everything at one glance."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "Quit", id="quit"),
        Binding("r", "read", "Refresh", id="refresh"),
        Binding("tab", "move_pane(1)", "Pane", id="next_pane"),
        Binding("shift+tab", "move_pane(-1)", "Pane back", id="previous_pane", show=False),
        Binding("slash", "filter", "Filter", key_display="/", id="filter"),
        Binding("y", "toggle_log", "Log y", id="log_y"),
        Binding("x", "next_axis", "X axis", id="x_axis"),
        Binding("s", "toggle_smooth", "Smooth", id="smooth"),
        Binding("m", "next_metric", "Metric", id="next_metric"),
        Binding("M", "previous_metric", "Metric back", id="previous_metric", show=False),
        Binding("question_mark", "help", "Help", key_display="?", id="help"),
        Binding("escape", "leave_filter", "All runs", show=False),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (32, "-high")]  # noqa: RUF012 (Textual annotates it as an instance's)

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.reader = Reader(workspace)
        self.state: DashboardState | None = None
        self.options = PlotOptions()
        self.metric = "loss"
        self.pane = "runs"
        self._is_reading = self._is_again = False
        self._texts: dict[str, Text] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="top")
        yield Static(id="empty")
        yield RunTable(id="runs")
        yield Input(placeholder="part of a run id; enter keeps the filter, escape shows all runs", id="filter")
        yield Static(id="about")
        yield CurvePlot(id="curve")
        with Vertical(id="probe-pane"):
            yield Static(id="probe-title")
            yield ProbeTable(id="probes")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.query_one("#empty").display = False
        self._show_pane()
        self.set_interval(REFRESH_S, self.action_read)
        self.action_read()

    # ---- reading

    def action_read(self) -> None:
        """Read the files in a thread, or right after the reading that is under way."""
        if self._is_reading:
            self._is_again = True
            return
        self._is_reading = True
        self._read(self.query_one(RunTable).selected, self.metric)

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _read(self, run_id: str, metric: str) -> None:
        self.post_message(StateRead(self.reader.read_state(run_id, metric)))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.worker.group != "read" or event.state in {WorkerState.PENDING, WorkerState.RUNNING}:
            return
        self._is_reading = False
        if event.state == WorkerState.ERROR:
            what = f"{type(event.worker.error).__name__}: {event.worker.error}"
            self._set("#top", Text(f" the workspace cannot be read: {plain(what, 200)}", TROUBLE))
        elif self._is_again:
            self._is_again = False
            self.action_read()

    def on_state_read(self, message: StateRead) -> None:
        self.state = message.state
        self._show_state()
        if message.state.is_reading:
            self.action_read()

    # ---- showing

    def _show_state(self) -> None:
        if self.state is None:
            return
        state = self.state
        text = self.query_one("#filter", Input).value
        shown = filter_runs(state.runs, text)
        self._set("#top", top_line(state, text, len(shown)))
        self.query_one("#empty").display = not state.runs
        self.query_one("#runs").display = bool(state.runs)
        if not state.runs:
            self._set("#empty", empty_text(state))
        self.query_one(RunTable).show_runs(shown)
        self._show_focused()

    def _show_focused(self) -> None:
        state, run = self.state, self.focused_run
        plot, table = self.query_one(CurvePlot), self.query_one(ProbeTable)
        if state is None or run is None:
            self._set("#about", Text(""))
            self._set("#probe-title", Text(""))
            plot.show(None, self.options)
            table.show((), {})
            return
        curve = state.curve
        is_read = curve is not None and curve.run_id == run.run_id
        self._set("#about", run_lines(run, time.time(), state.latest if is_read else {}))
        if curve is not None and is_read and curve.metric == self.metric:
            plot.show(curve, self.options)
        else:
            plot.show(None, self.options, self._no_curve(state, run))
        probes = probes_of(state, run)
        self._set("#probe-title", probe_title(state, run, probes))
        table.show_probes(probes, run)

    def _no_curve(self, state: DashboardState, run: RunRow) -> str:
        if run.loss is None:
            return "no step has been logged yet"
        return "reading the journal ..." if self._is_reading or state.is_reading else f"no {self.metric} was logged"

    @property
    def focused_run(self) -> RunRow | None:
        """The run at the cursor."""
        return self.state.find_run(self.query_one(RunTable).selected) if self.state else None

    def _set(self, selector: str, text: Text) -> None:
        widget = self.query_one(selector, Static)
        if self._texts.get(selector) != text:
            self._texts[selector] = text
            widget.update(text, layout=selector == "#empty")

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_state)

    def on_keyed_table_moved(self, event: KeyedTable.Moved) -> None:
        if isinstance(event.table, RunTable):
            self._is_again = self._is_reading
            self.action_read()
            self._show_focused()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        if isinstance(event.data_table, ProbeTable) and self.state is not None:
            key = event.row_key.value
            probe = next((probe for probe in self.state.probes if probe.eval_id == key), None)
            if probe is not None:
                self.app.push_screen(FindingsScreen(probe))

    # ---- keys

    def action_move_pane(self, by: int) -> None:
        """Go to another pane; on a low screen the curve and the probes take turns."""
        if not self.state or not self.state.runs:
            return
        self.pane = PANES[(PANES.index(self.pane) + by) % len(PANES)]
        self._show_pane()

    def _show_pane(self) -> None:
        self.set_class(self.pane == "probes", "-at-probes")
        self.query_one(f"#{self.pane}").focus()

    def on_descendant_focus(self) -> None:
        focused = self.focused.id if self.focused else None
        if focused in PANES:
            self.pane = focused
            self.set_class(
                self.pane == "probes" or (self.pane == "runs" and self.has_class("-at-probes")), "-at-probes"
            )

    def action_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.display = True
        field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._show_state()
        self.action_read()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.query_one("#filter", Input).display = bool(event.value)
        self.query_one(RunTable).focus()

    def action_leave_filter(self) -> None:
        field = self.query_one("#filter", Input)
        field.value = ""
        field.display = False
        self.query_one(RunTable).focus()

    def action_toggle_log(self) -> None:
        self._set_options(replace(self.options, is_log=not self.options.is_log))

    def action_toggle_smooth(self) -> None:
        self._set_options(replace(self.options, is_smooth=not self.options.is_smooth))

    def action_next_axis(self) -> None:
        axis = AXES[(AXES.index(self.options.x_axis) + 1) % len(AXES)]
        self._set_options(replace(self.options, x_axis=axis))

    def _set_options(self, options: PlotOptions) -> None:
        self.options = options
        self._show_focused()

    def action_next_metric(self) -> None:
        self._move_metric(1)

    def action_previous_metric(self) -> None:
        self._move_metric(-1)

    def _move_metric(self, by: int) -> None:
        metrics = self.state.metrics if self.state else ()
        if metrics:
            at = metrics.index(self.metric) if self.metric in metrics else -by
            self.metric = metrics[(at + by) % len(metrics)]
            self.action_read()
            self._show_focused()

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())
