"""The manifest of an artefact: what made it, from what, and the hash and size of each of its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import FormatError, IntegrityError
from cxrssl.core.numbers import is_count
from cxrssl.core.text import plain

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
REMEDY = "delete the folder and run the command that made it again"


def read_manifest(path: Path, kind: str) -> dict[str, Any]:
    """Return the manifest of the artefact at `path`, which is of this kind and of no newer version.

    Raises: IntegrityError when it is missing, damaged or of another kind, FormatError for that of a newer cxrssl.
    """
    manifest = _read_whole(path, kind)
    if is_count(manifest.get("format_version")) and manifest["format_version"] > FORMAT_VERSION:
        raise FormatError(f"{path.name} was written by a newer cxrssl", path, "upgrade cxrssl")
    what = _find_misfit(manifest)
    if what:
        raise IntegrityError(f"{MANIFEST} {what}", path / MANIFEST, REMEDY)
    if manifest["kind"] != kind:
        what = f'{path.name} is of kind "{plain(manifest["kind"], 40)}", not "{kind}"'
        raise IntegrityError(what, path)
    return manifest


def _read_whole(path: Path, kind: str) -> dict[str, Any]:
    """Return the manifest, whose own hash matches."""
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise IntegrityError(f"{path.name} is not a published {kind}: it has no {MANIFEST}", path)
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        is_whole = isinstance(manifest, dict) and manifest.pop("manifest_sha256", "") == hash_settings(manifest)
    except (OSError, ValueError, RecursionError) as error:
        what = (error.strerror or "").lower() if isinstance(error, OSError) else "it is not JSON"
        raise IntegrityError(f"{MANIFEST} cannot be read: {what}", manifest_path, REMEDY) from None
    if not is_whole:
        what = f"{MANIFEST} is damaged or was edited: its own hash does not match"
        raise IntegrityError(what, manifest_path, REMEDY)
    return cast(dict[str, Any], manifest)


def _find_misfit(manifest: Mapping[str, Any]) -> str:
    """Return what a manifest with the right hash lacks all the same, as one that another program made; or ""."""
    kinds = {"format_version": int, "kind": str, "settings": dict, "inputs": dict, "files": dict, "content_sha256": str}
    for key, kind in kinds.items():
        if not isinstance(manifest.get(key), kind):
            return f'does not say its "{key}"'
    for name, entry in manifest["files"].items():
        is_entry = isinstance(entry, dict) and isinstance(entry.get("sha256"), str)
        if not is_entry or not isinstance(entry.get("bytes"), int):
            return f"does not say the hash and size of {plain(name, 80)}"
    return ""
