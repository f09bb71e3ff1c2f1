"""Films of two packs that look the same are looked for once; what is kept is used only while it can be trusted."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cxrssl.audit import pairs
from cxrssl.audit.looks import Pairs
from cxrssl.audit.pairs import PAIRS, find_pairs, is_of_packs
from cxrssl.core.artefact import publish
from cxrssl.core.durable import hash_settings, write_bytes
from cxrssl.core.errors import UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import ImageStore
from cxrssl.results.tidy import find_waste, remove_waste
from tests.audit.films import draw, pack

Packs = tuple[ImageStore, ImageStore]


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Packs:
    """Return packs of which film 1 of the first is film 2 of the second, and film 3 its film 0 in other greys."""
    films, folder = {str(seed): draw(seed) for seed in range(4)}, tmp_path_factory.mktemp("packs")
    other = {"greys": films["3"] * np.linspace(0.5, 1.0, 120), "none": draw(99), "same": films["1"]}
    return pack(folder / "a", films), pack(folder / "b", other)


def listed(found: Pairs) -> list[tuple[int, int]]:
    return sorted(zip(*(side.tolist() for side in found), strict=True))


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with each search."""
    done: list[str] = []
    search = pairs.search_pairs

    def count(a: ImageStore, b: ImageStore) -> Pairs:
        done.append("search")
        return search(a, b)

    monkeypatch.setattr(pairs, "search_pairs", count)
    return done


def test_pairs_are_looked_for_once_whichever_pack_comes_first(
    packs: Packs, searches: list[str], tmp_path: Path
) -> None:
    a, b = packs
    for _ in range(2):
        assert listed(find_pairs(a, b, tmp_path)) == [(1, 2), (3, 0)]
        assert listed(find_pairs(b, a, tmp_path)) == [(0, 3), (2, 1)]
    assert searches == ["search"]
    (folder,) = tmp_path.iterdir()
    shutil.rmtree(folder)
    assert listed(find_pairs(a, b, tmp_path)) == [(1, 2), (3, 0)]
    assert len(searches) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "rows beyond the pack", "no array", "other settings"])
def test_kept_pairs_that_cannot_be_trusted_are_looked_for_again(
    packs: Packs, searches: list[str], tmp_path: Path, damage: str
) -> None:
    a, b = packs
    find_pairs(a, b, tmp_path)
    (folder,) = tmp_path.iterdir()
    data = (folder / PAIRS).read_bytes()
    settings = json.loads((folder / "manifest.json").read_text())["settings"]
    if damage == "cut":
        (folder / PAIRS).write_bytes(data[:-3])
    elif damage == "changed":
        (folder / PAIRS).write_bytes(data[:-8] + (1).to_bytes(8, "little"))
    else:  # whole artefacts, and none of these pairs
        np.save(tmp_path / "beyond.npy", np.array([[0], [7]]))
        beyond = (tmp_path / "beyond.npy").read_bytes()
        (tmp_path / "beyond.npy").unlink()
        content = {"rows beyond the pack": beyond, "no array": b"nothing"}.get(damage, data)
        version = {"version": 0} if damage == "other settings" else {}
        with publish(folder, "pairs", {**settings, **version}) as building:
            write_bytes(building / PAIRS, content)
    assert listed(find_pairs(a, b, tmp_path)) == [(1, 2), (3, 0)]
    assert len(searches) == 2
    assert listed(find_pairs(a, b, tmp_path)) == [(1, 2), (3, 0)]
    assert len(searches) == 2, "it was made again"


def test_pairs_of_a_newer_program_are_left_alone(packs: Packs, searches: list[str], tmp_path: Path) -> None:
    found = find_pairs(*packs, tmp_path)
    (manifest,) = tmp_path.glob("*/manifest.json")
    newer = {**json.loads(manifest.read_text()), "format_version": 99}
    del newer["manifest_sha256"]
    newer["manifest_sha256"] = hash_settings(newer)
    manifest.write_text(json.dumps(newer))
    assert listed(find_pairs(*packs, tmp_path)) == listed(found)
    assert len(searches) == 2
    assert json.loads(manifest.read_text()) == newer


def test_a_process_waits_for_another_one_that_looks_for_the_same_pairs(
    packs: Packs,
    searches: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = packs
    find_pairs(a, b, tmp_path / "theirs")
    (made,) = (tmp_path / "theirs").iterdir()
    with contextlib.ExitStack() as theirs:
        theirs.enter_context(hold_lock(tmp_path / "ours" / f".{made.name}.lock", UsageError("busy")))

        def end(seconds: float) -> None:
            shutil.copytree(made, tmp_path / "ours" / made.name)
            theirs.close()

        monkeypatch.setattr("cxrssl.audit.pairs.time.sleep", end)
        assert listed(find_pairs(a, b, tmp_path / "ours")) == [(1, 2), (3, 0)]
    assert searches == ["search"]
    assert "this one waits for it" in capsys.readouterr().err


def test_nothing_is_kept_where_nothing_may_or_can_be_written(packs: Packs, searches: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for kept, may_keep in ((None, True), (tmp_path / "pairs", False), (tmp_path / "file" / "pairs", True)):
        assert listed(find_pairs(*packs, kept, may_keep)) == [(1, 2), (3, 0)]
    assert len(searches) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_pairs_of_packs_that_are_gone_may_go(packs: Packs, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path).create()
    for name, images in zip("ab", packs, strict=True):
        shutil.copytree(images.path, workspace.images / name)
        (workspace.cohorts / name).mkdir(parents=True)
    find_pairs(*packs, workspace.pairs)
    (folder,) = workspace.pairs.iterdir()
    assert find_waste(workspace) == []
    assert is_of_packs(folder, frozenset(each.content_sha256 for each in packs))
    shutil.rmtree(workspace.images / "a")
    (waste,) = find_waste(workspace)
    assert (waste.kind, waste.path) == ("pairs", folder)
    remove_waste(workspace, [waste])
    assert not list(workspace.pairs.iterdir())
