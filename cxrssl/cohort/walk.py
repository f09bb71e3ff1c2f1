"""The entries of a folder, links followed as far as they lead somewhere, and names as they are spelt on the disk.

In: a folder. Out: its files with their sizes, and its folders. A Mac stores accents apart from their letters (NFD),
tables have them in one character (NFC): these are one name, unless there is a file of the exact one.
Never: a walk that a link leads round in a circle, or an exception for a link that leads nowhere or to itself.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cxrssl.core.errors import SetupError

LEADS_NOWHERE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)


@dataclass(frozen=True)
class Place:
    """A folder of a walk."""

    path: str
    """Where the walk is; a plain string: MIMIC-CXR has 293,000 folders."""
    left_from: tuple[str, ...] = ()
    """The real folders whose links led here."""


@dataclass
class Entries:
    """What lies in a folder."""

    files: dict[str, int] = field(default_factory=dict)
    """Name -> size in bytes."""
    folders: dict[str, Place] = field(default_factory=dict)
    """Name -> folder."""
    lost: list[str] = field(default_factory=list)
    """Names of links that lead nowhere, to themselves, or back to a folder that the walk came through."""


def scan(place: Place) -> Entries:
    """Return what lies in a folder. What is neither file nor folder, as a pipe, is left out.

    Raises: SetupError when the folder or an entry of it cannot be read.
    """
    found = Entries()
    try:
        with os.scandir(place.path) as entries:
            for entry in entries:
                _add(found, place, entry)
    except OSError as error:
        what = f"the folder cannot be read: {(error.strerror or str(error)).lower()}"
        raise SetupError(what, error.filename or place.path, "may you read it, and is its disk mounted?") from None
    return found


def _add(found: Entries, place: Place, entry: os.DirEntry[str]) -> None:
    try:
        if entry.is_dir():
            folder = _follow(place, entry) if entry.is_symlink() else Place(entry.path, place.left_from)
            if folder is not None:
                found.folders[entry.name] = folder
            else:
                found.lost.append(entry.name)
        elif entry.is_file():
            found.files[entry.name] = entry.stat().st_size
        elif entry.is_symlink() and not os.path.exists(entry.path):
            found.lost.append(entry.name)
    except OSError as error:
        if error.errno not in LEADS_NOWHERE:
            raise
        found.lost.append(entry.name)


def _follow(place: Place, entry: os.DirEntry[str]) -> Place | None:
    """Return the folder behind a link, or None if the walk came through it on its way to the link."""
    target = Path(os.path.realpath(entry.path))
    left_from = (*place.left_from, os.path.realpath(place.path))
    return None if any(Path(real).is_relative_to(target) for real in left_from) else Place(entry.path, left_from)


def compose(name: str) -> str:
    """Return a name with each accent in one character with its letter (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def spell(wanted: Iterable[str], present: Collection[str]) -> dict[str, str]:
    """Return name -> its spelling among `present`, of names that are there in another composition of accents only.

    A name that fits two spellings, or a spelling that another wanted name has exactly, is nobody's.
    """
    spellings: dict[str, list[str]] = {}
    for name in present:
        if not name.isascii():
            spellings.setdefault(compose(name), []).append(name)
    if not spellings:
        return {}
    names = {*wanted}
    fitting = {name: spellings.get(compose(name), []) for name in names}
    taken = Counter(fits[0] for fits in fitting.values() if len(fits) == 1)
    return {
        name: fits[0]
        for name, fits in fitting.items()
        if len(fits) == 1 and fits[0] not in names and taken[fits[0]] == 1
    }
