"""Broken tables of ablations."""

from __future__ import annotations

import shutil
from pathlib import Path

from cxrssl.core.artefact import MANIFEST
from cxrssl.records.ablation import TABLE
from tests.records.breaking import breaks, edit_manifest, flip_middle, publish_again, with_value, without


@breaks("ablation", "is not a published ablation: it has no manifest.json", has_row=False)
def foreign(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


@breaks("ablation", "manifest.json cannot be read: it is not JSON", has_row=False)
def manifest_torn(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:-1])


@breaks("ablation", 'manifest.json lacks "contract.runs"', has_row=False)
def without_runs(folder: Path) -> None:
    edit_manifest(folder, without("settings", "contract", "runs"))


@breaks("ablation", 'is of kind "report", not "ablation"', has_row=False)
def of_another_kind(folder: Path) -> None:
    edit_manifest(folder, with_value("report", "kind"))


@breaks("ablation", f"{TABLE} is missing", has_row=False)
def table_missing(folder: Path) -> None:
    (folder / TABLE).unlink()


@breaks("ablation", f"{TABLE} is damaged: its SHA-256 does not match the manifest", has_row=False)
def table_flipped(folder: Path) -> None:
    flip_middle(folder / TABLE)


@breaks("ablation", f"{TABLE} is not JSON", has_row=False)
def table_of_no_json(folder: Path) -> None:
    publish_again(folder, table__json=b"[")


@breaks("ablation", f"{TABLE} holds no table", has_row=False)
def table_a_list(folder: Path) -> None:
    publish_again(folder, table__json=b"[]")
