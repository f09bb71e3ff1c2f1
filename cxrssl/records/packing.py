"""How films were made into the squares that an encoder is shown, and in what two packs of films differ.

In: the folder of packed films. Out: Pack; a difference in words. Never: a difference that changes none of the films.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxrssl.core.artefact import open_artefact

_POLARITY = {False: "polarity by PhotometricInterpretation", True: "polarity by PresentationLUTShape"}


@dataclass(frozen=True)
class Pack:
    """How films were made into the squares that an encoder was shown."""

    size_px: int
    by_shape: bool = False
    """DICOM: PresentationLUTShape decides on polarity."""
    png_bits: int = 0
    """The true depth of PNGs of 16 bits; 0: as each film shows."""


def read_pack(path: Path) -> Pack:
    """Return how the packed films at `path` were made. Raises: IntegrityError."""
    settings = open_artefact(path, "images", verify=False).settings
    choices = settings.get("choices")
    known = choices if isinstance(choices, Mapping) else {}
    return Pack(int(settings["size_px"]), bool(known.get("by_shape", False)), int(known.get("png_bits", 0)))


def read_pipeline(path: Path) -> str:
    """Return the version of the steps by which the films at `path` were decoded. Raises: IntegrityError."""
    return str(open_artefact(path, "images", verify=False).settings.get("pipeline_version", ""))


def explain_unlike_packs(packed: Pack, wanted: Pack, paths: Sequence[str], whose: str = "the probe") -> str:
    """Return how films are packed in another way than those of `whose`, in words; "" where they are alike.

    A rule for greys counts where one of the films at `paths` is of the kind that it is for: a rule for DICOM changes
    no PNG.
    """
    kinds = {Path(path).suffix.lower() for path in paths}
    said = []
    if packed.size_px != wanted.size_px:
        said.append(f"at {packed.size_px} px, those of {whose} at {wanted.size_px}")
    if packed.by_shape != wanted.by_shape and kinds - {".png", ".jpg", ".jpeg"}:
        said.append(f"with {_POLARITY[packed.by_shape]}, those of {whose} with {_POLARITY[wanted.by_shape]}")
    if packed.png_bits != wanted.png_bits and kinds - {".jpg", ".jpeg", ".dcm", ".dicom"}:
        depths = [f"{pack.png_bits} bits" if pack.png_bits else "the bits that each shows" for pack in (packed, wanted)]
        said.append(f"with PNGs of {depths[0]}, those of {whose} with {depths[1]}")
    return "; ".join(said)


def pack_options(pack: Pack) -> list[str]:
    """Return the options of `cxrssl ingest` that pack films so."""
    words = ["--size", str(pack.size_px)]
    words += ["--polarity", "shape"] if pack.by_shape else []
    return words + (["--png-bits", str(pack.png_bits)] if pack.png_bits else [])
