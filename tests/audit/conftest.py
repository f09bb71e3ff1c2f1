"""A clean synthetic hospital, packed, and a copy of it that a test may sabotage."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.cohort.ingest import IngestOptions
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.durable import write_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.images.store import ImageStore, open_images
from cxrssl.ingest import ingest_dataset
from cxrssl.synthetic import HospitalSpec, write_hospital


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the cohort `mimic`: 60 patients, 205 films, nothing wrong. Not to be written to."""
    folder = tmp_path_factory.mktemp("clean")
    write_hospital(folder / "hospital", HospitalSpec(num_patients=60, seed=0, film_px=64))
    workspace = Workspace(folder / "workspace").create()
    ingest_dataset(workspace, IngestOptions("mimic", folder / "hospital", size_px=48, num_workers=1))
    return workspace


@pytest.fixture(scope="session")
def hospital(clean: Workspace) -> tuple[Cohort, ImageStore]:
    """The open cohort and its packed films."""
    return open_cohort(clean.cohorts / "mimic"), open_images(clean.images / "mimic")


@pytest.fixture
def workspace(clean: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the clean workspace."""
    shutil.copytree(clean.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def republish_cohort(workspace: Workspace, name: str = "mimic", sql: str = "", **arrays: np.ndarray) -> None:
    """Publish a cohort again with other arrays, or after SQL on its tables: right hashes around wrong content."""
    folder = workspace.cohorts / name
    artefact = open_artefact(folder, "cohort")
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    if arrays:
        with np.load(folder / "films.npz") as kept:
            arrays = {name: _as_written(kept[name], arrays.get(name, kept[name])) for name in kept.files}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        files["films.npz"] = buffer.getvalue()
    with publish(folder, "cohort", artefact.settings, artefact.manifest["inputs"]) as building:
        for file, data in files.items():
            write_bytes(building / file, data)
        if sql:
            with open_database(building / "cohort.duckdb") as database:
                database.execute(sql)
    _pack_again(workspace, name)


def _pack_again(workspace: Workspace, name: str) -> None:
    """Publish the films of a cohort as those of its present state, if there are any."""
    folder = workspace.images / name
    if not folder.is_dir():
        return
    sha256 = open_cohort(workspace.cohorts / name, check=False).content_sha256
    artefact = open_artefact(folder, "images")
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    settings, inputs = artefact.settings | {"cohort_sha256": sha256}, artefact.manifest["inputs"] | {"cohort": sha256}
    with publish(folder, "images", settings, inputs) as building:
        for file, data in files.items():
            write_bytes(building / file, data)


def _as_written(kept: np.ndarray, array: np.ndarray) -> np.ndarray:
    is_text = kept.dtype.kind == "S" and array.dtype.kind == "U"
    return np.char.encode(array, "utf-8") if is_text else array


def rename_cohort(workspace: Workspace, source: str, name: str, **settings: Any) -> Path:
    """Publish a cohort and its films a second time under another name, as if they came from elsewhere."""
    for folder, kind in ((workspace.cohorts, "cohort"), (workspace.images, "images")):
        artefact = open_artefact(folder / source, kind)
        changed = artefact.settings | ({"name": name, **settings} if kind == "cohort" else {})
        with publish(folder / name, kind, changed, artefact.manifest["inputs"]) as building:
            for path in (folder / source).iterdir():
                if path.name != "manifest.json":
                    write_bytes(building / path.name, path.read_bytes())
    return workspace.cohorts / name
