"""One run described in full: recipe and its difference, command, events, checkpoints, evaluations, disk use.

In: the folder of a run and what the workspace holds. Out: RunReport, plain data. Never: torch, duckdb or polars.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.core.config import build_settings
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.settings import Recipe
from cxrssl.recipe.text import find_differences
from cxrssl.records.events import clean_event, is_event
from cxrssl.records.members import name_data
from cxrssl.records.notes import RunNotes
from cxrssl.records.reader import RunRecord
from cxrssl.records.run import RunFiles
from cxrssl.records.tail import iter_journal
from cxrssl.results.command import find_command, label_of, read_recipe
from cxrssl.results.needs import Needs, find_needs

SHOWN_EVENTS = 12


@dataclass(frozen=True)
class Piece:
    """A part of a folder on the disk."""

    name: str
    num_bytes: int


@dataclass(frozen=True)
class RunReport:
    """What is known of one run."""

    record: RunRecord
    notes: RunNotes
    command: tuple[str, ...]
    """Lines for a shell, which make the run again."""
    differences: tuple[tuple[str, Any, Any], ...]
    """Key, value of this run, value of the other recipe."""
    events: tuple[dict[str, Any], ...]
    checkpoints: tuple[Piece, ...]
    needs: Needs
    """What was made of it."""
    disk: tuple[Piece, ...]


def describe_run(workspace: Workspace, record: RunRecord, notes: RunNotes, against: Recipe | None) -> RunReport:
    """Return the report on a run; its recipe is compared with `against`, None is the default with its objective."""
    files, recipe = RunFiles(record.folder), read_recipe(record.description)
    differences: tuple[tuple[str, Any, Any], ...] = ()
    if recipe is not None:
        other = against or build_settings(Recipe, {"objective": {"name": recipe.objective.name}})
        differences = tuple((found.key, *found.values) for found in find_differences(recipe, other))
    return RunReport(
        record=record,
        notes=notes,
        command=tuple(_command_lines(record, recipe)),
        differences=differences,
        events=tuple(clean_event(each) for each in iter_journal(files.events) if is_event(each)),
        checkpoints=tuple(list_checkpoints(files)),
        needs=find_needs(workspace, record.run_id),
        disk=tuple(_disk_use(files)),
    )


def list_checkpoints(files: RunFiles) -> Iterator[Piece]:
    """Yield the checkpoints of a run, oldest first."""
    for path in sorted(files.checkpoints.glob("step-*")):
        yield Piece(path.name, folder_bytes(path))


def folder_bytes(path: Path) -> int:
    """Return the bytes of all files below a folder, or of a file; links are not followed."""
    try:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        with os.scandir(path) as entries:
            return sum(folder_bytes(Path(entry.path)) for entry in entries)
    except OSError:
        return 0


def describe_event(event: dict[str, Any]) -> str:
    """Return an event without its time in words."""
    words = [plain(event["event"], 40)]
    words += [f"at step {plain(event['step'], 20)}"] if "step" in event else []
    words += [f"by process {event['pid']} on {plain(event['host'], 60)}"] if event.get("host") else []
    what = plain(event.get("what", ""), 200)
    return " ".join(words) + (f": {what}" if what else "")


def _command_lines(record: RunRecord, recipe: Recipe | None) -> Iterator[str]:
    about = record.description
    if record.imported or recipe is None:
        return
    words = find_command(about)
    if words is not None:
        yield shlex.join(["cxrssl", *words])
        return
    file = f"{name_data(about.cohort)}.toml"
    yield shlex.join(["cxrssl", "recipe", "show", about.run_id]) + f" > {shlex.quote(file)}"
    yield shlex.join(
        ["cxrssl", "pretrain", "--recipe", file, "--cohort", about.cohort, "--name", label_of(about, recipe)]
    )


def _disk_use(files: RunFiles) -> Iterator[Piece]:
    """Yield how many bytes each part of a run's folder takes."""
    own = {files.encoder: "encoder", files.checkpoints: "checkpoints"}
    other = 0
    for path in sorted(files.folder.iterdir()):
        if path in own:
            yield Piece(own[path], folder_bytes(path))
        else:
            other += folder_bytes(path)
    yield Piece("journals", other)
