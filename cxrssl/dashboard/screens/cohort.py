"""A cohort: flow, link status, what is known, prevalence by split, who the people are, overlaps with others.

In: CohortDetail. Out: tables as text that scrolls. Never: a table to copy or save: it has small counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from cxrssl.core.text import shell_word
from cxrssl.dashboard.people import CohortDetail
from cxrssl.dashboard.screens.common import LAST, CommonScreen
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.text.lines import info_line
from cxrssl.dashboard.text.people import cohort_line, cohort_sheets
from cxrssl.dashboard.text.sheet import to_text
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.sections import Sections

WIDE = 130


class CohortScreen(CommonScreen):
    """One cohort of the workspace."""

    NAME = "cohort"
    UNSAVED = "small counts tell of persons: cxrssl report and cohort flow write tables without them"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "move_cohort(1)", "Next cohort", id="next_cohort"),
        Binding("N", "move_cohort(-1)", "Cohort back", show=False, id="previous_cohort"),
        Binding("j,down", "move(1)", "Scroll", key_display="j k"),
        Binding("k,up", "move(-1)", "Up", show=False),
        Binding("g", "move_to_end(False)", "Top", show=False),
        Binding("G", "move_to_end(True)", "Bottom", show=False),
        Binding("C", "copy", "Copy", id="copy"),
        *LAST,
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.state: CohortDetail | None = None

    def compose_body(self) -> ComposeResult:
        yield Line(id="top")
        yield Line(id="empty", is_free=True)
        yield Sections(id="detail")

    def plan_reading(self) -> Callable[[], CohortDetail]:
        return partial(self.session.reader.read_cohort, self.session.view.cohort)

    def show_state(self) -> None:
        detail = self.state
        if detail is None:
            return
        empty, pane = self.query_one("#empty", Line), self.query_one(Sections)
        empty.display = not detail.name
        pane.display = bool(detail.name)
        self.query_one("#top", Line).show(info_line(cohort_line(detail)))
        if not detail.name:
            empty.show(info_line(cohort_line(detail)))
            return
        columns = 2 if self.app.size.width >= WIDE else 1
        room = self.app.size.width // columns - 4
        parts = [(sheet.title, Text("\n".join(to_text(sheet, room)[1:]))) for sheet in cohort_sheets(detail)]
        parts += [("Remarks", Text("\n".join(detail.remarks)))] if detail.remarks else []
        pane.show(parts, columns)

    def command(self) -> str:
        return f"cxrssl cohort audit {shell_word(self.state.name)}" if self.state and self.state.name else ""

    def action_move_cohort(self, by: int) -> None:
        if self.state is not None and self.state.names:
            self.session.change(cohort=turn(self.state.names, self.state.name, by))
            self.action_read()

    def action_move(self, by: int) -> None:
        self.query_one(Sections).scroll_relative(y=2 * by, animate=False)

    def action_move_to_end(self, is_down: bool) -> None:
        pane = self.query_one(Sections)
        (pane.scroll_end if is_down else pane.scroll_home)(animate=False)
