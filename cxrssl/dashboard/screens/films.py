"""Films of a cohort, one at a time, with record, labels and what a probe predicted; ids are hidden until a key is held.

In: FilmDetail. Out: a picture and text. Never: a table to copy or save, for it would be the row of a patient.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.timer import Timer

from cxrssl.dashboard.screens.common import LAST, CommonScreen
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.seen import FilmDetail
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.text.film import film_line, film_sections
from cxrssl.dashboard.text.lines import info_line
from cxrssl.dashboard.widgets.film import FilmView
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.sections import Sections
from cxrssl.dashboard.widgets.views import ViewTiles
from cxrssl.views.shown import AskedViews, ShownViews

HELD_S = 1.0
"""A terminal repeats a key that is held, and says nothing when it is let go."""


WIDE = 130
"""Places from which on there is room for text beside the views."""


class ViewsCut(Message):
    """Views have been cut."""

    def __init__(self, asked: AskedViews, shown: ShownViews) -> None:
        super().__init__()
        self.asked, self.shown = asked, shown


class FilmsScreen(CommonScreen):
    """One film of a cohort."""

    NAME = "films"
    UNSAVED = "the film and the record of a patient are not saved"
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
        Binding("w", "views", "Views", id="views"),
        Binding("left_square_bracket", "move_epoch(-1)", "Epoch back", show=False, id="epoch_back"),
        Binding("right_square_bracket", "move_epoch(1)", "Epoch on", show=False, id="epoch_on"),
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
        self.has_views = False
        """Whether the views are shown that a run cuts of the film."""
        self.by_epochs = 0
        """How many epochs after the one that the run is in."""
        self._cut: tuple[AskedViews, ShownViews] | None = None
        self._is_cutting = False

    def compose_body(self) -> ComposeResult:
        yield Line(id="top")
        yield Line(id="empty", is_free=True)
        with Horizontal(id="sides"):
            yield FilmView(id="film")
            yield ViewTiles(id="views")
            yield Sections(id="detail")

    def plan_reading(self) -> Callable[[], FilmDetail]:
        session = self.session
        return partial(session.reader.read_film, session.view.cohort, self.row, session.focused_id, self.has_views)

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
        film, tiles, text = self.query_one(FilmView), self.query_one(ViewTiles), self.query_one(Sections)
        has_views = self.has_views and detail.pixels is not None
        film.display, tiles.display = not has_views, has_views
        text.display = not has_views or self.app.size.width >= WIDE
        film.show(detail.pixels, detail.box, self.is_revealed)
        text.show(film_sections(detail, self.is_revealed))
        if has_views:
            self._show_views(detail)

    def _show_views(self, detail: FilmDetail) -> None:
        """Show the views of the film, or have them cut."""
        root, epoch = str(self.session.workspace.root), max(detail.epoch + self.by_epochs, 0)
        asked = AskedViews(root, detail.cohort, detail.row, detail.run_id, epoch, not self.is_revealed)
        is_there = self._cut is not None and self._cut[0] == asked
        self.query_one(ViewTiles).show(self._cut[1] if self._cut and is_there else None)
        if not is_there and not self._is_cutting:
            self._is_cutting = True
            self._cut_views(asked)

    @work(thread=True, group="views", exit_on_error=False)
    def _cut_views(self, asked: AskedViews) -> None:
        self.post_message(ViewsCut(asked, self.session.cutter.cut(asked)))

    @on(ViewsCut)
    def show_cut(self, message: ViewsCut) -> None:
        self._is_cutting = False
        self._cut = message.asked, message.shown
        self.show_state()

    def action_move_film(self, by: int) -> None:
        self._go(self.row + by)

    def action_go(self, row: int) -> None:
        self._go(row)

    def action_views(self) -> None:
        """Show the views that a run cuts of the film, or the film."""
        self.has_views, self.by_epochs = not self.has_views, 0
        self.action_read()
        self.show_state()

    def action_move_epoch(self, by: int) -> None:
        """Show the views of another epoch."""
        if self.has_views and self._cut is not None and self.state is not None:
            shown = self._cut[1]
            self.by_epochs = min(max(shown.epoch + by, 0), max(shown.num_epochs - 1, 0)) - self.state.epoch
            self.show_state()

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
