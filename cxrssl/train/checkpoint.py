"""Checkpoints: one published artefact each, the newest valid one found again, old ones removed.

In: a TrainState. Out: `checkpoints/step-00000100/{state.safetensors, manifest.json}` under the run's folder.
Never: a checkpoint that is not whole under its final name, the newest valid one removed, or a start from nothing where
there were checkpoints.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from cxrssl.core.artefact import open_artefact, publish, remove_artefact
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import FormatError, IntegrityError, SetupError
from cxrssl.core.text import count_noun, format_bytes

KIND = "checkpoint"
STATE_FILE = "state.safetensors"
OPTIONS = {
    "device": "--device {}",
    "num_threads": "--machine num_threads={}",
    "micro_batch": "--machine micro_batch={}",
    "num_processes": "--gpus {}",
    "compile": "--machine compile={}",
    "deterministic": "--machine deterministic={}",
}
"""How a setting of a checkpoint that is not part of its run's recipe is asked for again."""


class Checkpoints:
    """The checkpoints of one run.

    `settings` are the hashes that a resume must find equal; `notes` are kept beside them and may change.
    """

    def __init__(
        self, folder: Path, settings: dict[str, str], num_kept: int, notes: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._settings = settings
        self._notes = notes or {}
        self._num_kept = max(1, num_kept)
        self._whole: list[Path] = []
        """Those that this process has read or written, oldest first."""

    def save(self, step: int, tensors: dict[str, Tensor]) -> Path:
        """Publish a checkpoint of `step`, remove those that are now too old, and return its folder."""
        dest = self.folder / f"step-{step:08d}"
        with publish(dest, KIND, {"step": step, **self._notes, **self._settings}) as building:
            write_bytes(building / STATE_FILE, serialise(tensors))
        # Only what this process has verified counts as kept: a damaged checkpoint never pushes a whole one out.
        self._whole = [path for path in self._whole if path.name < dest.name] + [dest]
        self._remove_old()
        return dest

    def load_newest(self, on_damage: Callable[[IntegrityError], None]) -> dict[str, Tensor] | None:
        """Return the tensors of the newest checkpoint that is whole, or None if there is no checkpoint at all.

        Damaged ones are reported to `on_damage` and skipped.
        Raises: IntegrityError when none is whole, when it was made with other settings or by a newer version.
        """
        found = sorted(self.folder.glob("step-*"), reverse=True)
        for path in found:
            try:
                artefact = open_artefact(path, KIND)
            except FormatError:
                raise  # not damage: an older one would silently undo the work of the newer version
            except IntegrityError as error:
                on_damage(error)
                continue
            # Not damage: an older checkpoint would not fit either, so none is skipped.
            self._check_settings(path, artefact.settings)
            self._whole = [path]
            return load((path / STATE_FILE).read_bytes())
        # All damaged is an error, never a silent start at step 0.
        if found:
            num = count_noun(len(found), "checkpoint")
            hint = "bring one back from a copy, or delete the folder to begin again at step 0"
            raise IntegrityError(f"the run has {num} and none is whole", self.folder, hint)
        return None

    def check_space(self, num_bytes: int) -> None:
        """Raise SetupError when the disk cannot hold the checkpoints still to come, of `num_bytes` each.

        A new one is written before the oldest is removed, so there is one more than are kept.
        """
        num_coming = max(1, self._num_kept + 1 - len(list(self.folder.glob("step-*"))))
        free, needed = shutil.disk_usage(self.folder.parent).free, num_coming * num_bytes
        if free < needed:
            what = f"{format_bytes(free)} free on the disk, {format_bytes(needed)} needed for "
            hint = "free some space, or choose another folder with --workspace"
            raise SetupError(what + count_noun(num_coming, "checkpoint"), self.folder.parent, hint)

    def _check_settings(self, path: Path, settings: dict[str, object]) -> None:
        for key, value in self._settings.items():
            if key == "num_threads" and key not in settings:
                continue  # it is of a version that did not say
            if (was := settings.get(key)) != value:
                what = f"this checkpoint was made with another {key}: {was}, now {value}"
                how = OPTIONS[key].format(was) if key in OPTIONS else "what it was"
                raise IntegrityError(what, path, f"resume with {how}, or start another run with --name")

    def _remove_old(self) -> None:
        """Remove what is older than the newest `num_kept` that are known to be whole."""
        self._whole = self._whole[-self._num_kept :]
        if len(self._whole) == self._num_kept:
            for path in sorted(self.folder.glob("step-*")):
                if path.name < self._whole[0].name:
                    remove_artefact(path)


def load_checkpoint(path: Path, settings: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors of one checkpoint, which was made with these settings.

    Raises: IntegrityError when it is damaged, or of another run.
    """
    found = open_artefact(path, KIND).settings
    if any(found.get(key) != value for key, value in settings.items()):
        raise IntegrityError("this checkpoint is not of the run whose folder it lies in", path, "bring that one back")
    return load((path / STATE_FILE).read_bytes())


def newest_setting(folder: Path, key: str) -> str | None:
    """Return a setting of the newest checkpoint in `folder`, None when there is none that says it."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        with contextlib.suppress(IntegrityError):
            was = open_artefact(path, KIND, verify=False).settings.get(key)
            return None if was is None else str(was)
    return None


def serialise(tensors: dict[str, Tensor]) -> bytes:
    """Return the content of a checkpoint's file."""
    return save(tensors)
