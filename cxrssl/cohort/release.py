"""Release check: is every file the one that the publisher shipped, by the publisher's SHA256SUMS.txt?

In: folders that hold a SHA256SUMS.txt. Out: checks/<key>/ with faults.csv and summary.json, and what a cohort may say.
Never: a write into the dataset, a file outside its folder, or "verified" for a file whose size or time has changed.
Limit: a file damaged without a change of size and time is seen by `is_anew` only, which reads everything again.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from cxrssl.cohort.files import MAX_SEARCH_DEPTH, check_folder, iter_folders
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.durable import hash_settings, kill_point, sha256_file, write_bytes, write_json
from cxrssl.core.errors import DataError, IntegrityError, UsageError
from cxrssl.core.journal import Journal, read_journal
from cxrssl.core.progress import track
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace

LISTING = "SHA256SUMS.txt"
KIND = "check"
FAULTS = ("missing", "mismatch", "unreadable", "refused", "extra")
"""missing, mismatch, unreadable: listed files; refused: lines and links that lead nowhere good; extra: not listed."""
# One space between the two is PhysioNet's way, two are sha256sum's, an asterisk marks its binary mode.
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]?(.+)")
CHUNK_BYTES = 1 << 20
BATCH = 1024
Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds."""


@dataclass(frozen=True)
class Fault:
    """One thing that is not as published."""

    kind: str
    path: str
    """Relative to the folder; where a line was refused, what it says."""
    detail: str = ""


@dataclass(frozen=True)
class Listing:
    """A SHA256SUMS.txt that was read."""

    folder: Path
    sha256: str
    sums: dict[str, str]
    """Path relative to the folder -> SHA-256."""
    refused: list[Fault]


@dataclass(frozen=True)
class ReleaseCheck:
    """What `check_release` found."""

    folder: Path
    """The folder that was checked."""
    path: Path
    """The published check."""
    values: dict[str, Any]
    """The content of summary.json."""
    faults: list[Fault]
    num_hashed: int
    """Files read now; the others were known from an earlier or interrupted check."""


@dataclass(frozen=True)
class Verified:
    """The files of one folder that a published check vouches for."""

    key: str
    content_sha256: str
    folder: Path
    sums: dict[str, str]


class _Refused(Exception):
    """A path that must not be opened; the message says why."""


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
    """Return the lines of `folder`/SHA256SUMS.txt; a line that is malformed or names a place elsewhere is refused.

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


def check_release(workspace: Workspace, folder: Path, num_workers: int = 0, is_anew: bool = False) -> ReleaseCheck:
    """Verify every file that `folder`/SHA256SUMS.txt lists and publish the outcome under `checks/`.

    Interrupted, it goes on where it stopped; files that have not changed since an earlier check are not read again,
    unless `is_anew`.

    Raises: DataError for the listing, UsageError when the workspace lies in the folder, SetupError.
    """
    if workspace.root.resolve().is_relative_to(folder.resolve()):
        hint = "name another folder with --workspace"
        raise UsageError("the workspace lies inside the dataset folder", workspace.root, hint)
    listing = read_listing(folder)
    journal_path = workspace.checks / f"{hash_settings([listing.sha256, str(folder.resolve())])[:16]}.jsonl"
    stamps, faults = _stamp_files(listing)
    digests = {} if is_anew else _recall(journal_path, listing, stamps)
    todo = [(number, name) for number, name in enumerate(listing.sums) if name in stamps and name not in digests]
    with contextlib.closing(Journal(journal_path)) as journal:
        for number, name, outcome in _hash_files(folder, todo, len(stamps), num_workers or min(os.cpu_count() or 1, 8)):
            if isinstance(outcome, Fault):
                faults.append(outcome)
                continue
            stamps[name], digests[name] = outcome
            journal.log({"line": number, "stamp": stamps[name], "sha256": digests[name]})
            kill_point("check-after-file")
    faults += [
        Fault("mismatch", name, f"SHA-256 is {digest}, listed is {listing.sums[name]}")
        for name, digest in digests.items()
        if digest != listing.sums[name]
    ]
    faults += [*listing.refused, *(Fault("extra", plain(name)) for name in _iter_extra(listing))]
    faults.sort(key=lambda fault: (FAULTS.index(fault.kind), fault.path, fault.detail))
    values = _summarise(listing, stamps, digests, faults)
    path = _publish(workspace.checks / _key(listing, stamps), listing, values, faults)
    return ReleaseCheck(folder, path, values, faults, len(todo))


def find_verified(workspace: Workspace, folders: Iterable[Path]) -> list[Verified]:
    """Return what published checks vouch for in the releases that `folders` belong to, as the files stand now."""
    releases = {release for folder in folders if (release := _find_release(folder)) is not None}
    found = []
    for release in sorted(releases):
        try:
            # Stating every listed file is worth it only where a check of this listing exists.
            sha256 = sha256_file(release / LISTING)
            if not any(workspace.checks.glob(f"{sha256[:16]}-*")):
                continue
            listing = read_listing(release)
            key = _key(listing, _stamp_files(listing)[0])
            artefact = open_artefact(workspace.checks / key, KIND)
            faulty = {fault.path for fault in _read_faults(artefact.path / "faults.csv")}
        except (DataError, OSError):
            continue
        sums = {name: digest for name, digest in listing.sums.items() if name not in faulty}
        found.append(Verified(key, artefact.content_sha256, release, sums))
    return found


def count_verified(
    verified: Sequence[Verified], tables: Mapping[Path, str], root: Path, films: Iterable[str]
) -> dict[str, Any]:
    """Return how many of the tables and films read are verified, and in one word the whole.

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
    """Return the line that every report of a cohort repeats: was it checked against its publisher's checksums?"""
    if not release or release["state"] == "unverified":
        return f"{name}: unverified, source files were not checked against their publisher's checksums"
    (good_tables, tables), (good_films, films) = release["tables"], release["films"]
    counts = f"{good_tables:,} of {count_noun(tables, 'table')}, {good_films:,} of {count_noun(films, 'film')}"
    return f"{name}: {release['state']} against the publisher's {LISTING}, {counts}"


