"""How many of a cohort's tables and films a published check has verified.

In: checks of a workspace that still match the files. Out: counts, a state in one or two words, a line for reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.cohort.release.check import KIND, make_key, read_faults
from cxrssl.cohort.release.hashing import stamp_files
from cxrssl.cohort.release.listing import LISTING, find_release, read_listing
from cxrssl.core.artefact import open_artefact
from cxrssl.core.durable import sha256_file
from cxrssl.core.errors import DataError
from cxrssl.core.text import count_noun
from cxrssl.core.workspace import Workspace


@dataclass(frozen=True)
class Verified:
    """The files of one folder that a published check has verified."""

    key: str
    content_sha256: str
    folder: Path
    sums: dict[str, str]


def find_verified(workspace: Workspace, folders: Iterable[Path]) -> list[Verified]:
    """Return the verified files of the releases that `folders` belong to, from checks that still match the files."""
    releases = {release for folder in folders if (release := find_release(folder)) is not None}
    found = []
    for release in sorted(releases):
        try:
            # A stat of every listed file pays only if a check of this listing exists.
            sha256 = sha256_file(release / LISTING)
            if not any(workspace.checks.glob(f"{sha256[:16]}-*")):
                continue
            listing = read_listing(release)
            key = make_key(listing, stamp_files(listing)[0])
            artefact = open_artefact(workspace.checks / key, KIND)
            faulty = {fault.path for fault in read_faults(artefact.path / "faults.csv")}
        except (DataError, OSError):
            continue
        sums = {name: digest for name, digest in listing.sums.items() if name not in faulty}
        found.append(Verified(key, artefact.content_sha256, release, sums))
    return found


def count_verified(
    verified: Sequence[Verified], tables: Mapping[Path, str], root: Path, films: Iterable[str]
) -> dict[str, Any]:
    """Return how many of the tables and films are verified, and the state of the whole.

    `tables` are paths with the SHA-256 of what was read; `films` are relative to `root`.
    """
    num_tables = sum(any(_vouches(check, path, sha256) for check in verified) for path, sha256 in tables.items())
    good: list[tuple[str, Mapping[str, str]]] = []
    for check in verified:
        if root.is_relative_to(check.folder):
            prefix = root.relative_to(check.folder).as_posix()
            good.append(("" if prefix == "." else f"{prefix}/", check.sums))
    num_films = seen = 0
    for path in films:
        seen += 1
        num_films += any(prefix + path in sums for prefix, sums in good)
    whole = (num_tables, num_films) == (len(tables), seen)
    return {
        "state": "verified" if whole else "partly verified" if num_tables or num_films else "unverified",
        "tables": [num_tables, len(tables)],
        "films": [num_films, seen],
        "checks": sorted(check.key for check in verified),
    }


def describe_release(name: str, release: Mapping[str, Any] | None) -> str:
    """Return the line for every report of a cohort: whether its files match the publisher's checksums."""
    if not release or release["state"] == "unverified":
        return f"{name}: unverified, source files were not checked against their publisher's checksums"
    (good_tables, tables), (good_films, films) = release["tables"], release["films"]
    counts = f"{good_tables:,} of {count_noun(tables, 'table')}, {good_films:,} of {count_noun(films, 'film')}"
    return f"{name}: {release['state']} against the publisher's {LISTING}, {counts}"


def _vouches(check: Verified, path: Path, sha256: str) -> bool:
    return path.is_relative_to(check.folder) and check.sums.get(path.relative_to(check.folder).as_posix()) == sha256
