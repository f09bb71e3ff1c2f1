"""What is recorded of an encoder that others trained: its files, its pixels, its tensors, and what it has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SawTest = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class ExternalSource:
    """An external encoder, as it stands in the settings of its evaluation."""

    format: str
    """`timm` or `huggingface`: whose names the tensors have."""
    architecture: str
    """In words, with all that the weights do not say themselves."""
    file_sha256: str
    num_tensors: int
    """Tensors of the encoder that were loaded: all that it has."""
    ignored: tuple[str, ...]
    """Tensors of the file that are no part of the encoder."""
    input_px: int
    pixel_mean: str
    """Mean of each channel, in [0, 1], where 1 is white."""
    pixel_std: str
    pixels_from: str
    """What says so: the command, a file, or timm's entry."""
    saw_test: SawTest = "unknown"
    """Whether a test film or a test subject was among its training films."""
    seen_sha256: str = ""
    """Of the list of its training films; empty without one."""
    seen_note: str = ""
    """How the list was compared with the cohort, in words."""
