"""From a dataset folder to a published cohort: done once, the folder untouched, every row accounted for."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cxrssl.cohort.ingest import build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import DataError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database


def test_little_world_becomes_a_cohort(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    summary = build_cohort(workspace, "mimic", world.write(tmp_path / "data"))
    cohort = open_cohort(summary.path)
    assert not summary.was_current
    assert cohort.name == cohort.dataset == "mimic"
    assert cohort.root == tmp_path / "data"
    assert cohort.subject_id.tolist() == ["10000001"] * 3 + ["10000002"]
    assert cohort.study_id.tolist() == ["50000001", "50000002", "50000003", "50000004"]
    assert cohort.link_status.tolist() == ["in_icu", "in_stay", "post_discharge", "no_admission"]
    assert cohort.taken_at.tolist()[0] == "2151-03-02T08:05:56.875"
    assert cohort.stay_id.tolist() == ["30000001", "", "", ""]
    assert cohort.hadm_id.tolist() == ["20000001", "20000001", "", ""]
    assert cohort.gap_h.tolist()[:3] == [0, 0, 24]
    assert np.isnan(cohort.gap_h[3])
    assert cohort.view.tolist() == ["PA", "LATERAL", "PA", ""]
    assert cohort.position.tolist() == ["", "", "Erect", ""]
    assert cohort.age_is_censored.tolist() == [False, False, False, True]
    assert cohort.split_official.tolist() == ["train"] * 3 + ["val"]
    assert all((cohort.root / path).is_file() for path in cohort.path)
    values = dict(zip(cohort.feature_names.tolist(), cohort.ehr_values.T.tolist(), strict=True))
    assert values["age"] == [61, 61, 61, 93]
    assert values["sex"] == [1, 1, 1, 0]
    known = dict(zip(cohort.feature_names.tolist(), cohort.ehr_known.T.tolist(), strict=True))
    assert known["mortality"] == [True, True, False, False]
    assert values["mortality"][:2] == [1, 1]
    assert values["icu"][:2] == [0, 1]
    assert known["icu"] == [True, True, False, False]
    assert cohort.label_values[0, cohort.finding_names.tolist().index("Edema")] == 1


def test_running_twice_does_nothing_twice(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    first = build_cohort(workspace, "mimic", root)
    stamps = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    second = build_cohort(workspace, "mimic", root)
    assert second.was_current
    assert second.values == first.values
    assert stamps == {path: path.stat().st_mtime_ns for path in first.path.iterdir()}


def test_changed_table_or_new_film_makes_the_cohort_anew(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data", films=False)
    film = world.metadata[0]
    folder = root / "files" / "p10" / f"p{film['subject_id']}" / f"s{film['study_id']}"
    folder.mkdir(parents=True)
    (folder / f"{film['dicom_id']}.jpg").write_bytes(b"x")
    assert build_cohort(workspace, "mimic", root).values["films"]["rejected"] == {"file missing": 3}
    assert build_cohort(workspace, "mimic", world.write(root)).num_films == 4
    world.patients[0]["gender"] = "M"
    summary = build_cohort(workspace, "mimic", world.write(root))
    assert not summary.was_current
    assert summary.values["known"]["sex"] == {"male": 4}


def test_moved_dataset_is_found_at_its_new_place_with_equal_content(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    first = open_cohort(build_cohort(workspace, "mimic", world.write(tmp_path / "data")).path)
    (tmp_path / "data").rename(tmp_path / "moved")
    second = open_cohort(build_cohort(workspace, "mimic", tmp_path / "moved").path)
    assert second.root == tmp_path / "moved"
    assert second.content_hash() == first.content_hash()


def test_dataset_folder_is_not_touched(
    world: Any, workspace: Workspace, tmp_path: Path, folder_hash: Callable[[Path], str]
) -> None:
    root = world.write(tmp_path / "data")
    before = folder_hash(root)
    build_cohort(workspace, "mimic", root)
    assert folder_hash(root) == before


def test_plain_and_packed_tables_give_equal_cohorts(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    packed = build_cohort(workspace, "mimic", world.write(tmp_path / "a", gz=True), name="packed")
    plain = build_cohort(workspace, "mimic", world.write(tmp_path / "b", gz=False), name="plain")
    assert open_cohort(packed.path).content_hash() == open_cohort(plain.path).content_hash()


def dump(database_path: Path) -> dict[str, list[Any]]:
    """All rows of the tables that hold content, without the lines at which they stood."""
    names = (
        "patient",
        "admission",
        "icu_stay",
        "ed_stay",
        "image",
        "label",
        "given_feature",
        "link",
        "ehr",
        "split",
        "flow",
    )
    with open_database(database_path, read_only=True) as database:
        return {name: sorted(database.rows(f"SELECT * FROM {name}"), key=str) for name in names}


def test_order_of_the_rows_does_not_matter(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    first = build_cohort(workspace, "mimic", world.write(tmp_path / "a"), name="a")
    tables = (world.patients, world.admissions, world.icustays, world.metadata, world.chexpert, world.split)
    rng = random.Random(0)
    for turn in range(2):
        for table in tables:
            rng.shuffle(table)
        other = build_cohort(workspace, "mimic", world.write(tmp_path / f"b{turn}"), name="b")
        assert open_cohort(other.path).content_hash() == open_cohort(first.path).content_hash()
        assert dump(other.path / "cohort.duckdb") == dump(first.path / "cohort.duckdb")


def test_published_files_agree_with_each_other(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    world.metadata[3]["StudyDate"] = "21529999"
    world.metadata.append({**world.metadata[0], "dicom_id": "no id"})
    folder = build_cohort(workspace, "mimic", world.write(tmp_path / "data")).path
    films = pl.read_parquet(folder / "films.parquet")
    cohort = open_cohort(folder)
    assert films["image_id"].to_list() == cohort.image_id.tolist()
    rejects = list(csv.reader((folder / "rejects.csv").open()))
    metadata = "mimic-cxr-2.0.0-metadata.csv.gz"
    assert rejects == [["file", "line", "column", "rule"], [metadata, "6", "dicom_id", "malformed"]]
    summary = json.loads((folder / "summary.json").read_text())
    account = summary["tables"][metadata]
    assert (account["rows"], account["accepted"], account["rejected"]) == (5, 4, {"dicom_id: malformed": 1})
    assert summary["link"] == {"bad_time": 1, "in_icu": 1, "in_stay": 1, "post_discharge": 1}
    assert summary["flow"][-1][1] == summary["films"]["accepted"] == 4
    assert str(tmp_path) not in (folder / "summary.json").read_text()
    with open_database(folder / "cohort.duckdb", read_only=True) as database:
        assert database.rows("SELECT sum(rows), sum(accepted + rejected) FROM source_file") == [(17, 17)]
        assert database.rows("SELECT count(*) FROM film") == [(4,)]


@pytest.mark.parametrize("dataset", ["mimic", "nih", "covid"])
def test_empty_folder_names_what_was_looked_for(dataset: str, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError) as caught:
        build_cohort(workspace, dataset, tmp_path / "data")
    assert caught.value.what.startswith("no ")
    assert ".csv" in caught.value.hint
    assert not workspace.cohorts.exists()


def test_wrong_path_wrong_dataset_and_wrong_name_are_usage_errors(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    root = world.write(tmp_path / "data")
    with pytest.raises(UsageError, match="no such folder"):
        build_cohort(workspace, "mimic", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="must be a folder"):
        build_cohort(workspace, "mimic", root / "mimic-cxr-2.0.0-split.csv.gz")
    with pytest.raises(UsageError) as caught:
        build_cohort(workspace, "mimik", root)
    assert caught.value.hint == 'nearest is "mimic"'
    with pytest.raises(UsageError):
        build_cohort(workspace, "mimic", root, name="../x")
    with pytest.raises(DataError) as wrong:
        build_cohort(workspace, "nih", root)
    assert "this looks like mimic" in wrong.value.hint


@pytest.mark.parametrize(
    "file",
    ["hosp/patients", "hosp/admissions", "icu/icustays", *(f"mimic-cxr-2.0.0-{n}" for n in ("metadata", "split"))],
)
def test_missing_table_is_named(file: str, world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    (root / f"{file}.csv.gz").unlink()
    with pytest.raises(DataError, match=rf"{file}\.csv\.gz is missing"):
        build_cohort(workspace, "mimic", root)


def test_no_film_on_the_disk_is_an_error(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no film .* can be used: file missing 4"):
        build_cohort(workspace, "mimic", world.write(tmp_path / "data", films=False))


def test_parts_are_found_deep_and_apart(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    world.write(deep / "physionet" / "mimic-cxr-jpg-2.1.0", ehr_root=deep / "physionet" / "mimic-iv-3.1")
    summary = build_cohort(workspace, "mimic", deep, name="deep")
    assert open_cohort(summary.path).root == deep / "physionet" / "mimic-cxr-jpg-2.1.0"
    world.write(tmp_path / "cxr", ehr_root=tmp_path / "ehr")
    apart = build_cohort(workspace, "mimic", tmp_path / "cxr", ehr_path=tmp_path / "ehr", name="apart")
    assert open_cohort(apart.path).content_hash() == open_cohort(summary.path).content_hash()
    with pytest.raises(DataError) as caught:
        build_cohort(workspace, "mimic", tmp_path / "cxr", name="x")
    assert "--ehr" in caught.value.hint


def test_wget_mirror_of_physionet_is_searched(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    files = tmp_path / "data" / "physionet.org" / "files"
    world.write(files / "mimic-cxr-jpg" / "2.1.0", ehr_root=files / "mimiciv" / "3.1")
    assert build_cohort(workspace, "mimic", tmp_path / "data").num_films == 4


def test_workspace_inside_the_dataset_is_refused(world: Any, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    with pytest.raises(UsageError, match="inside the dataset folder"):
        build_cohort(Workspace(root / "cxrssl-workspace"), "mimic", root)


def test_two_candidates_are_listed(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    world.write(tmp_path / "data" / "cxr", ehr_root=tmp_path / "data" / "mimic-iv-2.2")
    shutil.copytree(tmp_path / "data" / "mimic-iv-2.2", tmp_path / "data" / "mimic-iv-3.1")
    with pytest.raises(UsageError) as caught:
        build_cohort(workspace, "mimic", tmp_path / "data")
    assert "mimic-iv-2.2" in caught.value.what
    assert "mimic-iv-3.1" in caught.value.what


def test_subject_in_two_official_splits_is_refused(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    world.split[1]["split"] = "test"
    with pytest.raises(LeakageError, match="1 subject in two official splits"):
        build_cohort(workspace, "mimic", world.write(tmp_path / "data"))
    assert workspace.cohort_names() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folder_that_cannot_be_read_is_an_error(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    (root / "files").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        build_cohort(workspace, "mimic", root)
    (root / "files").chmod(0o700)
