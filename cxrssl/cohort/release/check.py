"""A release check: every listed file compared with its checksum, and the outcome published.

In: a folder with a SHA256SUMS.txt. Out: checks/<key>/ with faults.csv and summary.json.
Never: a write into the dataset, or "verified" for a file that may be another than the one that was read.
Limit: only `is_anew`, which reads everything again, finds damage by the disk that no file state shows.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.cohort.files import check_apart
from cxrssl.cohort.release.hashing import hash_files, look_at_files
from cxrssl.cohort.release.listing import Fault, Listing, find_extra, read_listing
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.durable import hash_settings, kill_point, write_bytes, write_json
from cxrssl.core.errors import IntegrityError
from cxrssl.core.filestate import FileState, is_settled
from cxrssl.core.filmfile import FilmFolder
from cxrssl.core.journal import Journal, read_journal
from cxrssl.core.process import bounded_workers, num_cores
from cxrssl.core.text import escape_formula, from_csv_text, plain
from cxrssl.core.workspace import Workspace

KIND = "check"
MOST_WORKERS = 64
"""Files read at a time: a disk far away takes more of them than there are cores."""
FAULTS = ("missing", "mismatch", "unreadable", "refused", "extra")
"""missing, mismatch, unreadable: listed files; refused: unsafe lines and links; extra: files that are not listed."""


@dataclass(frozen=True)
class ReleaseCheck:
    """The result of `check_release`."""

    folder: Path
    """The folder that was checked."""
    path: Path
    """The published check."""
    values: dict[str, Any]
    """The content of summary.json."""
    faults: list[Fault]
    num_hashed: int
    """Files read in this call; the others were known from an earlier or interrupted check."""


def check_release(
    workspace: Workspace, folder: Path, num_workers: int = 0, is_anew: bool = False, links: Path | None = None
) -> ReleaseCheck:
    """Verify every file that `folder`/SHA256SUMS.txt lists and publish the outcome under `checks/`.

    An interrupted check resumes where it stopped. Files unchanged since an earlier check are read again only if
    `is_anew`. Links that leave the folder are refused unless they lead into `links`.

    Raises: DataError for the listing, UsageError when the workspace is inside the folder, SetupError.
    """
    check_apart(workspace.root, [folder])
    listing = read_listing(folder)
    states, faults = look_at_files(listing, links)
    digests = {} if is_anew else recall(workspace, listing, states)[0]
    todo = [(number, name) for number, name in enumerate(listing.sums) if name in states and name not in digests]
    workers = bounded_workers(num_workers, min(num_cores(), 8), MOST_WORKERS)
    with contextlib.closing(Journal(_journal_path(workspace, listing))) as journal:
        for number, name, outcome in hash_files(FilmFolder(folder, links), todo, len(states), workers):
            if isinstance(outcome, Fault):
                faults.append(outcome)
                continue
            states[name], digests[name] = outcome.state, outcome.sha256
            journal.log({"line": number, "state": list(outcome.state), "at": outcome.at_s, "sha256": outcome.sha256})
            kill_point("check-after-file")
    faults = _sort_faults([*faults, *_find_mismatches(listing, digests), *listing.refused, *find_extra(listing)])
    values = _summarise(listing, states, digests, faults)
    path = _publish(workspace.checks / make_key(listing, digests), listing, values, faults)
    return ReleaseCheck(folder, path, values, faults, len(todo))


def make_key(listing: Listing, digests: Mapping[str, str]) -> str:
    """Return the name of a check, a hash of the listing and of every file's SHA-256: the same on every disk."""
    snapshot = hash_settings([[name, digests.get(name, "")] for name in listing.sums])
    return f"{listing.sha256[:16]}-{snapshot[:16]}"


def recall(
    workspace: Workspace, listing: Listing, states: Mapping[str, FileState]
) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """Return path -> SHA-256 of the files in these states that an earlier check read, in this folder or another.

    Besides, number and path of files that were read in these states so soon after a change that they may have changed
    once more.
    """
    names = list(listing.sums)
    digests: dict[str, str] = {}
    unsure: dict[str, int] = {}
    for record in read_journal(_journal_path(workspace, listing)):
        with contextlib.suppress(KeyError, TypeError, ValueError, IndexError):
            number, state = record["line"], FileState(*record["state"])
            name = names[number]
            if states.get(name) != state:
                continue
            if is_settled(state, record["at"]):
                digests[name] = str(record["sha256"])
            else:
                unsure[name] = number
    return digests, [(number, name) for name, number in unsure.items() if name not in digests]


def read_faults(path: Path) -> list[Fault]:
    """Return the faults of a published check."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Fault(row["kind"], from_csv_text(row["path"]), row["detail"]) for row in csv.DictReader(file)]


def _find_mismatches(listing: Listing, digests: Mapping[str, str]) -> list[Fault]:
    return [
        Fault("mismatch", name, f"SHA-256 is {digest}, listed is {listing.sums[name]}")
        for name, digest in digests.items()
        if digest != listing.sums[name]
    ]


def _sort_faults(faults: list[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda fault: (FAULTS.index(fault.kind), fault.path, fault.detail))


def _journal_path(workspace: Workspace, listing: Listing) -> Path:
    return workspace.checks / f"{listing.sha256[:32]}.jsonl"


def _summarise(
    listing: Listing, states: Mapping[str, FileState], digests: Mapping[str, str], faults: Sequence[Fault]
) -> dict[str, Any]:
    good = [name for name, digest in digests.items() if digest == listing.sums[name]]
    return {
        "folder": plain(listing.folder.name, 120),
        "listed": len(listing.sums),
        "verified": len(good),
        "verified_bytes": sum(states[name].num_bytes for name in good),
        "faults": {kind: sum(fault.kind == kind for fault in faults) for kind in FAULTS},
    }


def _publish(dest: Path, listing: Listing, values: Mapping[str, Any], faults: list[Fault]) -> Path:
    """Publish the outcome unless it is already published."""
    settings = {"listing_sha256": listing.sha256, "faults": hash_settings([vars(fault) for fault in faults])}
    with contextlib.suppress(IntegrityError):
        if open_artefact(dest, KIND).settings == settings:
            return dest
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["kind", "path", "detail"])
    writer.writerows([fault.kind, escape_formula(fault.path), fault.detail] for fault in faults)
    with publish(dest, KIND, settings) as building:
        write_bytes(building / "faults.csv", out.getvalue().encode())
        write_json(building / "summary.json", values)
    return dest
