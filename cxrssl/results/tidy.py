"""What may go: runs that nobody needs, and what finished or killed commands have left behind.

In: a workspace. Out: Waste, and the same removed. Never: the folder of a run that a process trains, or anything that
another command could not make again, unless a person asked for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrssl.audit.pairs import is_of_packs
from cxrssl.core.artefact import open_artefact
from cxrssl.core.building import PREFIX, is_owned, is_put_aside, remove_left, remove_published
from cxrssl.core.durable import find_leftovers, remove_leftover, renamed_os_errors
from cxrssl.core.errors import IntegrityError, UsageError
from cxrssl.core.journal import append_record
from cxrssl.core.lock import hold_lock
from cxrssl.core.workspace import FOLDERS, Workspace
from cxrssl.images.store import KIND as IMAGES
from cxrssl.records.imported import find_imported_run
from cxrssl.records.reader import read_run
from cxrssl.records.run import RunFiles, read_description
from cxrssl.results.show import folder_bytes

CHECKPOINTS, PACKS, PAIRS, LEFTOVERS = "checkpoints", "packs", "pairs", "leftovers"
OLD_S = 86_400.0
"""What was being built and has not changed for so long was left by a process that is gone."""


@dataclass(frozen=True)
class Waste:
    """Something that may go."""

    kind: str
    path: Path
    why: str
    num_bytes: int


def find_waste(workspace: Workspace) -> list[Waste]:
    """Return what may go: checkpoints of finished runs, packs without a cohort, what was found in packs that are gone,
    leftovers of killed commands."""
    kinds = (_find_checkpoints, _find_packs, _find_pairs, _find_leftovers)
    return [waste for find in kinds for waste in find(workspace)]


def remove_waste(workspace: Workspace, waste: Sequence[Waste]) -> None:
    """Remove what was found, and is still there.

    Raises: UsageError when a process trains the run that checkpoints are of, or removes what may go too; SetupError.
    """
    busy = UsageError("another process removes what may go", workspace.root, "run it again when that one is done")
    with hold_lock(workspace.root / ".gc.lock", busy):
        for each in waste:
            if os.path.lexists(each.path):
                _remove(each)


def _remove(each: Waste) -> None:
    if each.kind == CHECKPOINTS:
        files = RunFiles(each.path.parent)
        with hold_lock(files.lock, _busy(files.folder)), renamed_os_errors(each.path):
            append_record(files.events, {"event": "leftover", "what": "checkpoints, removed by runs gc"})
            remove_published(each.path)
    elif each.kind in (PACKS, PAIRS):
        with renamed_os_errors(each.path):
            remove_published(each.path)
    elif each.path.name.startswith(PREFIX):
        remove_left(each.path)
    else:
        remove_leftover(each.path)


def remove_run(workspace: Workspace, folder: Path) -> None:
    """Remove a run, its jobs and logs. Raises: UsageError when a process trains it, SetupError."""
    record = read_run(folder)
    if record is not None and record.state == "running":
        raise UsageError(f"run {folder.name} is running", folder, "stop it first: cxrssl runs stop")
    with hold_lock(RunFiles(folder).lock, _busy(folder)), renamed_os_errors(folder):
        # First, as nothing finds them once the run is gone; those of a job that still waits are not told from others.
        shutil.rmtree(workspace.jobs / folder.name, ignore_errors=True)
        remove_published(folder)


def _busy(folder: Path) -> UsageError:
    return UsageError(f"run {folder.name} is in progress in another process", folder, "stop it first: cxrssl runs stop")


def _find_checkpoints(workspace: Workspace) -> Iterator[Waste]:
    awaited = set(_find_awaited(workspace))
    for run_id in workspace.run_ids():
        files = RunFiles(workspace.runs / run_id)
        is_done = files.is_published and run_id not in awaited
        if is_done and files.checkpoints.is_dir() and not find_imported_run(files.folder)[0]:
            why = f"run {run_id} is finished; it cannot be extended without"
            yield Waste(CHECKPOINTS, files.checkpoints, why, folder_bytes(files.checkpoints))


def _find_awaited(workspace: Workspace) -> Iterator[str]:
    """Yield the runs whose last checkpoint another one still begins from: it extends them and has none of its own."""
    for run_id in workspace.run_ids():
        files = RunFiles(workspace.runs / run_id)
        description, _ = read_description(files)
        train = description.recipe.get("train", {}) if description else {}
        if train.get("extends") and not files.is_published and not any(files.checkpoints.glob("step-*")):
            yield str(train["extends"]).partition("@")[0]


def _find_packs(workspace: Workspace) -> Iterator[Waste]:
    names = set(workspace.cohort_names())
    for path in sorted(workspace.images.iterdir()) if workspace.images.is_dir() else ():
        is_dropped = path.name not in names and not is_put_aside(workspace.cohorts / path.name)
        if path.is_dir() and not path.name.startswith(".") and is_dropped:
            yield Waste(PACKS, path, f"there is no cohort {path.name}", folder_bytes(path))


def _find_pairs(workspace: Workspace) -> Iterator[Waste]:
    packs = frozenset(_hash_packs(workspace))
    for path in sorted(workspace.pairs.iterdir()) if workspace.pairs.is_dir() else ():
        if path.is_dir() and not path.name.startswith(".") and not is_of_packs(path, packs):
            yield Waste(PAIRS, path, "films that look the same, of packs that are gone", folder_bytes(path))


def _hash_packs(workspace: Workspace) -> Iterator[str]:
    for path in workspace.images.iterdir() if workspace.images.is_dir() else ():
        with contextlib.suppress(IntegrityError):
            yield open_artefact(path, IMAGES, verify=False).content_sha256


def _find_leftovers(workspace: Workspace) -> Iterator[Waste]:
    folders = [workspace.root, *(workspace.root / name for name in FOLDERS)]
    folders += [workspace.runs / run_id for run_id in workspace.run_ids()]
    for folder in folders:
        for path in find_leftovers(folder):
            is_held = path.name.startswith(PREFIX) and is_owned(path)
            if not is_held and time.time() - _changed_at(path) > OLD_S:
                yield Waste(LEFTOVERS, path, "a command that wrote it was killed", folder_bytes(path))


def _changed_at(path: Path) -> float:
    """Return when a file, or anything in a folder, was last written to."""
    try:
        below = path.rglob("*") if path.is_dir() else ()
        return max(float(each.lstat().st_mtime) for each in (path, *below))
    except OSError:
        return time.time()
