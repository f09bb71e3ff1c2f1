"""The terminal dashboard. It only reads: closing it never touches a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.memory import keymap_path, memory_path, read_keymap, recall_view
from cxrssl.dashboard.screens.ablation import AblationScreen
from cxrssl.dashboard.screens.cohort import CohortScreen
from cxrssl.dashboard.screens.common import CommonScreen
from cxrssl.dashboard.screens.curves import CurvesScreen
from cxrssl.dashboard.screens.films import FilmsScreen
from cxrssl.dashboard.screens.run import RunScreen
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.screens.session import Session
from cxrssl.dashboard.screens.sql import SqlScreen
from cxrssl.dashboard.state import turn
from cxrssl.dashboard.text.styles import DARK, THEMES
from cxrssl.dashboard.view import View
from cxrssl.dashboard.widgets.theme import make_themes

KINDS: tuple[type[CommonScreen], ...] = (
    RunsScreen,
    CurvesScreen,
    AblationScreen,
    RunScreen,
    CohortScreen,
    SqlScreen,
    FilmsScreen,
)
BASE = 2
"""Screens under those that lie over another: the app's own blank one, and the open one."""


class DashboardApp(App[None]):
    """`cxrssl dashboard`."""

    CSS_PATH = "app.tcss"
    TITLE = "cxrssl"

    def __init__(
        self,
        workspace: Workspace,
        view: View | None = None,
        memory: Path | None = None,
        first: str = "runs",
        keys: Path | None = None,
    ) -> None:
        super().__init__()
        self.keys_path = keys
        self.session = Session(workspace, view, memory)
        self.first = first
        screens: list[CommonScreen] = [kind(self.session) for kind in KINDS]
        for theme in make_themes():
            self.register_theme(theme)
        self.theme = self.session.view.theme if self.session.view.theme in THEMES else DARK
        for screen in screens:
            self.install_screen(screen, screen.NAME)

    async def on_mount(self) -> None:
        keymap, fault = read_keymap(self.keys_path, known_keys())
        self.set_keymap(keymap)
        await self.push_screen(self.first)
        if fault:
            self.notify(fault, severity="warning", markup=False)

    def on_unmount(self) -> None:
        self.session.keep()
        self.session.cutter.close()

    async def action_open_screen(self, name: str) -> None:
        """Show another screen; one that lies over it is closed."""
        while len(self.screen_stack) > BASE:
            self.pop_screen()
        await self.switch_screen(name)

    def action_next_theme(self) -> None:
        self.theme = turn(THEMES, self.theme, 1)
        self.session.change(theme=self.theme)
        if isinstance(self.screen, CommonScreen):
            self.screen.show_state()
        self.notify(f"theme: {self.theme}", markup=False)

    def action_free_mouse(self) -> None:
        """Leave the mouse to the terminal, for its own selection, or take it back."""
        driver = self._driver
        is_freed = not getattr(self, "_is_mouse_free", False)
        change = getattr(driver, "_disable_mouse_support" if is_freed else "_enable_mouse_support", None)
        if change is None:
            return
        change()
        self._is_mouse_free = is_freed
        said = "the mouse is the terminal's: select with it; F takes it back" if is_freed else "the mouse is ours again"
        self.notify(said, markup=False)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Yield what the keys of the screen do, for the command palette."""
        for binding in screen.active_bindings.values():
            if binding.enabled and binding.binding.description and not binding.binding.system:
                action, key = binding.binding.action, self.get_key_display(binding.binding)
                title = binding.binding.description
                yield SystemCommand(title, f"key {key}", lambda action=action: self.run_action_later(screen, action))

    def run_action_later(self, screen: Screen[object], action: str) -> None:
        """Run an action of a screen when the palette is closed."""
        self.call_later(self.run_action, action, screen)


def run_dashboard(workspace: Workspace, view: View | None = None, first: str = "runs") -> None:
    """Show the dashboard of a workspace until the user quits."""
    path = memory_path(workspace)
    DashboardApp(workspace, view or recall_view(path), path, first, keymap_path()).run()


def known_keys() -> dict[str, str]:
    """Return what a user may give keys of their own, each with the keys that it has."""
    bindings = (binding for kind in KINDS for each in kind.__mro__ for binding in getattr(each, "BINDINGS", ()))
    named = (binding for binding in bindings if isinstance(binding, Binding) and binding.id)
    return {str(binding.id): binding.key for binding in named}
