"""The names of the screens in one line, with their keys; a click opens one."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual.widgets import Static

SCREENS = ("runs", "curves", "ablation", "run", "cohort", "sql", "films")


class Tabs(Static):
    """All screens, the open one marked."""

    DEFAULT_CSS = "Tabs { height: 1; text-wrap: nowrap; background: $panel; }"

    def __init__(self, open_name: str) -> None:
        super().__init__(tab_line(open_name))


def tab_line(open_name: str) -> Text:
    """Return the names with their keys."""
    text = Text(" ")
    for at, name in enumerate(SCREENS):
        shown = name.upper() if name == "sql" else name.capitalize()
        click = Style(meta={"@click": f"app.open_screen('{name}')"})
        style = Style(reverse=True, bold=True) if name == open_name else Style()
        text.append(f" {at + 1} {shown} ", style + click).append(" ")
    return text
