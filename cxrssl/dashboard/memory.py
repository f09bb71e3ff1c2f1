"""What a user chose on the dashboard, kept from one time to the next in files of their own, never in the workspace.

In: a workspace. Out: a View, the user's own keys. Never: an exception for what a file contains, or for a home that
cannot be written.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Collection
from pathlib import Path

from cxrssl.core.durable import write_json
from cxrssl.core.errors import CxrsslError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.view import View
from cxrssl.records.file import open_plain, read_json

MAX_KEYMAP_BYTES = 64 << 10


def memory_path(workspace: Workspace) -> Path:
    """Return where the view of a workspace is kept: $XDG_STATE_HOME, or ~/.local/state."""
    given = os.environ.get("XDG_STATE_HOME", "")
    home = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    name = hashlib.sha256(os.fsencode(workspace.root.resolve())).hexdigest()[:16]
    return home / "cxrssl" / "dashboard" / f"{name}.json"


def keymap_path() -> Path:
    """Return the file of the user's own keys: in $XDG_CONFIG_HOME, or ~/.config."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(given) if os.path.isabs(given) else Path.home() / ".config"
    return home / "cxrssl" / "keys.toml"


def read_keymap(path: Path | None, known: Collection[str]) -> tuple[dict[str, str], str]:
    """Return the user's keys by the name of what they do, and what is wrong with the file, "" when nothing is.

    A line is such as `filter = "f"` or `mark = "space,x"`.
    """
    if path is None or not path.exists():
        return {}, ""
    try:
        with open_plain(path) as file:
            values = tomllib.loads(file.read(MAX_KEYMAP_BYTES).decode())
    except (OSError, ValueError) as error:
        return {}, f"{path.name} cannot be read: {plain(error, 120)}"
    keys = {name: key for name, key in values.items() if name in known and isinstance(key, str) and key}
    odd = sorted(set(values) - set(keys))
    return keys, f"{path.name}: {plain(odd[0], 60)} is no key of the dashboard" if odd else ""


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
