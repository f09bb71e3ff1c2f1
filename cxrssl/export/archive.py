"""The archive of `cxrssl runs export`: a zip of known names, every file of it with its hash.

In: names and bytes; or a file that anybody may have made. Out: equal bytes for equal content; or the content, checked.
Never: a file unpacked to a path that an archive names, or more memory than the limits allow.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import MANIFEST
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError, FormatError, IntegrityError
from cxrssl.core.text import plain
from cxrssl.core.version import __version__
from cxrssl.records.file import describe_os_error, open_plain

KIND = "archive of cxrssl runs"
FORMAT_VERSION = 1
README = "README.txt"
NAME = r"(?!\.)[\w+.-]{1,240}"
KNOWN = re.compile(
    rf"{re.escape(README)}|runs/{NAME}/(run\.json|events\.jsonl|metrics-0001\.jsonl)"
    rf"|evals/{NAME}/(settings|scores)\.json|comparisons/{NAME}/(settings|differences)\.json"
    rf"|groups/{NAME}/(settings|numbers)\.json",
    re.ASCII,
)
"""All that an archive may hold, beside its manifest."""
MAX_FILES, MAX_FILE_BYTES, MAX_BYTES = 100_000, 256 << 20, 1 << 30
"""Unpacked; the archive itself may have MAX_BYTES too."""
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
DAMAGED = "the archive is damaged"
AGAIN = "copy it again, or ask for another one"


@dataclass(frozen=True)
class Archive:
    """An archive whose every byte was checked."""

    sha256: str
    files: Mapping[str, bytes]
    cuts: Mapping[str, Any]
    """By eval_id of those whose counts are in tens: the findings, and features of the record, that were left out."""

    def read_json(self, name: str) -> Any:
        """Return the value of a file. Raises: IntegrityError."""
        try:
            return json.loads(self.files[name])
        except KeyError:
            raise IntegrityError(f"{DAMAGED}: {name} is missing", hint=AGAIN) from None
        except (ValueError, RecursionError):
            raise IntegrityError(f"{DAMAGED}: {name} is not JSON", hint=AGAIN) from None

    def names_in(self, folder: str) -> list[str]:
        """Return the names of the folders in `folder`."""
        return sorted({name.split("/")[1] for name in self.files if name.startswith(f"{folder}/")})


def pack_archive(files: Mapping[str, bytes], cuts: Mapping[str, Any]) -> bytes:
    """Return the bytes of an archive: no time, host or user is in them, so that equal content gives equal bytes."""
    assert all(KNOWN.fullmatch(name) for name in files), "an archive holds known names alone"
    manifest = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "cxrssl": __version__,
        "cuts": cuts,
        "files": {name: {"sha256": _hash(data), "bytes": len(data)} for name, data in files.items()},
    }
    named = {**files, MANIFEST: to_json({**manifest, "manifest_sha256": hash_settings(manifest)})}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(named):
            info = zipfile.ZipInfo(name, FIRST_DAY)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100600 << 16
            archive.writestr(info, named[name])
    return buffer.getvalue()


def to_json(value: Any) -> bytes:
    """Return JSON with sorted keys."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode()


def read_archive(path: Path) -> Archive:
    """Return an archive, every byte of it checked.

    Raises: DataError for what is no archive of cxrssl, IntegrityError for a damaged one or one that was tampered with,
    FormatError for one of a newer version.
    """
    data = _read_file(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            named = _unpack(archive, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        what = f"this is no zip archive, or it is damaged: {plain(error, 120)}"
        raise IntegrityError(what, path, AGAIN) from None
    manifest = _read_manifest(named.pop(MANIFEST, None), path)
    said = manifest["files"]
    if set(said) != set(named):
        odd = sorted(set(said) ^ set(named))[0]
        what = f"{plain(odd, 120)} is {'missing' if odd in said else 'not in its manifest'}"
        raise IntegrityError(f"{DAMAGED}: {what}", path, AGAIN)
    for name, entry in said.items():
        if entry != {"sha256": _hash(named[name]), "bytes": len(named[name])}:
            raise IntegrityError(f"{DAMAGED} or was edited: {name} is not what its manifest says", path, AGAIN)
    return Archive(_hash(data), named, manifest["cuts"])


def _read_file(path: Path) -> bytes:
    try:
        with open_plain(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"the archive {describe_os_error(error)}", path) from None
    if len(data) > MAX_BYTES:
        raise DataError(f"the archive is larger than any that cxrssl writes: over {MAX_BYTES >> 30} GiB", path)
    return data


def _unpack(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    """Return the files, none of whose names or sizes is trusted. Raises: DataError."""
    infos = archive.infolist()
    if MANIFEST not in {info.filename for info in infos}:
        raise DataError("this is no archive of cxrssl runs export: it has no manifest", path)
    if len(infos) > MAX_FILES or sum(info.file_size for info in infos) > MAX_BYTES:
        raise DataError("the archive unpacks to more than any that cxrssl writes", path)
    named: dict[str, bytes] = {}
    for info in infos:
        name = info.filename
        if name != MANIFEST and not KNOWN.fullmatch(name):
            raise DataError(f'the archive holds "{plain(name, 120)}", which no archive of cxrssl does', path)
        if name in named:
            raise DataError(f"the archive holds {name} twice", path)
        if info.file_size > MAX_FILE_BYTES:
            raise DataError(f"{name} unpacks to more than any file that cxrssl writes", path)
        with archive.open(info) as file:
            named[name] = file.read(info.file_size + 1)
    return named


def _read_manifest(data: bytes | None, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(data or b"")
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise DataError("this is no archive of cxrssl runs export: its manifest is another", path)
    version = manifest.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FormatError("the archive was written by a newer cxrssl", path, "upgrade cxrssl")
    if manifest.pop("manifest_sha256", "") != hash_settings(manifest):
        raise IntegrityError(f"{DAMAGED} or was edited: the hash of its manifest does not match", path, AGAIN)
    if not isinstance(manifest.get("files"), dict) or not isinstance(manifest.get("cuts"), dict):
        raise IntegrityError(f"{DAMAGED}: its manifest does not list its files", path, AGAIN)
    return manifest


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
