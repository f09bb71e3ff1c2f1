"""A cohort that another process replaces while a command reads it: nothing is made of two versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.audit import database
from cxrssl.audit.everything import audit_workspace
from cxrssl.cohort import export
from cxrssl.cohort.ingest import IngestOptions
from cxrssl.core.artefact import open_artefact, publish, unreplaced
from cxrssl.core.durable import write_bytes
from cxrssl.core.errors import IntegrityError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.ingest import ingest_dataset
from cxrssl.report import flow
from tests.cli.command import run
from tests.world import make_workspace, write_nih

SENTENCE = "another process has replaced nih while this one read it"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, num_patients=6)


@pytest.fixture
def replace(workspace: Workspace, tmp_path: Path) -> Callable[[], object]:
    """Return what makes cohort nih of 4 films of 4 other people, with one that cannot be packed."""
    other = write_nih(tmp_path / "other", num_patients=5, films_each=1, seed=3)
    next((other / "images").iterdir()).write_bytes(b"no film")
    options = IngestOptions("nih", other, size_px=48, num_workers=1, may_replace=True)
    return lambda: ingest_dataset(workspace, options)


def once_before(module: Any, name: str, act: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Have `act` happen before the first call of a function of a module."""
    call = getattr(module, name)

    def wrapped(*args: Any, **options: Any) -> Any:
        patch.setattr(module, name, call)
        act()
        return call(*args, **options)

    patch.setattr(module, name, wrapped)


@pytest.mark.parametrize("to", export.FORMATS)
def test_no_export_has_the_hash_of_one_version_and_the_films_of_another(
    workspace: Workspace, replace: Callable[[], object], monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    once_before(export, "open_database", replace, monkeypatch)
    words = ("cohort", "export", "nih", "--to", to)
    done = run(*words, workspace=workspace.root)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"cxrssl: error: {SENTENCE}")
    assert not list(workspace.exports.iterdir())
    assert run(*words, workspace=workspace.root).returncode == 0
    if to == "csv":
        assert pl.read_csv(workspace.exports / "nih-csv" / "films.csv").height == 5


def test_the_tables_of_another_version_are_no_finding_against_this_one(
    workspace: Workspace, replace: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    once_before(database, "open_database", replace, monkeypatch)
    audit = audit_workspace(workspace)
    assert [each.finding for each in audit.refusals] == [f"cohort nih: {SENTENCE}"]
    assert not audit_workspace(workspace).findings


def test_a_flow_takes_films_and_rejects_of_one_pack(
    workspace: Workspace, replace: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    once_before(flow, "read_rejects", replace, monkeypatch)
    words = ("cohort", "flow", "nih", "--json", "--small-cells", "show")
    shown = run(*words, workspace=workspace.root)
    assert [step["films"] for step in json.loads(shown.stdout)["steps"]] == [12, 12]
    shown = run(*words, workspace=workspace.root)
    assert [step["films"] for step in json.loads(shown.stdout)["steps"]] == [5, 5, 4]


def test_what_fails_in_a_version_that_is_gone_says_that_it_was_replaced(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        with publish(tmp_path / "a", "thing", {}) as folder:
            write_bytes(folder / "data", content)
        if content == b"one":
            artefact = open_artefact(tmp_path / "a", "thing")
            with pytest.raises(IntegrityError, match="odd"), unreplaced(artefact):
                raise IntegrityError("odd")
            with unreplaced(artefact):
                pass
    with pytest.raises(UsageError, match="another process has replaced a while"), unreplaced(artefact):
        pass
    with pytest.raises(UsageError, match="another process has replaced a while"), unreplaced(artefact):
        raise ValueError("not what it was")