def _parse_line(line: str) -> tuple[str, str, str]:
    """Return path, SHA-256 and the rule that the line breaks, if any."""
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


def _stamp_files(listing: Listing) -> tuple[dict[str, Stamp], list[Fault]]:
    """Return the stamp of each listed file that is there, and a fault for each that is not."""
    stamps, faults = {}, []
    resolve = _make_resolver(listing.folder)
    for name in listing.sums:
        stamp, fault = _stamp_file(resolve, name)
        if fault is not None:
            faults.append(fault)
        elif stamp is not None:
            stamps[name] = stamp
    return stamps, faults


def _stamp_file(resolve: Callable[[str], str], name: str) -> tuple[Stamp | None, Fault | None]:
    try:
        status = os.stat(resolve(name))
    except _Refused as error:
        return None, Fault("refused", name, str(error))
    except (FileNotFoundError, NotADirectoryError):
        return None, Fault("missing", name)
    except OSError as error:
        return None, Fault("unreadable", name, (error.strerror or str(error)).lower())
    if not stat.S_ISREG(status.st_mode):
        return None, Fault("unreadable", name, "not a file")
    return (status.st_size, status.st_mtime_ns), None


def _make_resolver(folder: Path) -> Callable[[str], str]:
    """Return a function from a path in `folder` to the real path, which raises _Refused when that lies outside."""
    inside = os.path.realpath(folder)

    def check(real: str, what: str) -> str:
        if real != inside and not real.startswith(inside.rstrip("/") + "/"):
            raise _Refused(f"{what} leads out of the folder")
        return real

    @functools.lru_cache(maxsize=4096)
    def real_parent(parent: str) -> str:
        return os.path.realpath(os.path.join(inside, parent))

    def resolve(name: str) -> str:
        parent, _, last = name.rpartition("/")
        path = os.path.join(check(real_parent(parent), "a link to a folder"), last)
        if not stat.S_ISLNK(os.lstat(path).st_mode):
            return path
        return check(os.path.realpath(path), "a link")

    return resolve


def _hash_files(
    folder: Path, todo: Sequence[tuple[int, str]], num_files: int, num_workers: int
) -> Iterator[tuple[int, str, Fault | tuple[Stamp, str]]]:
    """Yield number, path and either a fault or the stamp and the SHA-256 of what was read, in order."""
    resolve, stop = _make_resolver(folder), threading.Event()
    pool = ThreadPoolExecutor(num_workers)
    rest = iter(todo)
    try:
        with track("check files", num_files, "files", done=num_files - len(todo)) as progress:
            while batch := list(islice(rest, BATCH)):
                outcomes = pool.map(lambda item: _hash_file(resolve, item[1], stop), batch)
                for (number, name), outcome in zip(batch, outcomes, strict=True):
                    yield number, name, outcome
                    progress.advance()
    finally:
        stop.set()  # a large file that is being read is let go of when Ctrl-C ends this
        pool.shutdown(cancel_futures=True)


