"""Colours by what they mean, so that a theme can change them: `paint` puts a theme's colours in the place of names.

In: text whose styles are names such as "@running". Out: the same in colours. A word always says what a colour says.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Span, Text

STATE_STYLES = {
    "running": "@running",
    "stopped": "@stopped",
    "died": "@failed",
    "failed": "@failed",
    "finished": "@finished",
    "unseen": "@unseen",
}
TROUBLE, WARNING, KEY = "@failed", "@warning", "@key"
DARK, LIGHT, SAFE = "dark", "light", "colour-blind"
THEMES = (DARK, LIGHT, SAFE)
# Light enough to stay legible as greys: with NO_COLOR only their brightness is left.
PALETTES: Mapping[str, Mapping[str, str]] = {
    DARK: {
        "@running": "bold #5fd75f",
        "@stopped": "#ffd75f",
        "@failed": "bold #ff8787",
        "@finished": "#5fd7ff",
        "@unseen": "#afafff",
        "@warning": "bold #ffd75f",
        "@key": "bold #5fd7ff",
    },
    LIGHT: {
        "@running": "bold #00700f",
        "@stopped": "#7a5c00",
        "@failed": "bold #b00020",
        "@finished": "#00588a",
        "@unseen": "#5a3fa0",
        "@warning": "bold #7a5c00",
        "@key": "bold #00588a",
    },
    # Source: Okabe & Ito 2008 (Color Universal Design): told apart with any kind of colour vision.
    SAFE: {
        "@running": "bold #2fd6a5",
        "@stopped": "#f0e442",
        "@failed": "bold #ff8c42",
        "@finished": "#56b4e9",
        "@unseen": "#e39cc4",
        "@warning": "bold #f0e442",
        "@key": "bold #56b4e9",
    },
}
CURVES: Mapping[str, tuple[str, ...]] = {
    DARK: ("#5fd7ff", "#ffaf5f", "#87ff87", "#ff87d7", "#ffff87", "#af87ff", "#ff8787", "#d7d7d7"),
    LIGHT: ("#00588a", "#b35900", "#00700f", "#a0006b", "#6b6b00", "#5a3fa0", "#b00020", "#404040"),
    SAFE: ("#56b4e9", "#e69f00", "#2fd6a5", "#e39cc4", "#f0e442", "#4d8fd6", "#ff8c42", "#d7d7d7"),
}
"""Of the curves of a plot, in their order; after the last they begin again, with other letters."""


def paint_style(style: str, theme: str) -> str:
    """Return a style in the colours of a theme."""
    return PALETTES[theme].get(style, style)


def paint(text: Text, theme: str) -> Text:
    """Return text in the colours of a theme."""
    spans = [
        Span(span.start, span.end, paint_style(span.style, theme)) if isinstance(span.style, str) else span
        for span in text.spans
    ]
    style = paint_style(text.style, theme) if isinstance(text.style, str) else text.style
    return Text(text.plain, style, justify=text.justify, overflow=text.overflow, no_wrap=text.no_wrap, spans=spans)
