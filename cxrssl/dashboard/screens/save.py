"""Where a table on the screen is saved; the end of the name says how: .csv, .md or .tex."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from cxrssl.core.text import plain
from cxrssl.dashboard.text.sheet import FORMATS, Sheet

ENDINGS = {".csv": "CSV", ".md": "Markdown", ".tex": "LaTeX"}


class SaveScreen(ModalScreen[str | None]):
    """Returns what was saved, in words."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close")]

    def __init__(self, name: str, sheet: Sheet) -> None:
        super().__init__()
        self.file_name, self.sheet = f"{name}.csv", sheet

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Text("Save the table as .csv, .md or .tex: enter saves, escape closes"), classes="about")
            yield Input(self.file_name)
            yield Static(id="refusal")

    @on(Input.Submitted)
    def save(self, event: Input.Submitted) -> None:
        """Write a new file; one that is there is never written over."""
        path = Path(event.value.strip()).expanduser()
        if path.suffix not in ENDINGS:
            self._refuse("the name must end in .csv, .md or .tex")
            return
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(FORMATS[ENDINGS[path.suffix]](self.sheet))
        except FileExistsError:
            self._refuse("this file exists: choose another name")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            self._refuse(f"it cannot be written: {(reason or 'the name is not allowed').lower()}")
        else:
            self.dismiss(f"saved as {plain(path.absolute(), 200)}")

    def _refuse(self, why: str) -> None:
        self.query_one("#refusal", Static).update(Text(why, "bold"))
