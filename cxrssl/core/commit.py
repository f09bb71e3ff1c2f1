"""The git commit of the package where it runs from a checkout of its own.

In: the folder that holds the package. Out: Commit, or None. Never: git called for an installed package, the commit of
another project that the package lies in, or an exception for want of git.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

PACKAGE = ("cxrssl", "schemas")
"""What of a checkout the program is made of."""
TIMEOUT_S = 20
"""Of one call; a disk of a network may be slow."""


class Commit(NamedTuple):
    sha: str
    is_dirty: bool
    """Whether a file of the package is not as in the commit, or not in it."""


def find_commit(root: Path | None = None) -> Commit | None:
    """Return the commit of the checkout whose root is `root`, by default the folder that holds this package.

    None where the package is installed, where git is not, and where git does not know the package.
    """
    root = root or Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        _ask_git(root, "ls-files", "--error-unmatch", f"{PACKAGE[0]}/__init__.py")
        sha = _ask_git(root, "rev-parse", "--verify", "HEAD").strip()
        return Commit(sha, bool(_ask_git(root, "status", "--porcelain", "--", *PACKAGE)))
    except (OSError, subprocess.SubprocessError):
        return None


def _ask_git(root: Path, *words: str) -> str:
    """Return what git prints; it writes nothing, and takes no other repository that the environment names."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=True, env=environment
    )
    return done.stdout
