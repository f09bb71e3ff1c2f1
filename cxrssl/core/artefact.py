"""Published artefacts: a directory with `manifest.json`, built beside its final place, hashed, fsynced and renamed.

In: a function that fills a directory. Out: the directory under its final name, whole, or nothing.
Never: a directory under its final name that is not whole, and never success when a write failed.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import errno
import hashlib
import json
import os
import platform
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cxrssl import __version__
from cxrssl.core.errors import FormatError, IntegrityError, SetupError
from cxrssl.core.process import start_ticks
from cxrssl.core.text import plain

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
RENAME_EXCHANGE = 2
T = TypeVar("T")
REMEDY = "delete the folder and run the command that made it again"
# A crash test sets "name:count": the process kills itself when it passes kill point `name` for the count-th time.
_KILL_AT = os.environ.get("CXRSSL_KILL_AT", "")
_passed: dict[str, int] = {}


@dataclass(frozen=True)
class Artefact:
    """An open published artefact."""

    path: Path
    manifest: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """What the maker was told: everything that changes the content."""
        return dict(self.manifest["settings"])

    @property
    def content_sha256(self) -> str:
        """Hash over the names and hashes of all files: two artefacts with equal content have the same."""
        return str(self.manifest["content_sha256"])


def kill_point(name: str) -> None:
    """Do nothing, unless a crash test armed this point: then die as by `kill -9`."""
    if not _KILL_AT:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if f"{name}:{_passed[name]}" == _KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)


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
    building = dest.parent / (_building_prefix(dest) + (resume_key or str(os.getpid())))
    with renamed_os_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(dest, keep=building.name if resume_key else "")
        building.mkdir(exist_ok=True)
    try:
        with renamed_os_errors(dest):
            yield building
        with renamed_os_errors(dest):
            _seal(building, kind, settings, inputs or {})
            kill_point("publish-before-rename")
            _rename_into_place(building, dest)
            kill_point("publish-after-rename")
            fsync_path(dest.parent)
    except BaseException:
        if not resume_key:
            shutil.rmtree(building, ignore_errors=True)
        raise


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


def _identity(path: Path) -> tuple[int, ...]:
    """Return what two versions of an artefact never share, or nothing if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _open_artefact(path: Path, kind: str, verify: bool) -> Artefact:
    manifest_path = path / MANIFEST
    try:
        manifest = json.loads(manifest_path.read_text())
    except FileNotFoundError:
        raise IntegrityError(f"{path.name} is not a published {kind}: it has no {MANIFEST}", path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{MANIFEST} cannot be read: {plain(error)}", manifest_path, REMEDY) from None
    if not isinstance(manifest, dict) or manifest.pop("manifest_sha256", "") != hash_settings(manifest):
        what = f"{MANIFEST} is damaged or was edited: its own hash does not match"
        raise IntegrityError(what, manifest_path, REMEDY)
    if manifest["format_version"] > FORMAT_VERSION:
        raise FormatError(f"{path.name} was written by a newer cxrssl", path, "upgrade cxrssl")
    if manifest["kind"] != kind:
        raise IntegrityError(f"{path.name} is not a {kind}", path)
    _check_files(path, manifest["files"], verify)
    return Artefact(path, manifest)


def is_published(path: Path, kind: str, settings: Mapping[str, Any]) -> bool:
    """Return whether `path` holds a whole artefact of this kind made with exactly these settings."""
    try:
        artefact = open_artefact(path, kind, verify=False)
    except IntegrityError:
        return False
    return bool(artefact.settings == json.loads(json.dumps(settings)))


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that it is either absent or whole: sibling temp file, fsync, rename."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with renamed_os_errors(path):
        try:
            _write_through(temp, data)
            kill_point("write-before-rename")
            os.replace(temp, path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
        fsync_path(path.parent)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`: a full disk takes a part first and says why only when it is asked again."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, atomically; no line ends it, so that no cut leaves it readable."""
    write_bytes(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode())


def remove_artefact(path: Path) -> None:
    """Remove a published artefact; it is never seen by halves: its name goes first.

    Raises: SetupError when the permissions do not allow it.
    """
    going = path.parent / (_building_prefix(path) + "removed")
    with renamed_os_errors(path):
        os.rename(path, going)
    kill_point("remove-after-rename")
    shutil.rmtree(going, ignore_errors=True)


def find_leftovers(folder: Path) -> list[Path]:
    """Return what killed processes left in `folder`: files and artefacts that were being written or removed.

    Only who knows that no process writes there may call them left over.
    """
    return sorted(path for pattern in (".building-*", ".*.tmp") for path in folder.glob(pattern))


def remove_leftover(path: Path) -> None:
    """Remove one of those, as far as the permissions allow."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_settings(settings: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@contextlib.contextmanager
def renamed_os_errors(where: Path) -> Iterator[None]:
    """Turn an operating-system error of a write into a SetupError that names the path."""
    try:
        yield
    except OSError as error:
        place = error.filename or where
        reason = error.strerror or str(error)
        hint = "choose another folder with --workspace, or free some space"
        raise SetupError(f"cannot write: {reason.lower()}", place, hint) from error


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
        "content_sha256": _content_hash(files),
        "made_by": {"cxrssl": __version__, "python": platform.python_version(), "system": platform.platform()},
        "made_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    # Through JSON once, so that the hash is of what a reader will see.
    manifest = json.loads(json.dumps(manifest))
    write_json(building / MANIFEST, {**manifest, "manifest_sha256": hash_settings(manifest)})


def _content_hash(files: Mapping[str, Any]) -> str:
    return hash_settings({name: entry["sha256"] for name, entry in files.items()})


def _check_files(path: Path, files: Mapping[str, Any], verify: bool) -> None:
    for name, entry in files.items():
        file = path / name
        if not file.is_file():
            raise IntegrityError(f"{name} is missing", file, REMEDY)
        if file.stat().st_size != entry["bytes"]:
            what = f"{name} has {file.stat().st_size:,} bytes, its manifest says {entry['bytes']:,}"
            raise IntegrityError(what, file, REMEDY)
    if verify:
        with ThreadPoolExecutor(4) as pool:
            for (name, entry), sha in zip(files.items(), pool.map(lambda n: _hash_file(path / n), files), strict=True):
                if sha != entry["sha256"]:
                    what = f"{name} is damaged: its SHA-256 does not match the manifest"
                    raise IntegrityError(what, path / name, REMEDY)


def _hash_file(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise IntegrityError(f"{path.name} cannot be read: {(error.strerror or '').lower()}", path, REMEDY) from None


def _write_through(path: Path, data: bytes | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        write_all(descriptor, data)
        kill_point("write-before-fsync")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename_into_place(building: Path, dest: Path) -> None:
    """Rename, exchanging atomically with an older version if there is one; the older one is then removed."""
    if not dest.exists():
        try:
            os.rename(building, dest)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise  # else another process has published it in the meantime
    libc = ctypes.CDLL(None, use_errno=True)
    exchange = getattr(libc, "renameat2", None)
    at_cwd = -100
    if exchange and exchange(at_cwd, os.fsencode(building), at_cwd, os.fsencode(dest), RENAME_EXCHANGE) == 0:
        shutil.rmtree(building, ignore_errors=True)
        return
    aside = _aside(dest)
    os.rename(dest, aside)
    kill_point("publish-between-renames")
    try:
        os.rename(building, dest)
    except BaseException:
        os.rename(aside, dest)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _aside(dest: Path) -> Path:
    """Where the older version lies for a moment, on a file system that cannot exchange two folders."""
    return dest.parent / (_building_prefix(dest) + "old")


def _building_prefix(dest: Path) -> str:
    """The tilde is in no artefact's name, so that `mimic` never takes what is being built for `mimic-small`."""
    return f".building-{dest.name}~"


def _remove_leftovers(dest: Path, keep: str) -> None:
    if _aside(dest).is_dir() and not dest.exists():
        os.rename(_aside(dest), dest)  # the process that exchanged them was killed in between
    for leftover in dest.parent.glob(_building_prefix(dest) + "*"):
        owner = leftover.name.rpartition("~")[2]
        is_in_use = owner.isdecimal() and int(owner) != os.getpid() and start_ticks(int(owner)) is not None
        if leftover.name != keep and not is_in_use:
            shutil.rmtree(leftover, ignore_errors=True)


def fsync_path(path: Path) -> None:
    """Force a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
