"""The table of all runs, or of groups of them; on a narrow screen the least important columns are left out."""

from __future__ import annotations

from collections.abc import Sequence

from cxrssl.dashboard.state import RunRow
from cxrssl.dashboard.text.runs import groups_sheet, runs_sheet
from cxrssl.dashboard.view import View
from cxrssl.dashboard.widgets.table import PADDING, SCROLLBAR, KeyedTable
from cxrssl.dashboard.widgets.theme import theme_of


class RunTable(KeyedTable):
    """All runs."""

    HELP = "Runs, the one that started last first."
    _shown: tuple[object, ...] = ()

    def show_runs(self, runs: Sequence[RunRow], view: View) -> None:
        """Show these runs as the view has them."""
        room = self.app.size.width - SCROLLBAR - PADDING // 2
        shown = tuple(runs), view, room, theme_of(self)
        if shown == self._shown:
            return
        self._shown = shown
        self.show_sheet((groups_sheet if view.is_grouped else runs_sheet)(runs, view, room))