def _hash_file(resolve: Callable[[str], str], name: str, stop: threading.Event) -> Fault | tuple[Stamp, str]:
    digest = hashlib.sha256()
    try:
        # Neither a link put there in the meantime is followed nor a pipe waited for.
        descriptor = os.open(resolve(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return Fault("unreadable", name, "not a file")
            while (chunk := file.read(CHUNK_BYTES)) and not stop.is_set():
                digest.update(chunk)
    except _Refused as error:
        return Fault("refused", name, str(error))
    except FileNotFoundError:
        return Fault("missing", name)
    except OSError as error:
        return Fault("unreadable", name, (error.strerror or str(error)).lower())
    return (status.st_size, status.st_mtime_ns), digest.hexdigest()


def _iter_extra(listing: Listing) -> Iterator[str]:
    """Yield the files in the folder that are not listed, leaving out folders with a listing of their own."""
    for place, folders, files in os.walk(listing.folder):
        here = PurePosixPath(Path(place).relative_to(listing.folder).as_posix())
        if LISTING in files and str(here) != ".":
            folders.clear()
            continue
        folders.sort()
        for name in sorted(files):
            path = str(here / name)
            if path != LISTING and path not in listing.sums:
                yield path


def _recall(journal: Path, listing: Listing, stamps: Mapping[str, Stamp]) -> dict[str, str]:
    """Return path -> SHA-256 of the files that an earlier check read and that have kept size and time since."""
    names, digests = list(listing.sums), {}
    for record in read_journal(journal):
        with contextlib.suppress(KeyError, TypeError, ValueError, IndexError):
            name = names[record["line"]]
            if stamps.get(name) == tuple(record["stamp"]):
                digests[name] = str(record["sha256"])
    return digests


def _summarise(
    listing: Listing, stamps: Mapping[str, Stamp], digests: Mapping[str, str], faults: Sequence[Fault]
) -> dict[str, Any]:
    good = [name for name, digest in digests.items() if digest == listing.sums[name]]
    return {
        "folder": plain(listing.folder.name, 120),
        "listed": len(listing.sums),
        "verified": len(good),
        "verified_bytes": sum(stamps[name][0] for name in good),
        "faults": {kind: sum(fault.kind == kind for fault in faults) for kind in FAULTS},
    }


def _key(listing: Listing, stamps: Mapping[str, Stamp]) -> str:
    snapshot = hash_settings([[name, *stamps.get(name, ())] for name in listing.sums])
    return f"{listing.sha256[:16]}-{snapshot[:16]}"


def _publish(dest: Path, listing: Listing, values: Mapping[str, Any], faults: list[Fault]) -> Path:
    """Publish the outcome unless it is there already."""
    settings = {"listing_sha256": listing.sha256, "faults": hash_settings([vars(fault) for fault in faults])}
    with contextlib.suppress(IntegrityError):
        if open_artefact(dest, KIND).settings == settings:
            return dest
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["kind", "path", "detail"])
    writer.writerows([fault.kind, fault.path, fault.detail] for fault in faults)
    with publish(dest, KIND, settings) as building:
        write_bytes(building / "faults.csv", out.getvalue().encode())
        write_json(building / "summary.json", values)
    return dest


def _read_faults(path: Path) -> list[Fault]:
    with path.open(newline="", encoding="utf-8") as file:
        return [Fault(row["kind"], row["path"], row["detail"]) for row in csv.DictReader(file)]


def _find_release(folder: Path) -> Path | None:
    """Return the nearest folder at or above `folder` with a listing."""
    for place in (folder, *list(folder.parents)[:MAX_SEARCH_DEPTH]):
        if (place / LISTING).is_file():
            return place
    return None


def _vouches(check: Verified, path: Path, sha256: str) -> bool:
    return path.is_relative_to(check.folder) and check.sums.get(path.relative_to(check.folder).as_posix()) == sha256
