"""What all screens of one dashboard share: the workspace, its reader, and how the user looks at it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.cutter import ViewCutter
from cxrssl.dashboard.memory import keep_view
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.view import View


class Session:
    """One dashboard, from its start to its end."""

    def __init__(self, workspace: Workspace, view: View | None = None, memory: Path | None = None) -> None:
        self.workspace = workspace
        self.reader = Reader(workspace)
        self.cutter = ViewCutter()
        self.view = view or View()
        self.focused_id = ""
        """The run at the cursor."""
        self._memory = memory
        self._kept = self.view

    def change(self, **changes: Any) -> View:
        """Look at it otherwise from now on."""
        self.view = replace(self.view, **changes)
        return self.view

    def keep(self) -> str:
        """Keep the view for the next time if it is another; return why it cannot be kept, "" when it can."""
        view = self.view
        if view == self._kept:
            return ""
        self._kept = view
        return keep_view(self._memory, view)
