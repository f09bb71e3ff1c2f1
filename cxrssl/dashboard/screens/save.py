"""Where what is on the screen is saved; the end of the name says how: .csv, .md, .tex the table, .svg the picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from cxrssl.core.text import plain
from cxrssl.dashboard.text.files import FORMATS
from cxrssl.dashboard.text.sheet import Sheet

ENDINGS = {".csv": "CSV", ".md": "Markdown", ".tex": "LaTeX"}
PICTURE = ".svg"
_FONTS = re.compile(r"@font-face\s*\{[^}]*\}\s*")


def make_picture(app: App[Any], title: str) -> str:
    """Return what the screen shows as SVG that needs nothing from any network: the viewer's own fixed-width font."""
    return _FONTS.sub("", app.export_screenshot(title=title))


class SaveScreen(ModalScreen[str | None]):
    """Returns what was saved, in words."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close")]

    def __init__(self, name: str, sheet: Sheet, picture: str) -> None:
        super().__init__()
        self.file_name, self.sheet, self.picture = f"{name}.csv", sheet, picture

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text("Save the table as .csv, .md or .tex, the screen as .svg: enter saves"), classes="about")
            yield Input(self.file_name)
            yield Static(id="refusal")

    @on(Input.Submitted)
    def save(self, event: Input.Submitted) -> None:
        """Write a new file; one that is there is never written over."""
        path = Path(event.value.strip()).expanduser()
        if path.suffix not in (*ENDINGS, PICTURE):
            self._refuse("the name must end in .csv, .md, .tex or .svg")
            return
        is_picture = path.suffix == PICTURE
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(self.picture if is_picture else FORMATS[ENDINGS[path.suffix]](self.sheet))
        except FileExistsError:
            self._refuse("this file exists: choose another name")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            self._refuse(f"it cannot be written: {(reason or 'the name is not allowed').lower()}")
        else:
            self.dismiss(f"saved as {plain(path.absolute(), 200)}")

    def _refuse(self, why: str) -> None:
        self.query_one("#refusal", Static).update(Text(why, "bold"))
