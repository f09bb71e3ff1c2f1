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

MAX_AGE_S = 24 * 3600
CLOCK_STEP_S = 2.0
"""A file changed so shortly before it was hashed may change again with the same times."""


def look_at_files(artefact: Artefact) -> dict[str, list[int]]:
    """Return size, inode and times of each file; a write to one changes at least its ctime."""
    states = {name: (artefact.path / name).stat() for name in artefact.manifest["files"]}
    return {name: [s.st_size, s.st_ino, s.st_mtime_ns, s.st_ctime_ns] for name, s in states.items()}


def is_remembered(artefact: Artefact) -> bool:
    """Return whether exactly these files were hashed and found whole within the last day."""
    stamp = _read_stamp(_stamp_path(artefact))
    age_s = time.time() - stamp.get("checked_at", 0.0)
    is_same = stamp.get("content_sha256") == artefact.content_sha256 and stamp.get("files") == look_at_files(artefact)
    return is_same and 0 <= age_s < MAX_AGE_S


def remember(artefact: Artefact, states: dict[str, list[int]], started_at: float) -> None:
    """Note that files in these states, hashed from `started_at` on, are whole, if that is certain."""
    if max(state[3] for state in states.values()) > (started_at - CLOCK_STEP_S) * 1e9:
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
