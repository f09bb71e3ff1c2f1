"""Panels of curves beside and below each other, as many as the screen has room for; the others are paged to.

In: metrics and their curves. Out: a CurvePlot for each panel in sight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.containers import Grid

from cxrssl.dashboard.widgets.plot import CurvePlot

MIN_WIDTH, MIN_HEIGHT = 58, 9
MAX_PANELS = 12


class PlotGrid(Grid):
    """All panels; those that have nothing to show are hidden."""

    DEFAULT_CSS = "PlotGrid { height: 1fr; grid-gutter: 0 1; } PlotGrid CurvePlot { height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.first = 0
        """The panel in sight that comes first."""
        self.focused_panel = 0
        self.is_alone = False
        """Whether only the focused panel is shown."""

    def compose(self) -> ComposeResult:
        for at in range(MAX_PANELS):
            yield CurvePlot(id=f"panel-{at}")

    def shape(self, num: int) -> tuple[int, int]:
        """Return columns and rows for so many panels."""
        width, height = self.size.width or self.app.size.width, self.size.height or self.app.size.height - 8
        if self.is_alone or num <= 1:
            return 1, 1
        columns = min(max(width // MIN_WIDTH, 1), num, 3)
        if columns == 3 and num in (2, 4):
            columns = 2
        return columns, min(max(height // MIN_HEIGHT, 1), -(-num // columns))

    def show(self, metrics: Sequence[str], fill: Callable[[CurvePlot, str], None]) -> None:
        """Show these metrics, each panel filled by a call; the focused panel is always in sight."""
        metrics = list(metrics)[:MAX_PANELS]
        self.focused_panel = min(self.focused_panel, max(len(metrics) - 1, 0))
        columns, rows = self.shape(len(metrics))
        room = columns * rows
        self.first = self.focused_panel // room * room
        self.styles.grid_size_columns, self.styles.grid_size_rows = columns, rows
        for at in range(MAX_PANELS):
            panel = self.query_one(f"#panel-{at}", CurvePlot)
            panel.display = self.first <= at < min(self.first + room, len(metrics))
            panel.set_class(at == self.focused_panel, "-focused")
            if panel.display:
                fill(panel, metrics[at])

    def move(self, by: int, num: int) -> None:
        """Focus another of `num` panels."""
        self.focused_panel = (self.focused_panel + by) % max(num, 1)

    @property
    def panel(self) -> CurvePlot:
        """The focused panel."""
        return self.query_one(f"#panel-{self.focused_panel}", CurvePlot)
