"""A note that packed films were hashed and found whole, so that 39 GB are not hashed at every start.

In: a published pack. Out: a small file beside it, which records the state of its files. Stdlib only.
Never: damage that stays unseen: a file that was written to is hashed at once, a file that the disk itself spoilt at the
latest after a day.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import Artefact
from cxrssl.core.durable import write_json
from cxrssl.core.errors import SetupError
from cxrssl.core.filestate import FileState, is_settled, state_of

MAX_AGE_S = 24 * 3600


def look_at_files(artefact: Artefact) -> dict[str, FileState]:
    """Return the state of each file."""
    return {name: state_of((artefact.path / name).stat()) for name in artefact.manifest["files"]}


def is_remembered(artefact: Artefact) -> bool:
    """Return whether exactly these files were hashed and found whole within the last day."""
    stamp = _read_stamp(_stamp_path(artefact))
    age_s = time.time() - stamp.get("checked_at", 0.0)
    states = {name: list(state) for name, state in look_at_files(artefact).items()}
    is_same = stamp.get("content_sha256") == artefact.content_sha256 and stamp.get("files") == states
    return is_same and 0 <= age_s < MAX_AGE_S


def remember(artefact: Artefact, states: dict[str, FileState], started_at: float) -> None:
    """Note that files in these states, hashed from `started_at` on, are whole, if that is certain."""
    if not all(is_settled(state, started_at) for state in states.values()):
        return
    stamp = {"content_sha256": artefact.content_sha256, "files": states, "checked_at": started_at}
    with contextlib.suppress(SetupError):  # films in a read-only workspace are hashed every time
        write_json(_stamp_path(artefact), stamp)


def _stamp_path(artefact: Artefact) -> Path:
    return artefact.path.parent / f".whole-{artefact.path.name}.json"


def _read_stamp(path: Path) -> dict[str, Any]:
    try:
        stamp = json.loads(path.read_text())
        return dict(stamp, checked_at=float(stamp["checked_at"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
