"""Curves of the marked runs: a panel a metric, all with the same x axis and the same crosshair.

In: CurvesState. Out: what the panels and the legend show. Keys zoom, pan and move the crosshair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from cxrssl.dashboard.screens.common import LAST, CommonScreen
from cxrssl.dashboard.screens.look import Change, change_plot, plot_options
from cxrssl.dashboard.screens.pick import ChooseScreen
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.state import CurvesState
from cxrssl.dashboard.text.curves import MAX_RUNS, curves_line, legend_sheet
from cxrssl.dashboard.text.lines import empty_text, info_line
from cxrssl.dashboard.text.sheet import Sheet
from cxrssl.dashboard.widgets.grid import MAX_PANELS, PlotGrid
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.plot import CurvePlot
from cxrssl.dashboard.widgets.raster import Window
from cxrssl.dashboard.widgets.table import KeyedTable
from cxrssl.dashboard.widgets.theme import theme_of

ZOOM, PAN = 0.6, 0.25


class CurvesScreen(CommonScreen):
    """Metrics of marked runs."""

    NAME = "curves"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "choose_metrics", "Metrics", id="next_metric"),
        Binding("tab", "move_panel(1)", "Panel", id="next_pane"),
        Binding("shift+tab", "move_panel(-1)", "Panel back", show=False, id="previous_pane"),
        Binding("enter", "alone", "One, all", id="alone", show=False),
        Binding("y", "redraw('log')", "Log y", id="log_y", show=False),
        Binding("x", "redraw('axis')", "X axis", id="x_axis"),
        Binding("s", "redraw('smooth')", "Smooth", id="smooth"),
        Binding("S", "redraw('sharp')", "Smooth less", id="sharp", show=False),
        Binding("b", "band", "Raw", show=False, id="band"),
        Binding("plus,equals_sign", "zoom(True)", "Zoom", key_display="+ -", id="zoom"),
        Binding("minus", "zoom(False)", "Zoom out", show=False, id="zoom_out"),
        Binding("0", "whole", "Whole", show=False, id="whole"),
        Binding("left_square_bracket", "pan(-1)", "Pan left", show=False, id="pan_left"),
        Binding("right_square_bracket", "pan(1)", "Pan right", show=False, id="pan_right"),
        Binding("left", "cross(-1)", "Values", key_display="← →", id="cross_left"),
        Binding("right", "cross(1)", "Crosshair right", show=False, id="cross_right"),
        Binding("shift+left", "cross(-10)", "Crosshair far left", show=False),
        Binding("shift+right", "cross(10)", "Crosshair far right", show=False),
        Binding("escape", "hide_cross", "No crosshair", show=False),
        *LAST,
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.state: CurvesState | None = None
        self.window: Window | None = None
        self.crosshair: float | None = None
        self.has_band = True

    def compose_body(self) -> ComposeResult:
        yield Line(id="top")
        yield Line(id="empty", is_free=True)
        yield PlotGrid(id="panels")
        yield KeyedTable(id="legend")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the panels."""
        view = self.session.view
        return view.grid or (view.metric,)

    def plan_reading(self) -> Callable[[], CurvesState]:
        view = self.session.view
        run_ids = view.marked or ((self.session.focused_id,) if self.session.focused_id else ())
        return partial(self.session.reader.read_curves, run_ids, view.pinned, self.metrics, MAX_RUNS)

    def show_state(self) -> None:
        state = self.state
        if state is None:
            return
        has_runs = bool(state.runs)
        for name in ("#panels", "#legend"):
            self.query_one(name).display = has_runs
        self.query_one("#empty").display = not has_runs
        if not has_runs:
            self.query_one("#top", Line).show(info_line("no runs yet"))
            self.query_one("#empty", Line).show(empty_text(str(self.session.workspace.root)))
            return
        view = self.session.view
        options = plot_options(view, self.window, self.has_band)
        words = [f"smoothed over {options.smoothing:.1%}" if options.smoothing else "not smoothed"]
        words += [f"panel {self.query_one(PlotGrid).focused_panel + 1} of {len(self.metrics)}"]
        words += ["zoomed: 0 shows all"] if self.window else []
        num_marked = state.num_marked if view.marked else 0
        line = curves_line(num_marked, len(state.runs), words)
        self.query_one("#top", Line).show(info_line(line))
        self.query_one(PlotGrid).show(self.metrics, self._fill)
        self.show_legend()

    def _fill(self, panel: CurvePlot, metric: str) -> None:
        assert self.state is not None, "a panel is filled from a state"
        options = plot_options(self.session.view, self.window, self.has_band)
        reason = "reading the journals ..." if self.state.is_reading else f"no {metric} was logged by these runs"
        found = self.state.curves_of(metric)
        places = tuple(found) if len(self.state.runs) > 1 else ()
        panel.show(list(found.values()), reason, options, places, self.crosshair)

    def show_legend(self) -> None:
        if self.state is None:
            return
        at, metrics = None, list(self.metrics)
        if self.crosshair is not None:
            shown = [(p, m) for p, m in zip(self.query(CurvePlot), self.metrics, strict=False) if p.display]
            metrics = [metric for _, metric in shown]
            at = {(k, metric): value for p, metric in shown for k, value in p.values_at(self.crosshair).items()}
        room = self.app.size.width - 3
        sheet = legend_sheet(self.state.runs, metrics, self.state.pinned, room, at, theme_of(self))
        self.query_one("#legend", KeyedTable).show_sheet(sheet)

    def sheets(self) -> list[Sheet]:
        if self.state is None:
            return []
        return [legend_sheet(self.state.runs, self.metrics, self.state.pinned)]

    def selected_key(self) -> str:
        return self.query_one("#legend", KeyedTable).selected

    @on(CurvePlot.Pointed)
    def point(self, message: CurvePlot.Pointed) -> None:
        self.crosshair = message.x
        self.show_state()

    @on(CurvePlot.Zoomed)
    def zoom_at(self, message: CurvePlot.Zoomed) -> None:
        self._zoom(message.x, message.is_closer)

    def action_choose_metrics(self) -> None:
        if self.state is None:
            return

        def take(names: tuple[str, ...] | None) -> None:
            if names:
                self.session.change(grid=names[:MAX_PANELS], metric=names[0])
                self.action_read()
                self.show_state()

        options = list(dict.fromkeys((*self.state.metrics, *self.metrics)))
        self.app.push_screen(ChooseScreen(f"Metrics, at most {MAX_PANELS}", options, self.metrics), take)

    def action_move_panel(self, by: int) -> None:
        self.query_one(PlotGrid).move(by, len(self.metrics))
        self.show_state()

    def action_alone(self) -> None:
        grid = self.query_one(PlotGrid)
        grid.is_alone = not grid.is_alone
        self.show_state()

    def action_redraw(self, change: Change) -> None:
        if change == "axis":
            self.window = self.crosshair = None
        self.session.change(**change_plot(self.session.view, change))
        self.show_state()

    def action_band(self) -> None:
        self.has_band = not self.has_band
        self.show_state()

    def _span(self) -> Window | None:
        raster = self.query_one(PlotGrid).panel.raster
        scale = raster.x_scale if raster else None
        return (scale.low, scale.high) if scale else None

    def _zoom(self, x: float | None, is_closer: bool) -> None:
        span = self._span()
        if span is None:
            return
        low, high = self.window or span
        middle = (low + high) / 2 if x is None else min(max(x, low), high)
        factor = ZOOM if is_closer else 1 / ZOOM
        fresh = middle - (middle - low) * factor, middle + (high - middle) * factor
        whole = fresh[1] - fresh[0]
        is_sane = whole > 1e-9 * max(abs(fresh[0]), abs(fresh[1]), 1e-9)
        self.window = fresh if is_sane and (is_closer or self.window) else self.window
        self.show_state()

    def action_zoom(self, is_closer: bool) -> None:
        self._zoom(self.crosshair, is_closer)

    def action_whole(self) -> None:
        self.window = None
        self.show_state()

    def action_pan(self, by: int) -> None:
        span = self.window or self._span()
        if span is not None:
            shift = by * PAN * (span[1] - span[0])
            self.window = span[0] + shift, span[1] + shift
            self.show_state()

    def action_cross(self, by: int) -> None:
        """Move the crosshair by so many columns; the first time it appears in the middle."""
        span, raster = self._span(), self.query_one(PlotGrid).panel.raster
        if span is None or raster is None or raster.x_scale is None:
            return
        unit = (span[1] - span[0]) / raster.x_scale.num_cells
        middle = raster.x_scale.value_of(raster.x_scale.num_cells // 2)
        at = middle if self.crosshair is None else self.crosshair + by * unit
        self.crosshair = min(max(at, span[0] + unit / 2), span[1] - unit / 2)
        self.show_state()

    def action_hide_cross(self) -> None:
        self.crosshair = None
        self.show_state()
