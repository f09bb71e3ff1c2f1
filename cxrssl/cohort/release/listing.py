"""The publisher's SHA256SUMS.txt, read as untrusted input.

In: a folder. Out: path -> SHA-256, and the refused lines. Never: a path outside the folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cxrssl.cohort.files import MAX_SEARCH_DEPTH, check_folder, iter_folders
from cxrssl.cohort.walk import compose
from cxrssl.core.errors import DataError
from cxrssl.core.text import plain

LISTING = "SHA256SUMS.txt"
# PhysioNet writes one space between the two, sha256sum two, and in binary mode an asterisk.
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]?(.+)")


@dataclass(frozen=True)
class Fault:
    """One deviation from what was published."""

    kind: str
    path: str
    """Relative to the folder; for a refused line, its text."""
    detail: str = ""


@dataclass(frozen=True)
class Listing:
    """The content of a SHA256SUMS.txt."""

    folder: Path
    sha256: str
    sums: dict[str, str]
    """Path relative to the folder -> SHA-256."""
    refused: list[Fault]


def find_listings(path: Path) -> list[Path]:
    """Return the folders at and under `path` that hold a SHA256SUMS.txt.

    Raises: DataError when there is none.
    """
    path = check_folder(path, "the check")
    found = [folder.path for folder in iter_folders(path) if LISTING in folder.files]
    if not found:
        hint = f"PhysioNet ships one in the folder of each project; looked {MAX_SEARCH_DEPTH} folders deep"
        raise DataError(f"there is no {LISTING}", path, hint)
    return found


def read_listing(folder: Path) -> Listing:
    """Return the lines of `folder`/SHA256SUMS.txt; a line that is malformed or names a place outside is refused.

    Raises: DataError when it cannot be read or lists no file.
    """
    path = folder / LISTING
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{LISTING} cannot be read: {(error.strerror or str(error)).lower()}", path) from None
    sums: dict[str, str] = {}
    refused = []
    for number, line in enumerate(data.decode("utf-8", "replace").removeprefix("\ufeff").splitlines(), 1):
        if not line.strip():
            continue
        name, digest, rule = _parse_line(line)
        if not rule and sums.setdefault(name, digest) != digest:
            rule = "listed twice with two checksums"
        if rule:
            refused.append(Fault("refused", plain(name, 200), f"line {number}: {rule}"))
    if not sums:
        raise DataError(f"{LISTING} lists no file", path, "each line is a SHA-256 and a path")
    return Listing(folder, hashlib.sha256(data).hexdigest(), sums, refused)


def find_release(folder: Path) -> Path | None:
    """Return the nearest folder at or above `folder` with a listing."""
    for place in (folder, *list(folder.parents)[:MAX_SEARCH_DEPTH]):
        if (place / LISTING).is_file():
            return place
    return None


def find_extra(listing: Listing) -> Iterator[Fault]:
    """Yield a fault for each file that is not listed, without folders that have a listing of their own."""
    composed = {compose(name): name for name in listing.sums if not name.isascii()}
    for place, folders, files in os.walk(listing.folder):
        here = PurePosixPath(Path(place).relative_to(listing.folder).as_posix())
        if LISTING in files and str(here) != ".":
            folders.clear()
            continue
        folders.sort()
        for name in sorted(files):
            path = str(here / name)
            # The listed name, as a Mac spells it, unless the file of the exact name is there too.
            exact = composed.get(compose(path))
            if exact is not None and not os.path.lexists(listing.folder / exact):
                continue
            if path != LISTING and path not in listing.sums:
                yield Fault("extra", plain(path))


def _parse_line(line: str) -> tuple[str, str, str]:
    """Return path, SHA-256 and the rule that the line breaks, or ""."""
    match = LINE.fullmatch(line)
    if not match:
        return line, "", "not a SHA-256 and a path"
    name = match[2].removeprefix("./")
    parts = name.split("/")
    if name.startswith("/"):
        return name, "", "an absolute path"
    if ".." in parts:
        return name, "", "a path that leaves the folder"
    if "" in parts or "." in parts:
        return name, "", "not a plain path"
    if plain(name, len(name)) != name or "\N{REPLACEMENT CHARACTER}" in name:
        return name, "", "control characters in the path, or not UTF-8"
    return name, match[1].lower(), ""
