"""Which code and which libraries make numbers: hashes and versions by which two runs are known to have had the same."""

from __future__ import annotations

import hashlib
from importlib import metadata, resources
from importlib.resources.abc import Traversable

WITHOUT_NUMBERS = frozenset(
    {"ablate", "cli", "dashboard", "dicom", "grids", "launch", "manual", "report", "results", "synthetic"}
)
"""Rooms of the package that change no number of a run on a published cohort, nor of its probe."""
LIBRARIES = ("numpy", "safetensors", "timm", "torch")
SUFFIXES = (".py", ".toml")


def hash_code() -> dict[str, str]:
    """Return the SHA-256 of each file of the package that may change a number, by its path in the package."""
    root = resources.files("cxrssl")
    return dict(
        sorted(
            entry
            for room in root.iterdir()
            if room.name not in WITHOUT_NUMBERS
            for entry in _hash_files(room, room.name)
        )
    )


def digest_code() -> str:
    """Return the SHA-256 of all of `hash_code`: equal for equal code, installed or from a checkout."""
    lines = (f"{sha256}  {name}\n" for name, sha256 in hash_code().items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that may change a number; nothing is imported."""
    return {name: metadata.version(name) for name in LIBRARIES}


def _hash_files(place: Traversable, name: str) -> list[tuple[str, str]]:
    if place.is_dir():
        inner = [] if place.name.startswith((".", "__pycache__")) else list(place.iterdir())
        return [entry for each in inner for entry in _hash_files(each, f"{name}/{each.name}")]
    if not name.endswith(SUFFIXES):
        return []
    return [(name, hashlib.sha256(place.read_bytes()).hexdigest())]
