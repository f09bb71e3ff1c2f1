"""How the pixels of an encoder that others trained were normalised: as the command, its files or timm say.

In: what the user says, config.json and preprocessor_config.json. Out: Pixels. Never: a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm

from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import plain
from cxrssl.recipe.settings import BACKBONES


@dataclass(frozen=True)
class Pixels:
    """What is taken off the pixels in [0, 1], and what they are divided by: one number, or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_px: int
    """0 where nothing says it."""
    source: str


def choose_pixels(
    mean: tuple[float, ...], std: tuple[float, ...], arch: str, config: Mapping[str, Any], path: Path
) -> Pixels:
    """Return the normalisation as the command says, else as the files do, else as timm's entry does.

    Raises: UsageError when nothing says it or it cannot be, DataError for files that cannot be used.
    """
    said = _pixels_of_folder(config) or _pixels_of_timm(arch)
    if bool(mean) != bool(std):
        raise UsageError("mean and deviation of the pixels belong together", hint="give --pixel-mean and --pixel-std")
    if mean:
        said = Pixels(mean, std, said.input_px if said else 0, "--pixel-mean, --pixel-std")
    if said is None:
        hint = "give --pixel-mean and --pixel-std: one number each, or one a channel, where 1 is white"
        raise UsageError("nothing says how the encoder's pixels were normalised", path, hint)
    is_sound = all(0 <= value <= 1 for value in said.mean) and all(0 < value < math.inf for value in said.std)
    if len(said.mean) != len(said.std) or not is_sound:
        hint = "means lie in [0, 1], where 1 is white, and deviations above 0: divide those of 0 to 255 by 255"
        raise UsageError("mean and deviation of the pixels cannot be used", path, hint)
    return said


def _pixels_of_folder(config: Mapping[str, Any]) -> Pixels | None:
    prepared, timm_said = config.get("pixels"), config.get("config", {}).get("pretrained_cfg")
    try:
        if isinstance(prepared, dict) and "image_mean" in prepared:
            if not math.isclose(float(prepared.get("rescale_factor", 1 / 255)), 1 / 255, rel_tol=1e-4):
                raise ValueError("its rescale_factor is not 1/255")
            if not prepared.get("do_rescale", True):
                raise ValueError("its do_rescale is false")
            size = prepared.get("crop_size") or prepared.get("size") or 0
            side = int(size.get("height") or size.get("shortest_edge") or 0) if isinstance(size, dict) else int(size)
            is_normal = prepared.get("do_normalize", True)
            mean = _numbers(prepared["image_mean"]) if is_normal else (0.0,)
            std = _numbers(prepared["image_std"]) if is_normal else (1.0,)
            return Pixels(mean, std, side, "preprocessor_config.json")
        if isinstance(timm_said, dict) and "mean" in timm_said:
            side = int(timm_said["input_size"][-1])
            return Pixels(_numbers(timm_said["mean"]), _numbers(timm_said["std"]), side, "config.json")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"the normalisation in the folder cannot be used: {plain(error, 80)}") from None
    return None


def _pixels_of_timm(arch: str) -> Pixels | None:
    try:
        entry = timm.get_pretrained_cfg(arch) if arch and arch not in BACKBONES else None
    except RuntimeError as error:
        raise UsageError(plain(error, 120), hint="timm.list_pretrained() lists them") from None
    if entry is None:
        return None
    name = f"{entry.architecture or arch}" + (f".{entry.tag}" if entry.tag else "")
    return Pixels(tuple(entry.mean), tuple(entry.std), int(entry.input_size[-1]), f"timm's entry {name}")


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
