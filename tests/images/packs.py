"""Packs of the films that a test made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxrssl.core.artefact import open_artefact
from cxrssl.images.pack import PackSummary, pack_images

SIZE_PX = 32


def call_pack(tmp_path: Path, paths: list[str], dest: str = "ws/images/world", **changes: Any) -> PackSummary:
    return pack_images(tmp_path / dest, tmp_path / "data", **{**arguments(paths), "num_workers": 1, **changes})


def arguments(paths: list[str]) -> dict[str, Any]:
    ids = [f"id-{i}" for i in range(len(paths))]
    return {"image_ids": ids, "paths": paths, "size_px": SIZE_PX, "cohort_sha256": "c0", "shard_films": 10}


def content_of(path: Path) -> str:
    return open_artefact(path, "images").content_sha256
