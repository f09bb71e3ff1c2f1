"""SQL over the store of experiments or a cohort: read-only, with saved queries; the answer can be saved as CSV.

In: what was typed. Out: a table. Never: a query on the thread that draws.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input

from cxrssl.core.text import plain
from cxrssl.dashboard.asked import RESULTS, USUAL_QUERIES, Answer, ask, list_tables
from cxrssl.dashboard.screens.common import LAST, CommonScreen
from cxrssl.dashboard.screens.pick import PickScreen
from cxrssl.dashboard.screens.reading import ReadFailed, StateRead
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.text.lines import failure_line, info_line
from cxrssl.dashboard.text.sheet import Sheet
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.table import KeyedTable

MAX_SAVED = 50


class SqlScreen(CommonScreen):
    """One query and its answer."""

    NAME = "sql"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "move_pane", "Query, answer", id="next_pane"),
        Binding("slash,i", "edit", "Query", key_display="/", id="filter"),
        Binding("d", "move_place(1)", "Database", id="database"),
        Binding("l", "pick_saved", "Saved", id="saved"),
        Binding("s", "save_query", "Save query", id="save_query", show=False),
        Binding("E", "save", "To file", id="save"),
        Binding("escape", "leave", "Answer", show=False),
        *LAST,
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.state: Answer | None = None
        self.place = RESULTS
        self.query_text = ""
        self.is_asking = False

    def compose_body(self) -> ComposeResult:
        yield Line(id="top")
        yield Input(placeholder="SELECT * FROM macro", id="query")
        yield KeyedTable(id="answer")

    def on_mount(self) -> None:
        self.query_one("#query", Input).focus()

    def read_if_seen(self) -> None:
        """A query runs when the user starts it, and is never repeated automatically."""

    def plan_reading(self) -> Callable[[], Answer]:
        if not self.query_text:
            return partial(list_tables, self.session.workspace, self.place)
        return partial(ask, self.session.workspace, self.place, self.query_text)

    def take_state(self, message: StateRead) -> None:
        if message.state.is_listing and self.query_text:
            return  # a query was asked meanwhile
        self.state, self.is_asking = message.state, False
        self.query_one("#answer", KeyedTable).chosen_key = ""
        self.show_state()

    def show_failure(self, message: ReadFailed) -> None:
        self.is_asking = False
        self.query_one("#top", Line).show(failure_line(message.what, "the query failed"))

    def show_state(self) -> None:
        answer = self.state or Answer()
        where = "the store of runs" if self.place == RESULTS else f"cohort {plain(self.place, 60)}"
        line = f"{where} · {'asking ...' if self.is_asking else answer.line}"
        self.query_one("#top", Line).show(failure_line(answer.error, where) if answer.error else info_line(line))
        table = self.query_one("#answer", KeyedTable)
        if answer.sheet is not None and not answer.error:
            table.show_sheet(answer.sheet.measure())

    @on(DataTable.RowSelected, "#answer")
    def ask_table(self) -> None:
        """Show the table at the cursor of the list of tables."""
        sheet = self.state.sheet if self.state and self.state.is_listing else None
        row = sheet.rows.get(self.selected_key()) if sheet else None
        if row:
            self.query_one("#query", Input).value = f'FROM "{row[0].text}"'
            self.ask_query()

    @on(Input.Submitted, "#query")
    def ask_query(self) -> None:
        self.query_text = self.query_one("#query", Input).value.strip()
        if self.query_text:
            self.is_asking = True
            self.action_read()
            self.show_state()
            self.query_one("#answer").focus()

    def sheets(self) -> list[Sheet]:
        return [self.state.sheet] if self.state and self.state.sheet else []

    def selected_key(self) -> str:
        return self.query_one("#answer", KeyedTable).selected

    def command(self) -> str:
        if not self.query_text:
            return ""
        where = ["--results"] if self.place == RESULTS else ["--cohort", self.place]
        return shlex.join(["cxrssl", "sql", *where, self.query_text])

    def action_move_pane(self) -> None:
        answer, field = self.query_one("#answer", DataTable), self.query_one("#query", Input)
        (answer if field.has_focus else field).focus()

    def action_edit(self) -> None:
        self.query_one("#query", Input).focus()

    def action_leave(self) -> None:
        self.query_one("#answer").focus()

    def action_move_place(self, by: int) -> None:
        places = (RESULTS, *self.session.workspace.cohort_names())
        self.place = turn(places, self.place, by)
        self.query_text, self.state = "", None
        self.show_state()
        self.action_read()

    def action_pick_saved(self) -> None:
        saved = (each.partition("\t") for each in self.session.view.queries)
        options = [(place, text) for place, _, text in saved if text]
        cohorts = self.session.workspace.cohort_names()
        options += [(place or (cohorts[0] if cohorts else RESULTS), text) for _, place, text in USUAL_QUERIES]

        def take(at: int | None) -> None:
            if at is not None:
                self.place, self.query_text = options[at]
                self.query_one("#query", Input).value = self.query_text
                self.ask_query()

        self.app.push_screen(PickScreen("Saved queries", [f"{place}: {text}" for place, text in options]), take)

    def action_save_query(self) -> None:
        if self.query_text:
            fresh = f"{self.place}\t{self.query_text}"
            others = tuple(each for each in self.session.view.queries if each != fresh)
            self.session.change(queries=(fresh, *others)[:MAX_SAVED])
            self.session.keep()
            self.notify("the query is kept for this workspace: l lists all", markup=False)
