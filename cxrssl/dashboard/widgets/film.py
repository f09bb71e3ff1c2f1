"""A film in half cells, two pixels in each place of the screen; in characters where there is no colour."""

from __future__ import annotations

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from cxrssl.dashboard.seen import Pixels
from cxrssl.dashboard.text.film import shade_lines, shrink_film
from cxrssl.images.corners import Box, cover_corners

Colour = tuple[int, int, int]


class FilmView(Widget):
    """One film, as large as fits."""

    DEFAULT_CSS = "FilmView { width: 1fr; height: 1fr; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.film: Pixels | None = None
        self.box: Box = (0, 0, 0, 0)
        self.is_whole = False
        """Whether the corners, where text is burnt in, are shown."""
        self._lines: list[Strip] = []
        self._drawn_for: Size | None = None

    def show(self, film: Pixels | None, box: Box, is_whole: bool) -> None:
        """Show this film, which lies in its square where `box` says."""
        if film is not self.film or is_whole != self.is_whole:
            self.film, self.box, self.is_whole = film, box, is_whole
            self._drawn_for = None
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Return one line; all are drawn together, once for each change."""
        if self._drawn_for != self.size:
            self._lines, self._drawn_for = self._draw(), self.size
        return self._lines[y] if y < len(self._lines) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> list[Strip]:
        side = min(self.size.width, 2 * self.size.height)
        if self.film is None or side < 4:
            return []
        film = self.film if self.is_whole else cover_corners(self.film, self.box)
        if self.app.no_color:
            return [self._strip([Segment(line, self.rich_style)]) for line in shade_lines(film, side)]
        small = shrink_film(film, side, side - side % 2)
        return [
            self._strip([half_cell((above,) * 3, (below,) * 3) for above, below in zip(upper, lower, strict=True)])
            for upper, lower in zip(small[0::2].tolist(), small[1::2].tolist(), strict=True)
        ]

    def _strip(self, segments: list[Segment]) -> Strip:
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)


def half_cell(above: Colour, below: Colour) -> Segment:
    """Return a place of the screen with a pixel in its upper half and one in its lower half."""
    return Segment("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
