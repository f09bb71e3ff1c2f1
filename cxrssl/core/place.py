"""Where the user lets a folder be made: never in a dataset, among the workspace's own folders, or over other things."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import IntegrityError, UsageError
from cxrssl.core.workspace import Workspace

IN_DATASET = "this would be inside the dataset folder, which is never written to"


def check_place(workspace: Workspace, dest: Path, root: Path | None) -> None:
    """Raise UsageError for a place in the dataset at `root`, in that of a cohort, or among the workspace's folders."""
    place, own = dest.resolve(), workspace.root.resolve()
    exports = own / workspace.exports.name
    if root is not None and place.is_relative_to(root.resolve()):
        raise UsageError(IN_DATASET, dest)
    check_outside_datasets(workspace, dest)
    if place.is_relative_to(own) and exports not in place.parents:
        hint = "use an --out elsewhere, or in the folder exports of the workspace"
        raise UsageError("the export would be among the workspace's own folders", dest, hint)


def check_outside_datasets(workspace: Workspace, dest: Path) -> None:
    """Raise UsageError for a place in the dataset folder of a cohort; a workspace may lie in one itself."""
    place = dest.resolve()
    is_own = place.is_relative_to(workspace.root.resolve())
    if not is_own and any(place.is_relative_to(root.resolve()) for root in _list_roots(workspace)):
        raise UsageError(IN_DATASET, dest)


def _list_roots(workspace: Workspace) -> Iterator[Path]:
    """Yield the dataset folder of each cohort; of a damaged one nobody knows it."""
    for name in workspace.cohort_names():
        with contextlib.suppress(IntegrityError):
            root = open_artefact(workspace.cohorts / name, "cohort", verify=False).inputs.get("root")
            if root:
                yield Path(root)


def check_free(dest: Path, kind: str, may_replace: bool) -> None:
    """Raise UsageError for a place that holds anything but an export of this kind that may be replaced."""
    if not dest.exists() and not dest.is_symlink():
        return
    try:
        open_artefact(dest, kind, verify=False)
    except IntegrityError:
        raise UsageError("the folder holds something other than an export", dest, "use another --out") from None
    if not may_replace:
        raise UsageError("the folder holds an older export", dest, "replace it with --force, or use another --out")
