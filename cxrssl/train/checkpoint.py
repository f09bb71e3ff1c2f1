"""Checkpoints: one published artefact each, the newest valid one found again, old ones removed.

In: a TrainState. Out: `checkpoints/step-00000100/{state.safetensors, manifest.json}` under the run's folder.
Never: a checkpoint that is not whole under its final name, or the newest valid one removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from cxrssl.core.artefact import open_artefact, publish, write_bytes
from cxrssl.core.errors import IntegrityError

KIND = "checkpoint"
STATE_FILE = "state.safetensors"


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], settings: dict[str, str]) -> Path:
    """Publish a checkpoint of `step` and return its folder. `settings` are the hashes that a resume must find equal."""
    dest = folder / f"step-{step:08d}"
    with publish(dest, KIND, {"step": step, **settings}) as building:
        write_bytes(building / STATE_FILE, serialise(tensors))
    return dest


def serialise(tensors: dict[str, Tensor]) -> bytes:
    """Return the content of a checkpoint's file."""
    return save(tensors)


def load_newest(
    folder: Path, settings: dict[str, str], on_damage: Callable[[IntegrityError], None]
) -> dict[str, Tensor] | None:
    """Return the tensors of the newest checkpoint that is whole and was made with `settings`, or None.

    Damaged ones are told to `on_damage` and passed over; one made with other settings is an IntegrityError.
    """
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            artefact = open_artefact(path, KIND)
        except IntegrityError as error:
            on_damage(error)
            continue
        for key, value in settings.items():
            if artefact.settings.get(key) != value:
                raise IntegrityError(
                    f"this checkpoint was made with another {key}: {artefact.settings.get(key)}, now {value}",
                    path,
                    "resume with the settings of the run, or start another run",
                )
        return load((path / STATE_FILE).read_bytes())
    return None


def remove_old(folder: Path, num_kept: int) -> None:
    """Remove all but the newest `num_kept` checkpoints, and half-written ones; the newest is never removed."""
    for path in sorted(folder.glob("step-*"))[: -max(1, num_kept)]:
        shutil.rmtree(path, ignore_errors=True)
    for leftover in folder.glob(".building-*"):  # of a process that was killed; the run's lock is ours
        shutil.rmtree(leftover, ignore_errors=True)
