"""How many of a cohort's tables and films a published check has verified.

In: checks of a workspace that still match the files. Out: counts, a state in one or two words, a line for reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.cohort.release.check import make_key, recall
from cxrssl.cohort.release.hashing import Hashed, hash_files, look_at_files
from cxrssl.cohort.release.listing import LISTING, Listing, find_release, read_listing
from cxrssl.cohort.walk import compose
from cxrssl.core.durable import sha256_file
from cxrssl.core.errors import DataError
from cxrssl.core.filestate import NO_FILE, Seen
from cxrssl.core.filmfile import FilmFolder
from cxrssl.core.text import count_noun
from cxrssl.core.workspace import Workspace


@dataclass(frozen=True)
class Verified:
    """The files of one folder that are what their publisher lists, as they lie there now."""

    key: str
    """Names the check; empty if none with this outcome is published."""
    outcome: str
    """Hash of the SHA-256 of all listed files."""
    folder: Path
    files: dict[str, Seen]
    """Path in the folder -> the file."""


def find_verified(workspace: Workspace, folders: Iterable[Path], links: Path | None = None) -> list[Verified]:
    """Return the verified files of the releases that `folders` belong to: those that a check read as they lie now."""
    releases = {release for folder in folders if (release := find_release(folder)) is not None}
    found = []
    for release in sorted(releases):
        try:
            # A look at every listed file pays only if a check of this listing exists.
            sha256 = sha256_file(release / LISTING)
            if any(workspace.checks.glob(f"{sha256[:16]}-*")):
                found.append(_verify(workspace, read_listing(release), links))
        except (DataError, OSError):
            continue
    return found


def _verify(workspace: Workspace, listing: Listing, links: Path | None) -> Verified:
    states, _ = look_at_files(listing, links)
    digests, unsure = recall(workspace, listing, states)
    for _, name, outcome in hash_files(FilmFolder(listing.folder, links), unsure, len(unsure), 0):
        if isinstance(outcome, Hashed):
            digests[name], states[name] = outcome.sha256, NO_FILE
    key = make_key(listing, digests)
    good = {name: Seen(states[name], sha256) for name, sha256 in digests.items() if sha256 == listing.sums[name]}
    return Verified(key if (workspace.checks / key).is_dir() else "", key, listing.folder, good)


def find_films(verified: Sequence[Verified], root: Path) -> dict[str, Seen]:
    """Return path relative to `root`, accents composed -> file of the verified files that may be films."""
    films: dict[str, Seen] = {}
    for check in verified:
        if root.is_relative_to(check.folder):
            place = root.relative_to(check.folder).as_posix()
            prefix = "" if place == "." else f"{place}/"
            films |= {
                compose(name.removeprefix(prefix)): seen
                for name, seen in check.files.items()
                if name.startswith(prefix)
            }
    return films


def count_verified(
    verified: Sequence[Verified], tables: Mapping[Path, str], root: Path, films: Iterable[str]
) -> dict[str, Any]:
    """Return how many of the tables and films are verified, and the state of the whole.

    `tables` are paths with the SHA-256 of what was read; `films` are relative to `root`.
    """
    num_tables = sum(any(_vouches(check, path, sha256) for check in verified) for path, sha256 in tables.items())
    good = find_films(verified, root)
    num_films = seen = 0
    for path in films:
        seen += 1
        num_films += compose(path) in good
    whole = (num_tables, num_films) == (len(tables), seen)
    return {
        "state": "verified" if whole else "partly verified" if num_tables or num_films else "unverified",
        "tables": [num_tables, len(tables)],
        "films": [num_films, seen],
        "checks": sorted(check.key for check in verified if check.key),
    }


def describe_release(name: str, release: Mapping[str, Any] | None) -> str:
    """Return the line for every report of a cohort: whether its files match the publisher's checksums."""
    if not release or release["state"] == "unverified":
        return f"{name}: unverified, source files were not checked against their publisher's checksums"
    (good_tables, tables), (good_films, films) = release["tables"], release["films"]
    counts = f"{good_tables:,} of {count_noun(tables, 'table')}, {good_films:,} of {count_noun(films, 'film')}"
    return f"{name}: {release['state']} against the publisher's {LISTING}, {counts}"


def _vouches(check: Verified, path: Path, sha256: str) -> bool:
    if not path.is_relative_to(check.folder):
        return False
    seen = check.files.get(path.relative_to(check.folder).as_posix())
    return seen is not None and seen.sha256 == sha256
