"""The themes of the screen, and which one is on."""

from __future__ import annotations

from textual.theme import Theme
from textual.widget import Widget

from cxrssl.dashboard.text.styles import DARK, LIGHT, SAFE, THEMES


def make_themes() -> list[Theme]:
    """Return a dark theme, a light one and one for the colour-blind."""
    return [
        Theme(DARK, primary="#0178d4", accent="#ffa62b", error="#ff8787", foreground="#e0e0e0", dark=True),
        Theme(
            LIGHT,
            primary="#00588a",
            accent="#b35900",
            error="#b00020",
            foreground="#1a1a1a",
            background="#fafafa",
            surface="#f0f0f0",
            panel="#e0e0e0",
            dark=False,
        ),
        # Source: Okabe & Ito 2008 (Color Universal Design).
        Theme(SAFE, primary="#0072b2", accent="#e69f00", error="#ff8c42", foreground="#e8e8e8", dark=True),
    ]


def theme_of(widget: Widget) -> str:
    """Return the theme of the app that a widget is in; of one that is not ours the dark colours."""
    name = widget.app.theme
    return name if name in THEMES else DARK
