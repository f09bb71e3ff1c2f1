"""`cxrssl embed`: the features of a cohort as a table, with pseudonyms unless the user asks for ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cxrssl.cohort.pseudonym import make_key, name_id
from cxrssl.cohort.read import open_cohort
from cxrssl.core.workspace import Workspace
from cxrssl.images.store import open_images
from cxrssl.records.features import ATTENTION, open_tokens
from tests.cli.command import Result, run
from tests.export.encoders import publish_run
from tests.world import make_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = make_workspace(tmp_path_factory.mktemp("embed"), num_patients=6)
    packed = open_images(made.images / "nih")
    publish_run(made, "own", has_anchor=True, dataset="nih", cohort="nih", images_sha256=packed.content_sha256)
    return made


def embed(workspace: Workspace, *words: object) -> Result:
    return run("embed", "own", "--device", "cpu", *words, workspace=workspace.root)


def test_both_formats_hold_the_same_films_features_and_splits(workspace: Workspace, tmp_path: Path) -> None:
    for suffix in ("npz", "parquet"):
        shown = embed(workspace, "--out", tmp_path / f"own.{suffix}")
        assert shown.returncode == 0, shown.stderr
        assert f"own.{suffix} written: 12 films, 96 features" in shown.stdout
        assert "licence verdict, nih: attribution." in shown.stdout
    frame = pl.read_parquet(tmp_path / "own.parquet")
    with np.load(tmp_path / "own.npz") as arrays:
        assert arrays["features"].shape == (12, 96)
        assert (frame.select("^feature_.*$").to_numpy() == arrays["features"]).all()
        for name in ("image_id", "subject_id", "split"):
            assert frame[name].to_list() == arrays[name].tolist()
    cohort = open_cohort(workspace.cohorts / "nih")
    assert frame["split"].to_list() == cohort.split_of().tolist()
    about = json.loads((tmp_path / "own.npz.json").read_text())
    assert (about["run_id"], about["cohort"], about["films"], about["ids"]) == ("own", "nih", 12, "pseudonyms")


def test_ids_are_pseudonyms_that_only_the_data_can_tell_or_the_datasets_own(
    workspace: Workspace, tmp_path: Path
) -> None:
    cohort = open_cohort(workspace.cohorts / "nih")
    out = tmp_path / "own.npz"
    assert embed(workspace, "--out", out).returncode == 0
    key = make_key(reversed(cohort.image_id.tolist()))
    with np.load(out) as arrays:
        assert arrays["subject_id"].tolist() == [name_id(each, key) for each in cohort.subject_id.tolist()]
        assert arrays["image_id"].tolist() == [name_id(each, key) for each in cohort.image_id.tolist()]
        assert len(set(arrays["subject_id"].tolist())) == 6
    assert not any(each.encode() in out.read_bytes() for each in cohort.image_id.tolist())
    assert name_id("1", make_key(["a"])) != name_id("1", make_key(["b"]))
    refused = embed(workspace, "--out", out, "--ids", "dataset")
    assert refused.returncode == 2
    assert "the file is there already" in refused.stderr
    assert embed(workspace, "--out", out, "--ids", "dataset", "--force").returncode == 0
    with np.load(out) as arrays:
        assert arrays["image_id"].tolist() == cohort.image_id.tolist()


def test_the_anchor_has_a_file_of_its_own_in_the_workspace(workspace: Workspace) -> None:
    for words, name in (((), "own-on-nih.npz"), (("--encoder", "anchor"), "own-anchor-on-nih.npz")):
        shown = embed(workspace, *words, "--json")
        assert Path(json.loads(shown.stdout)["file"]) == workspace.exports / name
    first, second = (np.load(workspace.exports / name) for name in ("own-on-nih.npz", "own-anchor-on-nih.npz"))
    assert (first["features"] != second["features"]).any()


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("--out", "features.csv"), 2, 'the ending of the file says its format, and ".csv" is none'),
        (("--ids", "none"), 2, '--ids is "none"'),
        (("--cohort", "mimic"), 2, 'no cohort "mimic"'),
        (("--encoder", "both"), 2, '--encoder is "both"'),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    workspace: Workspace, words: tuple[str, ...], code: int, what: str
) -> None:
    refused = embed(workspace, *words)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert what in refused.stderr


def test_a_file_among_the_films_or_the_workspaces_folders_is_refused(workspace: Workspace) -> None:
    for place, what in ((workspace.root.parent / "nih" / "a.npz", "inside the dataset folder"),
                        (workspace.runs / "a.npz", "among the workspace's own folders")):  # fmt: skip
        refused = embed(workspace, "--out", place)
        assert refused.returncode == 2
        assert what in refused.stderr
        assert not place.exists()


def test_attention_is_published_beside_the_features_and_kept(workspace: Workspace, tmp_path: Path) -> None:
    before = {path.name for path in workspace.features.iterdir()} if workspace.features.is_dir() else set()
    shown = embed(workspace, "--attention", "--out", tmp_path / "own.npz")
    assert shown.returncode == 0, shown.stderr
    (folder,) = [
        path
        for path in workspace.features.iterdir()
        if json.loads((path / "manifest.json").read_text())["settings"].get("read") == ATTENTION
    ]
    values = open_tokens(folder)
    images = open_images(workspace.images / "nih")
    assert values.shape[0] == len(images.is_packed_N)
    assert (np.isnan(values).any(axis=1) == ~images.is_packed_N).all()
    shares = values[images.is_packed_N].astype(np.float64).sum(axis=1)
    assert ((shares > 0) & (shares <= 1.01)).all()
    stamp = (folder / "features.npy").stat().st_mtime_ns
    assert embed(workspace, "--attention", "--out", tmp_path / "again.npz").returncode == 0
    assert (folder / "features.npy").stat().st_mtime_ns == stamp
    assert folder.name not in before
