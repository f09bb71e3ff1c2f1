"""What a user chose on the dashboard, kept from one time to the next in a file of their own, never in the workspace.

In: a workspace. Out: a View. Never: an exception for what the file contains, or for a home that cannot be written.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cxrssl.core.durable import write_json
from cxrssl.core.errors import CxrsslError
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.view import View
from cxrssl.records.file import read_json


def memory_path(workspace: Workspace) -> Path:
    """Return where the view of a workspace is kept: $XDG_STATE_HOME, or ~/.local/state."""
    given = os.environ.get("XDG_STATE_HOME", "")
    home = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    name = hashlib.sha256(os.fsencode(workspace.root.resolve())).hexdigest()[:16]
    return home / "cxrssl" / "dashboard" / f"{name}.json"


def recall_view(path: Path | None) -> View:
    """Return the view that was kept, or the usual one."""
    if path is None:
        return View()
    try:
        return View.from_dict(read_json(path))
    except CxrsslError:
        return View()


def keep_view(path: Path | None, view: View) -> str:
    """Keep a view for the next time; return why it cannot be kept, "" when it is."""
    if path is None:
        return ""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(path, view.to_dict())
    except (CxrsslError, OSError) as error:
        return error.what if isinstance(error, CxrsslError) else str(error)
    return ""
