"""An open cohort: splits, labels by policy, and what happens to one that was tampered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cxrssl.cohort.ingest import build_cohort
from cxrssl.cohort.read import Cohort, check_splits, open_cohort
from cxrssl.cohort.split import hash_split, split_subjects
from cxrssl.core.artefact import publish
from cxrssl.core.errors import DataError, IntegrityError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.db import apply_schema, open_database


@pytest.fixture
def cohort(world: Any, workspace: Workspace, tmp_path: Path) -> Cohort:
    return open_cohort(build_cohort(workspace, "mimic", world.write(tmp_path / "data")).path)


def test_rows_of_a_split_and_of_several(cohort: Cohort) -> None:
    assert cohort.rows_of("train").tolist() == [0, 1, 2]
    assert cohort.rows_of("val", "official").tolist() == [3]
    assert cohort.rows_of("train|val").tolist() == [0, 1, 2, 3]
    assert sum(len(cohort.rows_of(split, "hash")) for split in ("train", "val", "test")) == len(cohort)


@pytest.mark.parametrize("asked", [("dev", ""), ("train", "oficial")])
def test_unknown_split_or_scheme_names_the_nearest(cohort: Cohort, asked: tuple[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        cohort.rows_of(*asked)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ({}, [1, -1, 0, 0]),
        ({"uncertain": "zeros"}, [1, 0, 0, 0]),
        ({"uncertain": "ones"}, [1, 1, 0, 0]),
        ({"blank": "ignore"}, [1, -1, 0, -1]),
    ],
)
def test_label_policies_are_applied_by_name(cohort: Cohort, policies: Any, expected: list[int]) -> None:
    labels = cohort.labels(["Edema", "Pneumonia", "No Finding", "Fracture"], **policies)
    assert labels.dtype == np.int8
    assert labels[0].tolist() == expected


def test_unknown_finding_and_policy_are_usage_errors(cohort: Cohort) -> None:
    with pytest.raises(UsageError, match="no finding"):
        cohort.labels(["Edemas"])
    with pytest.raises(UsageError, match="label policy"):
        cohort.labels(["Edema"], uncertain="guess")  # type: ignore[arg-type]


def test_damaged_cohort_is_refused(cohort: Cohort) -> None:
    path = cohort.folder / "films.npz"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=r"films\.npz is damaged"):
        open_cohort(cohort.folder)


def test_published_cohort_with_a_shared_subject_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    with np.load(cohort.folder / "films.npz") as archive:
        arrays = dict(archive)
    arrays["split_official"] = arrays["split_official"].copy()
    arrays["split_official"][1] = "test"
    settings = json.loads((cohort.folder / "manifest.json").read_text())["settings"]
    with publish(tmp_path / "sabotaged", "cohort", settings, {"root": "/"}) as folder:
        np.savez(folder / "films.npz", **arrays)
        (folder / "summary.json").write_text("{}")
    with pytest.raises(LeakageError, match="1 subject of 2 in two splits"):
        open_cohort(tmp_path / "sabotaged")


def test_sabotaged_splits_are_always_found() -> None:
    rng = np.random.default_rng(21)
    for _ in range(100):
        subject_id = np.sort(rng.integers(0, 30, 100).astype(str))
        split = np.array([hash_split("x", subject) for subject in subject_id.tolist()])
        check_splits(subject_id, split, "hash")
        subjects, counts = np.unique(subject_id, return_counts=True)
        row = rng.choice(np.flatnonzero(subject_id == rng.choice(subjects[counts > 1])))
        split[row] = {"train": "test", "val": "train", "test": "val"}[str(split[row])]
        with pytest.raises(LeakageError):
            check_splits(subject_id, split, "hash")


def test_the_schema_makes_a_subject_in_two_splits_impossible() -> None:
    with open_database(None) as database:
        apply_schema(database, "1_source.sql")
        apply_schema(database, "2_cohort.sql")
        with pytest.raises(DataError):
            database.execute("INSERT INTO split VALUES ('hash', 'p1', 'train'), ('hash', 'p1', 'test')")


def test_hash_split_depends_on_the_subject_alone_and_is_70_10_20() -> None:
    subjects = [str(number) for number in range(10_000)]
    splits = split_subjects("mimic", subjects, None)
    assert splits.equals(split_subjects("mimic", [*reversed(subjects), "7"], None))
    shares = {split: num / 10_000 for split, num in splits["split"].value_counts().iter_rows()}
    assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.015)


def test_official_split_covers_only_its_subjects() -> None:
    official = pl.DataFrame({"subject_id": ["1", "1", "9"], "split": ["test", "test", "train"]})
    splits = split_subjects("nih", ["1", "2"], official).filter(pl.col("scheme") == "official")
    assert splits.rows() == [("official", "1", "test")]
