"""Broken comparisons."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxrssl.core.manifest import FORMAT_VERSION, MANIFEST
from cxrssl.records.comparison import DIFFERENCES
from tests.records.breaking import breaks, change_json, edit_manifest, flip_middle, publish_again, with_value, without


@breaks("comparison", "is not a published comparison: it has no manifest.json", has_row=False)
def foreign(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")


@breaks("comparison", "manifest.json cannot be read: it is not JSON", has_row=False)
def manifest_torn(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes()[:-1])


@breaks("comparison", "manifest.json is damaged or was edited", has_row=False)
def manifest_edited(folder: Path) -> None:
    change_json(folder / MANIFEST, with_value(7, "settings", "seed"))


@breaks("comparison", "was written by a newer cxrssl", has_row=False)
def of_a_newer_format(folder: Path) -> None:
    edit_manifest(folder, with_value(FORMAT_VERSION + 1, "format_version"))


@breaks("comparison", 'is of kind "evaluation", not "comparison"', has_row=False)
def of_another_kind(folder: Path) -> None:
    edit_manifest(folder, with_value("evaluation", "kind"))


@breaks("comparison", 'manifest.json lacks "settings.against_id"', has_row=False)
def settings_without_the_other(folder: Path) -> None:
    edit_manifest(folder, without("settings", "against_id"))


@breaks("comparison", 'manifest.json has no count in "settings.seed"', has_row=False)
def settings_in_words(folder: Path) -> None:
    edit_manifest(folder, with_value("zero", "settings", "seed"))


@breaks("comparison", "differences.json is missing", has_row=False)
def differences_missing(folder: Path) -> None:
    (folder / DIFFERENCES).unlink()


@breaks("comparison", "differences.json is damaged: its SHA-256 does not match the manifest", has_row=False)
def differences_flipped(folder: Path) -> None:
    flip_middle(folder / DIFFERENCES)


@breaks("comparison", "differences.json is not JSON", has_row=False)
def differences_not_json(folder: Path) -> None:
    publish_again(folder, differences__json=b"better by 0.1")


@breaks("comparison", 'differences.json lacks "findings"', has_row=False)
def differences_without_findings(folder: Path) -> None:
    _change_differences(folder, without("findings"))


@breaks("comparison", 'differences.json has no number in "macro_auroc.lo"', has_row=False)
def differences_in_words(folder: Path) -> None:
    _change_differences(folder, with_value("low", "macro_auroc", "lo"))


@breaks("comparison", "manifest.json does not list differences.json", has_row=False)
def differences_not_listed(folder: Path) -> None:
    publish_again(folder, differences__json=b"")


def _change_differences(folder: Path, change: Callable[[Any], Any]) -> None:
    differences = json.dumps(change(json.loads((folder / DIFFERENCES).read_text())))
    publish_again(folder, differences__json=differences.encode())
