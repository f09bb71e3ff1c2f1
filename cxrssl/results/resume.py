"""What a run is resumed with: its recipe, and the settings of the place that its newest checkpoint was made with.

In: the folder of a run. Out: its description, recipe and command; options of the place. Never: torch.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from cxrssl.core.artefact import open_artefact
from cxrssl.core.errors import DataError, IntegrityError, UsageError
from cxrssl.core.text import shell_word
from cxrssl.recipe.settings import Recipe, name_extended
from cxrssl.records.imported import refuse_imported
from cxrssl.records.run import RunDescription, RunFiles, read_description
from cxrssl.results.command import default_label, find_command, label_of, read_recipe

CHECKPOINT = "checkpoint"
MACHINE = ("num_threads", "micro_batch", "compile", "deterministic")


def find_resumed(folder: Path) -> tuple[RunDescription, Recipe, list[str] | None]:
    """Return what a run is, its recipe, and the words that plan it. Raises: UsageError, DataError."""
    files = RunFiles(folder)
    refuse_imported(folder, "trained further: pretrain in another workspace")
    if files.is_published:
        raise UsageError(f"run {folder.name} is finished", folder, f"probe it: cxrssl probe {shell_word(folder.name)}")
    description, fault = read_description(files)
    recipe = read_recipe(description) if description else None
    if description is None or recipe is None:
        raise DataError(
            f"nothing says how run {folder.name} is resumed: {fault or 'its recipe cannot be read'}", folder
        )
    return description, recipe, find_command(description)


def find_extension(folder: Path, num_epochs: int, schedule: str) -> tuple[RunDescription, Recipe, list[str] | None]:
    """Return what continues a finished run: its description, its recipe, and the words that plan it.

    Raises: UsageError, DataError.
    """
    files = RunFiles(folder)
    refuse_imported(folder, "extended: pretrain in another workspace")
    if not files.is_published:
        what = f"run {folder.name} is not finished, so that it cannot be extended"
        raise DataError(what, folder, f"finish it first: cxrssl runs resume {shell_word(folder.name)}")
    description, fault = read_description(files)
    own = read_recipe(description) if description else None
    if description is None or own is None:
        raise DataError(
            f"nothing says how run {folder.name} was trained: {fault or 'its recipe cannot be read'}", folder
        )
    train = replace(own.train, num_epochs=num_epochs, extends=folder.name, extend_schedule=schedule)
    recipe, label = replace(own, train=train), label_of(description, own)
    if label == default_label(own):
        label = default_label(recipe)
    else:  # its own name, and not that of what it extended in its turn
        before = f"+{name_extended(own)}" if own.train.extends else ""
        label = f"{label.removesuffix(before)}+{name_extended(recipe)}"
    run_id = f"{description.cohort}-{label}-{recipe.model.backbone}-s{recipe.train.seed}-"
    description = replace(description, run_id=run_id, recipe=recipe.to_dict())
    return description, recipe, find_command(description)


def find_place(folder: Path) -> list[tuple[str, str]]:
    """Return the options by which the newest checkpoint's settings of the place are asked for again."""
    options: list[tuple[str, str]] = []
    for path in sorted(RunFiles(folder).checkpoints.glob("step-*"), reverse=True):
        with contextlib.suppress(IntegrityError):
            said = open_artefact(path, CHECKPOINT, verify=False).settings
            options += [("--device", str(said["device"]))] if "device" in said else []
            options += [("--machine", f"{key}={said[key]}") for key in MACHINE if str(said.get(key, "0")) != "0"]
            options += [("--gpus", str(said["num_processes"]))] if str(said.get("num_processes", "1")) != "1" else []
            return options
    return options
