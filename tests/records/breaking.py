"""How a folder is broken: an entry of the table of breakers, and the ways of changing what is published.

A breaker is given a healthy folder. `what` is the damage in words, "" where there is none to name; `has_row` whether
the folder still has a row in every table; `is_hashed` marks damage that only views that hash whole files can see.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.core.artefact import MANIFEST, publish
from cxrssl.core.durable import hash_settings, write_bytes

Break = Callable[[Path], None]


@dataclass(frozen=True)
class Breaker:
    kind: str
    """`run`, `encoder`, `evaluation`, `comparison` or `ablation`."""
    do: Break
    what: str = ""
    has_row: bool = True
    is_hashed: bool = False
    needs_user: bool = False
    """Root can read everything."""


BREAKERS: dict[str, Breaker] = {}


def breaks(kind: str, what: str = "", **more: Any) -> Callable[[Break], Break]:
    """Enter the function into the table under its name."""

    def enter(do: Break) -> Break:
        name = f"{kind}-{do.__name__}".replace("_", "-")
        assert name not in BREAKERS
        BREAKERS[name] = Breaker(kind, do, what, **more)
        return do

    return enter


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps(change(values)))


def without(*keys: str) -> Callable[[Any], Any]:
    """Return a change that leaves out the value at the end of `keys`."""

    def change(values: Any) -> Any:
        table = values
        for key in keys[:-1]:
            table = table[key]
        del table[keys[-1]]
        return values

    return change


def with_value(value: Any, *keys: str) -> Callable[[Any], Any]:
    """Return a change that puts a value at the end of `keys`."""

    def change(values: Any) -> Any:
        table = values
        for key in keys[:-1]:
            table = table[key]
        table[keys[-1]] = value
        return values

    return change


def edit_manifest(folder: Path, change: Callable[[Any], Any]) -> None:
    """Change a manifest as another program would that knows how to hash it."""
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["manifest_sha256"]
    manifest = change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest | {"manifest_sha256": hash_settings(manifest)}))


def publish_again(folder: Path, **files: bytes) -> None:
    """Publish other bytes under right hashes; a file of no bytes is left out."""
    manifest = json.loads((folder / MANIFEST).read_text())
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
    shutil.rmtree(folder)
    with publish(folder, manifest["kind"], manifest["settings"]) as building:
        for name, data in (kept | {name.replace("__", "."): data for name, data in files.items()}).items():
            if data:
                write_bytes(building / name, data)


def flip_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def put(folder: Path, data: bytes) -> None:
    """Replace the journal of a run."""
    (folder / "metrics-0001.jsonl").write_bytes(data)
