"""A page that figures are drawn on with matplotlib, and its bytes: the only module that imports it when it runs.

In: places in inches from the top left corner. Out: SVG, PDF and PNG; equal bytes on equal input. Never: a text of data
taken as markup, the settings of the user's matplotlibrc, a setting that outlives the page, a date.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
from fontTools import subset
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import LoadFlags
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from cxrssl.core.text import plain
from cxrssl.report.figures.formats import FORMATS, Format
from cxrssl.report.figures.ink import DARK, INK, PAPER, SOFT, Series

DROPPED = "_drop_tables_default"
"""Where fontTools, which embeds fonts for matplotlib, keeps the tables that it leaves out."""
UNREAD = ("GSUB", "GPOS", "GDEF", "kern", "MATH")
"""Tables of a font that place glyphs: in a PDF each glyph has its place."""
Align = Literal["left", "center", "right"]
PNG_DPI = 200
BODY, SMALL, TINY, HEADING = 7.5, 6.8, 6.0, 9.0
"""Sizes of text in points."""
STYLE: dict[Any, Any] = {
    "axes.edgecolor": SOFT,
    "axes.formatter.use_locale": False,
    "axes.labelcolor": INK,
    "axes.labelsize": BODY,
    "axes.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": BODY,
    "lines.linewidth": 1.1,
    "lines.solid_capstyle": "butt",
    "path.simplify": True,
    "pdf.compression": 6,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "cxrssl",
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": SOFT,
    "xtick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.color": SOFT,
    "ytick.labelcolor": INK,
    "ytick.labelsize": SMALL,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
}
NO_METADATA: dict[Format, dict[str, None]] = {
    "svg": dict.fromkeys(("Creator", "Date", "Format", "Type")),
    "pdf": dict.fromkeys(("Creator", "Producer", "CreationDate")),
    "png": {"Software": None},
}
MAX_CHARS = 2000
_MINUS = re.compile(r"(?<![^\s\[(])-(?=\d)")
_TAG, _ID, _DIGITS = re.compile(r"<[^>]*>"), re.compile(r'( id="|href="#|url\(#)'), re.compile(r"(\d\.\d\d)\d+")
SVG_FONTS = "'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif"
"""Others are no wider than the first, in which texts were measured."""


class Page:
    """A figure of a given size; all places are inches from its top left corner."""

    def __init__(self, width_in: float, height_in: float) -> None:
        self.width_in, self.height_in = width_in, height_in
        self.figure = Figure(figsize=(width_in, height_in))

    def add_axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes without their upper and right edge."""
        bottom = self.height_in - top - height
        rect = left / self.width_in, bottom / self.height_in, width / self.width_in, height / self.height_in
        axes = self.figure.add_axes(rect)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = BODY,
        align: Align = "left",
        colour: str = INK,
        is_bold: bool = False,
    ) -> None:
        """Write a line whose base is at `y`."""
        place = x / self.width_in, 1 - y / self.height_in
        weight = "bold" if is_bold else "normal"
        self.figure.text(*place, clean(text), size=size, ha=align, va="baseline", color=colour, weight=weight)

    def write_lines(self, x: float, y: float, lines: list[str], *, size: float = SMALL, colour: str = SOFT) -> float:
        """Write lines below each other from the base `y` on, and return the base of the next."""
        for line in lines:
            self.write(x, y, line, size=size, colour=colour)
            y += line_height(size)
        return y

    def write_upwards(self, x: float, y: float, text: str, *, size: float = BODY) -> None:
        """Write a line that reads upwards, its middle at `y`."""
        place = x / self.width_in, 1 - y / self.height_in
        self.figure.text(*place, clean(text), size=size, ha="center", va="center", rotation=90)

    def draw_line(
        self, left: float, right: float, y: float, *, colour: str, width_pt: float, dashes: tuple[float, ...] = ()
    ) -> None:
        """Draw a horizontal line; dashes are in widths of it."""
        xs, ys = [left / self.width_in, right / self.width_in], [1 - y / self.height_in] * 2
        line = Line2D(xs, ys, color=colour, linewidth=width_pt, linestyle=(0, dashes) if dashes else "solid")
        self.figure.add_artist(line)

    def draw_path(self, places: list[tuple[float, float]], *, colour: str, width_pt: float) -> None:
        """Draw a line through places."""
        xs, ys = [x / self.width_in for x, _ in places], [1 - y / self.height_in for _, y in places]
        self.figure.add_artist(Line2D(xs, ys, color=colour, linewidth=width_pt))

    def draw_mark(self, x: float, y: float, series: Series, size_pt: float = 3.6) -> None:
        """Draw the mark of a series."""
        place = [x / self.width_in], [1 - y / self.height_in]
        mark = Line2D(*place, color=series.colour, marker=series.marker, markersize=size_pt, linestyle="none")
        self.figure.add_artist(mark)

    def shade(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        """Fill a rectangle behind all else."""
        corner = left / self.width_in, 1 - (top + height) / self.height_in
        size = width / self.width_in, height / self.height_in
        self.figure.add_artist(Rectangle(corner, *size, facecolor=colour, edgecolor="none", zorder=-1))


def render(draw: Callable[[], Page], name: str, formats: tuple[Format, ...] = FORMATS) -> dict[Format, bytes]:
    """Return what `draw` makes in each format; `name` begins every id of the SVG, so that a document can hold many."""
    with _own_settings(), _small_fonts():
        page = draw()
        return {each: _save(page.figure, each, name) for each in formats}


@contextmanager
def _own_settings() -> Iterator[None]:
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # drawn as a box
        yield


@contextmanager
def _small_fonts() -> Iterator[None]:
    """Leave out of fonts in PDF what a reader of PDF never looks at: to cut those tables takes half of all the time.

    A place that newer versions of fontTools do not have is left alone.
    """
    options: Any = subset.Options
    usual = getattr(options, DROPPED, None)
    if not isinstance(usual, list):
        yield
        return
    setattr(options, DROPPED, [*usual, *UNREAD])
    try:
        yield
    finally:
        setattr(options, DROPPED, usual)


def clean(text: str) -> str:
    """Return text as it may be drawn: on one line, without control characters, its minus signs as long as a plus."""
    return _MINUS.sub("−", plain(text, MAX_CHARS))


@functools.lru_cache(maxsize=20_000)
def measure(text: str, size: float = BODY, is_bold: bool = False) -> float:
    """Return the width of a text in inches."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        font = _open_font(is_bold)
        font.set_size(size, 72)
        font.set_text(clean(text), 0.0, flags=LoadFlags.NO_HINTING)
        return float(font.get_width_height()[0]) / 64 / 72


def line_height(size: float) -> float:
    """Return the distance of two lines in inches."""
    return size * 1.32 / 72


def wrap(text: str, width_in: float, size: float = BODY, is_bold: bool = False) -> list[str]:
    """Return text in lines no wider than that; a word that is wider is broken."""
    lines: list[str] = []
    line = ""
    for word in clean(text).split():
        joined = f"{line} {word}" if line else word
        if measure(joined, size, is_bold) <= width_in:
            line = joined
            continue
        lines += [line] if line else []
        while measure(word, size, is_bold) > width_in and len(word) > 1:
            fits = next(
                k for k in range(len(word) - 1, 0, -1) if k == 1 or measure(word[:k], size, is_bold) <= width_in
            )
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines


@functools.cache
def _open_font(is_bold: bool) -> Any:
    wanted = font_manager.FontProperties(family="DejaVu Sans", weight="bold" if is_bold else "normal")
    return font_manager.get_font(font_manager.findfont(wanted))


def _save(figure: Figure, kind: Format, name: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=PNG_DPI if kind == "png" else 72, metadata=NO_METADATA[kind])
    return _own_svg(buffer.getvalue().decode(), name).encode() if kind == "svg" else buffer.getvalue()


def _own_svg(svg: str, name: str) -> str:
    """Return SVG without a prologue, with ids of its own, that follows the reader's light or dark setting."""
    prefix = re.sub(r"[^A-Za-z0-9_-]", "_", name)

    def adapt(tag: re.Match[str]) -> str:
        named = _ID.sub(lambda found: f"{found[1]}{prefix}-", tag[0])
        return _DIGITS.sub(r"\1", named).replace("'DejaVu Sans'", SVG_FONTS)

    svg = _TAG.sub(adapt, svg[svg.index("<svg") :])
    dark = " ".join(
        f'[style*="{kind}: {light}"]{{{kind}:{colour}!important}}'
        for light, colour in DARK.items()
        for kind in ("fill", "stroke")
    )
    start = svg.index(">") + 1
    return f"{svg[:start]}\n <style>@media (prefers-color-scheme: dark) {{ {dark} }}</style>{svg[start:]}"
