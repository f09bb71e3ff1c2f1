"""What every screen has: the keys to the others, help, and what is shown as text to copy or as a file.

In: a Session. Out: messages of the user's choices. Never: a write into the workspace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import Footer

from cxrssl.dashboard.screens.help import HelpScreen
from cxrssl.dashboard.screens.pick import PickScreen
from cxrssl.dashboard.screens.reading import ReadFailed, ReadingScreen, StateRead
from cxrssl.dashboard.screens.save import SaveScreen, make_picture
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.text.files import FORMATS
from cxrssl.dashboard.text.lines import failure_line
from cxrssl.dashboard.text.sheet import Sheet, to_text
from cxrssl.dashboard.widgets.line import Line
from cxrssl.dashboard.widgets.tabs import SCREENS, Tabs

LAST: list[BindingType] = [
    Binding("q", "app.quit", "Quit", id="quit"),
    Binding("question_mark", "help", "Help", key_display="?", id="help"),
]
"""What every screen names last."""


class CommonScreen(ReadingScreen):
    """A screen among others."""

    NAME: ClassVar[str]
    TOP: ClassVar[str] = "#top"
    """The line that says why nothing could be read."""
    UNSAVED: ClassVar[str] = "there is no table to save on this screen"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(at + 1), f"app.open_screen('{name}')", name.capitalize(), show=False, id=f"screen_{name}")
            for at, name in enumerate(SCREENS)
        ),
        Binding("C", "copy", "Copy", show=False, id="copy"),
        Binding("E", "save", "Save", show=False, id="save"),
        Binding("F", "app.free_mouse", "Free the mouse", show=False, id="free_mouse"),
        Binding("T", "app.next_theme", "Theme", show=False, id="theme"),
        Binding("r", "read", "Refresh", show=False, id="refresh"),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.state: Any = None
        """What was last read; None before the first reading."""

    def compose(self) -> ComposeResult:
        yield Tabs(self.NAME)
        yield from self.compose_body()
        yield Footer(show_command_palette=False, compact=True)

    def compose_body(self) -> ComposeResult:
        """Yield what is between the names of the screens and the keys."""
        raise NotImplementedError

    def show_state(self) -> None:
        """Show what was last read."""
        raise NotImplementedError

    @on(StateRead)
    def _show_read(self, message: StateRead) -> None:
        self.take_state(message)

    @on(ReadFailed)
    def _show_failed(self, message: ReadFailed) -> None:
        self.show_failure(message)

    @on(Resize)
    def _fit(self) -> None:
        self.call_after_refresh(self.show_state)

    def take_state(self, message: StateRead) -> None:
        """Show what has been read."""
        self.state = message.state
        self.show_state()

    def show_failure(self, message: ReadFailed) -> None:
        """Show why nothing could be read."""
        self.query_one(self.TOP, Line).show(failure_line(message.what))

    def sheets(self) -> list[Sheet]:
        """Return the tables on the screen, whole."""
        return []

    def selected_key(self) -> str:
        """Return the key of the row at the cursor of the first table."""
        return ""

    def command(self) -> str:
        """Return the command that fits what is at the cursor; "" for none."""
        return ""

    def list_copies(self) -> list[tuple[str, str]]:
        """Return what can be copied: what it is, and its text."""
        command, copies = self.command(), []
        copies += [(f"command: {command}", command)] if command else []
        for sheet in self.sheets():
            row = sheet.rows.get(self.selected_key())
            if row is not None:
                texts = [cell.text.strip() for cell in row]
                copies.append(("row, its cells between tabs", "\t".join(texts)))
                heads = [column.head.strip() for column in sheet.columns]
                copies += [(f"cell {head}: {text}", text) for head, text in zip(heads, texts, strict=True) if text]
            what = f"table {sheet.title}".strip()
            copies.append((f"{what} as text", "\n".join(to_text(sheet)) + "\n"))
            copies += [(f"{what} as {name}", write(sheet)) for name, write in FORMATS.items()]
        return copies

    def action_copy(self) -> None:
        copies = self.list_copies()

        def copy(at: int | None) -> None:
            if at is not None:
                self.app.copy_to_clipboard(copies[at][1])
                self.notify("sent to the terminal's clipboard (OSC 52)", markup=False)

        if copies:
            self.app.push_screen(PickScreen("Copy", [what for what, _ in copies]), copy)

    def action_save(self) -> None:
        sheets = self.sheets()
        if not sheets:
            self.notify(self.UNSAVED, severity="warning", markup=False)
            return
        picture = make_picture(self.app, f"cxrssl {self.NAME}")
        self.app.push_screen(SaveScreen(self.NAME, sheets[0], picture), self._say_saved)

    def _say_saved(self, said: str | None) -> None:
        if said:
            self.notify(said, markup=False)

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen(self.NAME))

    def pick(self, title: str, options: list[str], current: str, take: Callable[[str], None]) -> None:
        """Let the user pick one of the options."""

        def chosen(at: int | None) -> None:
            if at is not None:
                take(options[at])

        at = options.index(current) if current in options else 0
        self.app.push_screen(PickScreen(title, options, at), chosen)
