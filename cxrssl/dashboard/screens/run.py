"""One run: its recipe with what is other than the default or the pinned run, and all that is known of it.

In: RunDetail. Out: a table and a text, side by side where there is room, else in turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll

from cxrssl.dashboard.detail import RunDetail
from cxrssl.dashboard.screens.common import LAST, CommonScreen
from cxrssl.dashboard.screens.reading import StateRead
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.text.detail import sections, settings_sheet
from cxrssl.dashboard.text.lines import empty_text, info_line, outcome_sentence
from cxrssl.dashboard.text.sheet import Sheet
from cxrssl.dashboard.text.styles import KEY
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.table import KeyedTable

WIDE = 150
"""Places from which on recipe and text stand side by side."""


class RunScreen(CommonScreen):
    """The run at the cursor of the screen of runs."""

    NAME = "run"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "move_pane", "Recipe, rest", id="next_pane"),
        Binding("d", "only_other", "Differences", id="only_other"),
        Binding("n", "move_run(1)", "Next run", id="next_run"),
        Binding("N", "move_run(-1)", "Run back", show=False, id="previous_run"),
        Binding("j,down", "move(1)", "Down", show=False),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("g", "move_to_end(False)", "Top", show=False),
        Binding("G", "move_to_end(True)", "Bottom", show=False),
        *LAST,
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.state: RunDetail | None = None
        self.has_only_other = True
        self.is_at_text = True

    def compose_body(self) -> ComposeResult:
        yield Line(id="top")
        yield Line(id="outcome")
        yield Line(id="empty", is_free=True)
        with Horizontal(id="sides"):
            yield KeyedTable(id="recipe")
            with VerticalScroll(id="detail"):
                yield Line(id="text", is_free=True)

    def plan_reading(self) -> Callable[[], RunDetail]:
        return partial(self.session.reader.read_detail, self.session.focused_id, self.session.view.pinned)

    def take_state(self, message: StateRead) -> None:
        self.state = message.state
        if self.state is not None and self.state.run is not None:
            self.session.focused_id = self.state.run.run_id
        self.show_state()

    def show_state(self) -> None:
        detail = self.state
        if detail is None:
            return
        run, width = detail.run, self.app.size.width
        self.query_one("#empty").display = run is None
        self.query_one("#sides").display = run is not None
        if run is None:
            self.query_one("#top", Line).show(info_line("no runs yet"))
            self.query_one("#empty", Line).show(empty_text(str(self.session.workspace.root)))
            return
        is_wide = width >= WIDE
        self.query_one("#top", Line).show(info_line(run.run_id))
        self.query_one("#outcome", Line).show(info_line(outcome_sentence(run)))
        table, pane = self.query_one("#recipe", KeyedTable), self.query_one("#detail")
        table.display = is_wide or not self.is_at_text
        pane.display = is_wide or self.is_at_text
        room = 70 if is_wide else width - 3
        table.styles.width = 72 if is_wide else "1fr"
        table.show_sheet(self._sheet(room).measure())
        text = Text()
        for title, body in sections(detail, time.time()):
            text.append(f"{title}\n", KEY)
            text.append_text(body).append("\n\n")
        self.query_one("#text", Line).show(text)
        (table if table.display and not (is_wide and self.is_at_text) else pane).focus()

    def _sheet(self, width: int | None = None) -> Sheet:
        assert self.state is not None, "a recipe is of a run"
        has_some = any(setting.is_other for setting in self.state.settings)
        return settings_sheet(self.state, self.has_only_other and has_some, width)

    def sheets(self) -> list[Sheet]:
        return [settings_sheet(self.state, False)] if self.state and self.state.run else []

    def selected_key(self) -> str:
        return self.query_one("#recipe", KeyedTable).selected

    def command(self) -> str:
        return " && ".join(self.state.command) if self.state else ""

    def action_move_pane(self) -> None:
        self.is_at_text = not self.is_at_text
        self.show_state()

    def action_only_other(self) -> None:
        self.has_only_other = not self.has_only_other
        self.show_state()

    def action_move_run(self, by: int) -> None:
        runs = self.session.reader.known_ids
        if runs:
            self.session.focused_id = turn(runs, self.session.focused_id, by)
            self.action_read()

    def action_move(self, by: int) -> None:
        pane = self.query_one("#detail", VerticalScroll)
        pane.scroll_relative(y=2 * by, animate=False)

    def action_move_to_end(self, is_down: bool) -> None:
        pane = self.query_one("#detail", VerticalScroll)
        (pane.scroll_end if is_down else pane.scroll_home)(animate=False)
