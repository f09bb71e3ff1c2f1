"""All views that a run cuts of a film, beside each other in half cells; what is dropped of them is marked."""

from __future__ import annotations

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from cxrssl.dashboard.text.film import shrink_film
from cxrssl.dashboard.text.views import GAP, STARTING, dropped_pixels, fit_tiles, shade_view, view_labels, views_line
from cxrssl.dashboard.widgets.film import half_cell
from cxrssl.views.shown import ShownView, ShownViews

DROPPED = (86, 60, 140)
"""A colour that no film has."""


class ViewTiles(Widget):
    """One film's views."""

    DEFAULT_CSS = "ViewTiles { width: 1fr; height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.shown: ShownViews | None = None
        self._lines: list[Strip] = []
        self._drawn_for: Size | None = None

    def show(self, shown: ShownViews | None) -> None:
        """Show these views; None while they are being cut."""
        if shown is not self.shown or self._drawn_for is None:
            self.shown, self._drawn_for = shown, None
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one line; all are drawn together, once for each change."""
        if self._drawn_for != self.size:
            self._lines, self._drawn_for = self._draw(), self.size
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> list[Strip]:
        shown, (width, height) = self.shown, self.size
        lines = [self._strip([self._text(f" {STARTING if shown is None else views_line(shown, width - 1)}")])]
        if shown is None or not shown.views:
            return lines
        columns, side = fit_tiles(len(shown.views), width, height - 1)
        if not columns:
            return [*lines, self._strip([self._text(f" no room for {len(shown.views)} views")])]
        labels = view_labels(shown.views)
        for first in range(0, len(shown.views), columns):
            row = shown.views[first : first + columns]
            heads = "".join(f"{label[:side]:<{side + GAP}}" for label in labels[first : first + columns])
            lines.append(self._strip([self._text(heads)]))
            tiles = [self._tile(view, side) for view in row]
            for parts in zip(*tiles, strict=True):
                lines.append(self._strip([segment for part in parts for segment in (*part, self._text(" " * GAP))]))
        return lines

    def _tile(self, view: ShownView, side: int) -> list[list[Segment]]:
        if self.app.no_color:
            return [[self._text(line)] for line in shade_view(view, side)]
        grey, dropped = shrink_film(view.pixels_PP, side, side).tolist(), dropped_pixels(view, side).tolist()
        colours = [
            [DROPPED if is_dropped else (value,) * 3 for value, is_dropped in zip(*row, strict=True)]
            for row in zip(grey, dropped, strict=True)
        ]
        pairs = zip(colours[0::2], colours[1::2], strict=True)
        return [[half_cell(above, below) for above, below in zip(*pair, strict=True)] for pair in pairs]

    def _text(self, text: str) -> Segment:
        return Segment(text, self.rich_style)

    def _strip(self, segments: list[Segment]) -> Strip:
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)
