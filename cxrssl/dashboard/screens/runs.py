"""All runs above; the focused run's curve and its probe results below.

In: DashboardState. Out: what the widgets show, and which run and metric are read next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input

from cxrssl.core.errors import UsageError
from cxrssl.core.text import shell_word
from cxrssl.dashboard.kept import Kept
from cxrssl.dashboard.screens.common import LAST, CommonScreen
from cxrssl.dashboard.screens.findings import FindingsScreen
from cxrssl.dashboard.screens.look import Change, change_plot, plot_options
from cxrssl.dashboard.screens.panes import PanedScreen
from cxrssl.dashboard.screens.pick import ChooseScreen
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.state import DashboardState, RunRow, filter_runs, turn
from cxrssl.dashboard.text.lines import empty_text, failure_line, no_curve_text, run_lines, top_line
from cxrssl.dashboard.text.runs import GROUPED, groups_sheet, runs_sheet
from cxrssl.dashboard.text.sheet import Sheet
from cxrssl.dashboard.view import FIXED, SEED_KEY, differing_keys, group_runs
from cxrssl.dashboard.widgets.filter import RunFilter
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.plot import CurvePlot
from cxrssl.dashboard.widgets.probe_pane import ProbePane
from cxrssl.dashboard.widgets.run_table import RunTable

FIRST_BYTES = 1 << 16


class RunsScreen(CommonScreen, PanedScreen):
    """Everything at one glance."""

    NAME = "runs"
    PANES = ("runs", "curve", "probes")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "move_pane(1)", "Pane", id="next_pane"),
        Binding("shift+tab", "move_pane(-1)", "Pane back", id="previous_pane", show=False),
        Binding("slash", "filter", "Filter", key_display="/", id="filter"),
        Binding("space", "mark", "Mark", key_display="space", id="mark"),
        Binding("a", "mark_all", "Mark all", show=False, id="mark_all"),
        Binding("less_than_sign", "move_sort(-1)", "Sort", key_display="< >", id="sort_left"),
        Binding("greater_than_sign", "move_sort(1)", "Sort by the next column", show=False, id="sort_right"),
        Binding("o", "reverse", "Reverse", show=False, id="reverse"),
        Binding("c", "choose_columns", "Columns", id="columns"),
        Binding("u", "group", "Unite seeds", show=False, id="group"),
        Binding("U", "group_by_key", "Unite by a recipe key", show=False, id="group_by_key"),
        Binding("p", "pin", "Pin", show=False, id="pin"),
        Binding("m", "move_metric(1)", "Metric", id="next_metric"),
        Binding("M", "move_metric(-1)", "Metric back", id="previous_metric", show=False),
        Binding("y", "redraw('log')", "Log y", id="log_y", show=False),
        Binding("x", "redraw('axis')", "X axis", id="x_axis", show=False),
        Binding("s", "redraw('smooth')", "Smooth", id="smooth", show=False),
        Binding("S", "redraw('sharp')", "Smooth less", id="sharp", show=False),
        Binding("escape", "leave_filter", "All runs", show=False),
        *LAST,
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.reader = session.reader
        self.state: DashboardState | None = None
        self._filtered: Kept[tuple[RunRow, ...]] = Kept()

    @property
    def metric(self) -> str:
        return self.session.view.metric

    def compose_body(self) -> ComposeResult:
        yield Line(id="top")
        yield Line(id="empty", is_free=True)
        yield RunTable(id="runs")
        yield RunFilter(id="filter")
        yield Line(id="about")
        yield CurvePlot(id="curve")
        yield ProbePane(id="probe-pane")

    def on_mount(self) -> None:
        field = self.query_one(RunFilter)
        with self.prevent(Input.Changed):
            field.value = self.session.view.filter
        field.display = bool(field.value)

    def plan_reading(self) -> Callable[[], DashboardState]:
        read = partial(self.reader.read_state, self.query_one(RunTable).selected, self.metric)
        if self.state is None:  # the table first, without what journals say
            read = partial(read, FIRST_BYTES, 0.0)
        return partial(self._keep_and_read, read)

    def _keep_and_read(self, read: Callable[[], DashboardState]) -> DashboardState:
        self.session.keep()
        return read()

    @property
    def focused_run(self) -> RunRow | None:
        """The run at the cursor."""
        return self.state.find_run(self.query_one(RunTable).selected) if self.state else None

    @property
    def shown(self) -> tuple[RunRow, ...]:
        """The runs that the filter lets through."""
        if self.state is None:
            return ()
        field = self.query_one(RunFilter)
        try:
            shown = self._filtered.get(
                (self.state.runs, field.value), partial(filter_runs, self.state.runs, field.value)
            )
            field.wanted = field.value
        except UsageError as error:
            field.complain(error.what)
            return filter_runs(self.state.runs, field.wanted)
        field.complain("")
        return shown

    def sheets(self) -> list[Sheet]:
        view = self.session.view
        return [(groups_sheet if view.is_grouped else runs_sheet)(self.shown, view)]

    def selected_key(self) -> str:
        return self.query_one(RunTable).selected

    def command(self) -> str:
        run = self.focused_run
        if run is None:
            return ""
        return f"cxrssl {'probe' if run.state == 'finished' else 'runs show'} {shell_word(run.run_id)}"

    def show_state(self) -> None:
        if self.state is None:
            return
        shown = self.shown
        text, table, empty = self.query_one(RunFilter).wanted, self.query_one(RunTable), self.query_one("#empty", Line)
        self.query_one(RunFilter).learn(self.state.runs)
        why = self.query_one(RunFilter).why
        line = top_line(self.state, text, len(shown), self.session.view)
        self.query_one("#top", Line).show(failure_line(why, "this is no filter yet") if why else line)
        for widget, is_seen in ((table, True), (empty, False), (self.query_one("#about"), True)):
            widget.display = bool(self.state.runs) == is_seen
        for name in ("#curve", "#probe-pane"):
            self.query_one(name).set_class(not self.state.runs, "-hidden")
        if not self.state.runs:
            empty.show(empty_text(self.state.root))
        table.show_runs(shown, self.session.view)
        self.show_focused()

    def show_focused(self) -> None:
        state, run, about = self.state, self.focused_run, self.query_one("#about", Line)
        plot, pane = self.query_one(CurvePlot), self.query_one(ProbePane)
        if state is None or run is None:
            about.clear()
            plot.show(())
            pane.clear()
            return
        self.session.focused_id = run.run_id
        about.show(run_lines(run, time.time(), state.latest_of(run), state.ablations_of(run)))
        reason = no_curve_text(run, self.metric, self.is_reading or state.is_reading)
        curve = state.curve_of(run, self.metric)
        plot.show([curve] if curve else [], reason, plot_options(self.session.view))
        pane.show(state, run)

    @on(RunTable.Moved, "#runs")
    def focus_run(self) -> None:
        self.action_read()
        self.show_focused()

    @on(DataTable.HeaderSelected, "#runs")
    def sort_by_click(self, event: DataTable.HeaderSelected) -> None:
        """Sort by the column that was clicked, and the other way round when it is clicked again."""
        name = event.column_key.value or "run"
        is_same = name == self.session.view.sort
        self.look(sort=name, is_descending=is_same and not self.session.view.is_descending)

    @on(DataTable.RowSelected, "#runs")
    async def open_run(self) -> None:
        """Open the run at the cursor on its own screen."""
        await self.app.run_action("open_screen('run')")

    @on(ProbePane.Opened)
    def open_findings(self, message: ProbePane.Opened) -> None:
        self.app.push_screen(FindingsScreen(message.probe))

    @on(Input.Changed, "#filter")
    def filter_more(self) -> None:
        self.look(filter=self.query_one(RunFilter).value)

    @on(Input.Submitted, "#filter")
    def go_to_runs(self) -> None:
        self.query_one(RunTable).focus()

    def look(self, **changes: object) -> None:
        """Look at the runs otherwise."""
        self.session.change(**changes)
        self.show_state()
        self.action_read()

    def action_filter(self) -> None:
        self.query_one(RunFilter).open()

    def action_leave_filter(self) -> None:
        self.query_one(RunFilter).leave()
        self.query_one(RunTable).focus()

    def action_mark(self) -> None:
        """Mark the run at the cursor, or all runs of the group, and go to the next row."""
        run, table = self.focused_run, self.query_one(RunTable)
        if run is None:
            return
        view = self.session.view
        groups = group_runs(self.shown, self.metric, view.group_key) if view.is_grouped else ()
        ids = next((group.run_ids for group in groups if run.run_id in group.run_ids), (run.run_id,))
        self._mark(ids, not set(ids) <= set(self.session.view.marked))
        table.action_cursor_down()

    def action_mark_all(self) -> None:
        """Mark all runs that are shown, or none of them if all are."""
        ids = [run.run_id for run in self.shown]
        self._mark(ids, not set(ids) <= set(self.session.view.marked))

    def _mark(self, ids: Sequence[str], is_marked: bool) -> None:
        others = tuple(each for each in self.session.view.marked if each not in ids)
        self.look(marked=others + tuple(ids) if is_marked else others)

    def action_move_sort(self, by: int) -> None:
        view = self.session.view
        names = ("run", *(GROUPED if view.is_grouped else [name for name in view.columns if name != "run"]), "started")
        self.look(sort=turn(list(dict.fromkeys(names)), view.sort, by))

    def action_reverse(self) -> None:
        self.look(is_descending=not self.session.view.is_descending)

    def action_group(self) -> None:
        self.look(is_grouped=not self.session.view.is_grouped, group_key="")

    def action_group_by_key(self) -> None:
        """Unite runs that have the same value of a recipe key."""
        keys = [key for key in differing_keys(self.shown) if key != SEED_KEY]
        if not keys:
            self.notify("these runs differ in no recipe key but the seed", markup=False)
            return
        self.pick("Unite by", keys, self.session.view.group_key, self._group_by)

    def _group_by(self, key: str) -> None:
        self.look(is_grouped=True, group_key=key)

    def action_pin(self) -> None:
        run = self.focused_run
        if run is not None:
            self.look(pinned="" if run.run_id == self.session.view.pinned else run.run_id)

    def action_choose_columns(self) -> None:
        """Choose among the columns that every run has and the recipe keys of which runs differ."""
        chosen = self.session.view.columns
        keys = differing_keys(self.state.runs) if self.state else ()
        options = tuple(dict.fromkeys((*FIXED[1:], *keys, *chosen)))

        def take(names: tuple[str, ...] | None) -> None:
            if names is not None:
                self.look(columns=("run", *(name for name in names if name != "run")))

        self.app.push_screen(ChooseScreen("Columns", [name for name in options if name != "run"], chosen), take)

    def action_redraw(self, change: Change) -> None:
        self.look(**change_plot(self.session.view, change))

    def action_move_metric(self, by: int) -> None:
        if self.state and self.state.metrics:
            self.look(metric=turn(self.state.metrics, self.metric, by))
