"""Published artefacts: a directory with `manifest.json`, built beside its final place, hashed, fsynced and renamed.

In: a function that fills a directory. Out: the directory under its final name, whole, or nothing.
Never: a directory under its final name that is not whole, and never success when a write failed.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cxrssl.core.building import Building, Taken, remove_published
from cxrssl.core.durable import fsync_path, hash_settings, kill_point, renamed_os_errors, sha256_file, write_json
from cxrssl.core.errors import FormatError, IntegrityError, UsageError
from cxrssl.core.held import check_held
from cxrssl.core.manifest import FORMAT_VERSION, REMEDY, read_manifest
from cxrssl.core.manifest import MANIFEST as MANIFEST
from cxrssl.core.signals import check_stop, note_saved, uninterrupted
from cxrssl.core.version import __version__

THREADED_BYTES = 2**24
"""From here on threads gain more than they cost to start."""
T = TypeVar("T")


@dataclass(frozen=True)
class Artefact:
    """An open published artefact."""

    path: Path
    manifest: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes the content."""
        return dict(self.manifest["settings"])

    @property
    def inputs(self) -> dict[str, str]:
        """What it was made from."""
        return {str(name): str(value) for name, value in self.manifest["inputs"].items()}

    @property
    def content_sha256(self) -> str:
        """Hash over the names and hashes of all files: two artefacts with equal content have the same."""
        return str(self.manifest["content_sha256"])


@contextlib.contextmanager
def publish(
    dest: Path,
    kind: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
    resume_key: str = "",
) -> Iterator[Path]:
    """Yield a directory to fill; when the block ends without error it appears as `dest` in one rename.

    With `resume_key` the directory survives an interruption and the next call with the same key finds its files again
    (each must have been written by `write_bytes`); without it, a left-over is removed.

    Raises: SetupError when the disk or the permissions do not allow it.
    """
    check_stop()
    check_held(dest)
    with renamed_os_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        building = Building(dest, resume_key)
    try:
        with renamed_os_errors(dest):
            yield building.path
        with renamed_os_errors(dest):
            _seal(building.path, kind, settings, inputs or {})
            kill_point("publish-before-rename")
            check_stop()
            check_held(dest)
            _put_in_place(building, kind, settings)
            kill_point("publish-after-rename")
            fsync_path(dest.parent)
    except KeyboardInterrupt:
        if building.is_kept:
            note_saved(f"{_shown(dest)} in part")
        raise
    except Exception:
        check_held(dest)  # whatever failed because the folder is gone
        raise
    finally:
        building.close()


def _put_in_place(building: Building, kind: str, settings: Mapping[str, Any]) -> None:
    """Give the folder its final name.

    If another process was faster, its version stays, and is as good as this one when it has the same settings.
    """
    try:
        with uninterrupted():
            building.put_in_place()
            note_saved(_shown(building.dest))
    except Taken as taken:
        if not is_published(building.dest, kind, settings):
            raise
        sys.stderr.write(f"cxrssl: note: {taken.what} ({building.dest})\n")


def _shown(dest: Path) -> str:
    return f"{dest.parent.name}/{dest.name}"


def open_artefact(path: Path, kind: str, verify: bool = True) -> Artefact:
    """Return the artefact at `path` after checking its kind, its file sizes and, if `verify`, every SHA-256.

    Raises: IntegrityError naming the file that is missing, damaged or of another kind.
    """
    return read_unexchanged(path, lambda: _open_artefact(path, kind, verify))


def read_unexchanged(path: Path, read: Callable[[], T]) -> T:
    """Return what `read` makes of the files at `path`; read again if a newer version took their place meanwhile."""
    while True:
        before = _identity(path)
        try:
            result = read()
        except (IntegrityError, FileNotFoundError):
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return result


@contextlib.contextmanager
def unreplaced(artefact: Artefact) -> Iterator[None]:
    """Run a block that reads files of an artefact one after the other.

    Raises: UsageError when another version lies there by the end of the block, whatever error that led to.
    """
    ended = None
    try:
        yield
    except Exception as error:
        ended = error
    if _is_replaced(artefact):
        what = f"another process has replaced {artefact.path.name} while this one read it"
        raise UsageError(what, artefact.path, "run the same command again") from ended
    if ended:
        raise ended


