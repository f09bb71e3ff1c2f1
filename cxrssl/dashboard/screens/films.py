"""Films of a cohort, one at a time, with record, labels and what a probe predicted; ids are hidden until a key is held.

In: FilmDetail. Out: a picture and text.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer

from cxrssl.dashboard.screens.common import LAST, CommonScreen
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.seen import FilmDetail
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.text.film import film_line, film_sections, label_sheet
from cxrssl.dashboard.text.lines import info_line
from cxrssl.dashboard.text.sheet import Sheet
from cxrssl.dashboard.widgets.film import FilmView
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.sections import Sections

HELD_S = 1.0
"""A terminal repeats a key that is held, and says nothing when it is let go."""


class FilmsScreen(CommonScreen):
    """One film of a cohort."""

    NAME = "films"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,j,down", "move_film(1)", "Next", key_display="← →", id="next_film"),
        Binding("left,k,up", "move_film(-1)", "Film back", show=False, id="previous_film"),
        Binding("pagedown", "move_film(100)", "100 on", show=False),
        Binding("pageup", "move_film(-100)", "100 back", show=False),
        Binding("g", "go(0)", "First", show=False),
        Binding("G", "go(-1)", "Last", show=False),
        Binding("a", "any_film", "Any film", id="any_film"),
        Binding("e", "nearest", "Look alike", id="nearest"),
        Binding("n", "move_cohort(1)", "Cohort", id="next_cohort"),
        Binding("v", "reveal", "Hold: ids", id="reveal"),
        Binding("tab", "scroll_text", "Text", show=False),
        *LAST,
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.state: FilmDetail | None = None
        self.row = 0
        self.is_revealed = False
        self._hiding: Timer | None = None

    def compose_body(self) -> ComposeResult:
        yield Line(id="top")
        yield Line(id="empty", is_free=True)
        with Horizontal(id="sides"):
            yield FilmView(id="film")
            yield Sections(id="detail")

    def plan_reading(self) -> Callable[[], FilmDetail]:
        session = self.session
        return partial(session.reader.read_film, session.view.cohort, self.row, session.focused_id)

    def show_state(self) -> None:
        detail = self.state
        if detail is None:
            return
        empty, sides = self.query_one("#empty", Line), self.query_one("#sides")
        empty.display, sides.display = not detail.cohort, bool(detail.cohort)
        self.query_one("#top", Line).show(info_line(film_line(detail)))
        if not detail.cohort:
            empty.show(info_line(film_line(detail)))
            return
        self.query_one(FilmView).show(detail.pixels, detail.box, self.is_revealed)
        self.query_one(Sections).show(film_sections(detail, self.is_revealed))

    def sheets(self) -> list[Sheet]:
        return [label_sheet(self.state)] if self.state and self.state.labels else []

    def action_move_film(self, by: int) -> None:
        self._go(self.row + by)

    def action_go(self, row: int) -> None:
        self._go(row)

    def action_any_film(self) -> None:
        if self.state is not None and self.state.num_films:
            self._go(random.randrange(self.state.num_films))

    def action_nearest(self) -> None:
        """Go to the film that looks most like this one."""
        if self.state is not None and self.state.nearest:
            self._go(self.state.nearest[0][0])

    def action_move_cohort(self, by: int) -> None:
        names = self.session.workspace.cohort_names()
        if names and self.state is not None:
            self.session.change(cohort=turn(names, self.state.cohort, by))
            self._go(0)

    def _go(self, row: int) -> None:
        num = self.state.num_films if self.state else 0
        self.row = row % num if num else 0
        self.is_revealed = False
        self.action_read()

    def action_reveal(self) -> None:
        """Show ids and corners, for as long as the key is held and a moment more."""
        self.is_revealed = True
        if self._hiding is not None:
            self._hiding.stop()
        self._hiding = self.set_timer(HELD_S, self.hide_again)
        self.show_state()

    def hide_again(self) -> None:
        """Hide ids and corners."""
        self.is_revealed = False
        self.show_state()

    def action_scroll_text(self) -> None:
        pane = self.query_one(Sections)
        at_end = pane.scroll_offset.y >= pane.max_scroll_y
        pane.scroll_home(animate=False) if at_end else pane.scroll_page_down(animate=False)
