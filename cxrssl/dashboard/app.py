"""The terminal dashboard. It only reads: closing it never touches a run."""

from __future__ import annotations

from textual.app import App

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.screens.runs import RunsScreen


class DashboardApp(App[None]):
    """`cxrssl dashboard`."""

    CSS_PATH = "app.tcss"
    TITLE = "cxrssl"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace

    def get_default_screen(self) -> RunsScreen:
        return RunsScreen(self.workspace)


def run_dashboard(workspace: Workspace) -> None:
    """Show the dashboard of a workspace until the user quits."""
    DashboardApp(workspace).run()
