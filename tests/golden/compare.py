"""Whether two commits train alike on this machine: the same runs from each, compared to the last digit.

`python -m tests.golden.compare BASE`: BASE is any commit; the other side is the working tree. Films are written once;
each side ingests them and trains on them by its own command line, with one thread. Leaves with 1 when a digit differs.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.golden.loop import CASES, TREE, Trace, make_workspace, run_case


def main() -> None:
    """Compare every case, print a line for each, and leave with 1 if any differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="a commit of this repository")
    base = parser.parse_args().base
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trees = {"base": check_out(base, folder / "base-tree"), "here": TREE}
        places = {side: folder / side for side in trees}
        for place in places.values():
            place.mkdir()
        workspaces = {side: make_workspace(places[side], tree) for side, tree in trees.items()}
        differences = {
            case: compare(*(run_case(case, workspaces[side], tree) for side, tree in trees.items())) for case in CASES
        }
    for case, found in differences.items():
        sys.stdout.write(f"{case}: {found or 'equal to the last digit'}\n")
    sys.exit(1 if any(differences.values()) else 0)


def check_out(commit: str, folder: Path) -> Path:
    """Write the files of a commit into `folder` and return it."""
    files = subprocess.run(["git", "archive", commit], cwd=TREE, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def compare(base: Trace, here: Trace) -> str:
    """Return the first difference in words, or nothing."""
    if len(base.steps) != len(here.steps):
        return f"{len(base.steps)} steps, now {len(here.steps)}"
    for number, (was, now) in enumerate(zip(base.steps, here.steps, strict=True)):
        if was != now:
            keys = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
            return f"step {number}: " + ", ".join(f"{key} {was.get(key)!r}, now {now.get(key)!r}" for key in keys)
    if base.tensors != here.tensors:
        return f"{len(set(base.tensors) ^ set(here.tensors))} tensors differ after the last step"
    return ""


if __name__ == "__main__":
    main()