def _is_replaced(artefact: Artefact) -> bool:
    try:
        now = open_artefact(artefact.path, artefact.manifest["kind"], verify=False)
    except IntegrityError:
        return False  # damaged or gone: the reader reports which
    return now.content_sha256 != artefact.content_sha256


def _identity(path: Path) -> tuple[int, ...]:
    """Return what two versions of an artefact never share, or nothing if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _open_artefact(path: Path, kind: str, verify: bool) -> Artefact:
    manifest = read_manifest(path, kind)
    try:
        _check_files(path, manifest["files"], verify)
    except OSError as error:
        raise IntegrityError(f"its files cannot be read: {(error.strerror or '').lower()}", path, REMEDY) from None
    return Artefact(path, manifest)


def is_published(path: Path, kind: str, settings: Mapping[str, Any]) -> bool:
    """Return whether `path` holds a whole artefact of this kind made with exactly these settings.

    Raises: FormatError for what a newer version made, which nobody may replace.
    """
    try:
        artefact = open_artefact(path, kind, verify=False)
    except FormatError:
        raise
    except IntegrityError:
        return False
    return bool(artefact.settings == json.loads(json.dumps(settings)))


def remove_artefact(path: Path) -> None:
    """Remove a published artefact; it is never seen by halves: its name goes first.

    Raises: SetupError when the permissions do not allow it.
    """
    with renamed_os_errors(path):
        remove_published(path)


def _seal(building: Path, kind: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
    for leftover in building.rglob(".*.tmp"):
        leftover.unlink()
    paths = sorted(path for path in building.rglob("*") if path.is_file() and path.name != MANIFEST)
    with ThreadPoolExecutor(4) as pool:
        hashes = list(pool.map(sha256_file, paths))
    files = {
        path.relative_to(building).as_posix(): {"sha256": sha, "bytes": path.stat().st_size}
        for path, sha in zip(paths, hashes, strict=True)
    }
    for path in paths:
        fsync_path(path)
    manifest = {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "settings": settings,
        "inputs": inputs,
        "files": files,
        "content_sha256": hash_content({name: str(entry["sha256"]) for name, entry in files.items()}),
        "made_by": {"cxrssl": __version__, "python": platform.python_version(), "system": platform.platform()},
        "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    # Through JSON once, so that the hash is of what a reader will see.
    manifest = json.loads(json.dumps(manifest))
    write_json(building / MANIFEST, {**manifest, "manifest_sha256": hash_settings(manifest)})


def hash_content(sha256_of: Mapping[str, str]) -> str:
    """Return the `content_sha256` of an artefact whose files have these names and SHA-256."""
    return hash_settings(dict(sha256_of))


def _check_files(path: Path, files: Mapping[str, Any], verify: bool) -> None:
    for name, entry in files.items():
        file = path / name
        if not file.is_file():
            raise IntegrityError(f"{name} is missing", file, REMEDY)
        if file.stat().st_size != entry["bytes"]:
            what = f"{name} has {file.stat().st_size:,} bytes, its manifest says {entry['bytes']:,}"
            raise IntegrityError(what, file, REMEDY)
    if verify:
        for (name, entry), sha256 in zip(files.items(), _hash_files(path, files), strict=True):
            if sha256 != entry["sha256"]:
                what = f"{name} is damaged: its SHA-256 does not match the manifest"
                raise IntegrityError(what, path / name, REMEDY)


def _hash_files(path: Path, files: Mapping[str, Any]) -> Iterator[str]:
    """Yield the SHA-256 of each file in turn, large ones beside each other."""
    paths = [path / name for name in files]
    if len(paths) < 2 or sum(entry["bytes"] for entry in files.values()) < THREADED_BYTES:
        yield from map(_hash_file, paths)
        return
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(_hash_file, paths)


def _hash_file(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise IntegrityError(f"{path.name} cannot be read: {(error.strerror or '').lower()}", path, REMEDY) from None
