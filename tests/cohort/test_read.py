"""An open cohort: splits, labels by policy, and what happens to one that was tampered with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cxrssl.cohort.again import hint_feature
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import Cohort, check_splits, open_cohort
from cxrssl.cohort.sources import DATASETS, find_source
from cxrssl.cohort.split import Shares, hash_split, parse_shares, split_subjects
from cxrssl.cohort.split_file import FILE_SPLITS, read_split_file
from cxrssl.core.artefact import publish
from cxrssl.core.errors import DataError, IntegrityError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.db import Database
from tests.cohort.conftest import make_world
from tests.scale import scaled


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """The cohort of the little world. Not to be written to."""
    root = tmp_path_factory.mktemp("little")
    return open_cohort(
        build_cohort(Workspace(root / "workspace"), IngestOptions("mimic", make_world().write(root / "data"))).path
    )


@pytest.fixture
def schema(empty_cohort: Database) -> Iterator[Database]:
    """An empty cohort database."""
    yield empty_cohort
    empty_cohort.execute("DELETE FROM split")


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


def test_damaged_cohort_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    path = shutil.copytree(cohort.folder, tmp_path / "copy") / "films.npz"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=r"films\.npz is damaged"):
        open_cohort(path.parent)


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


@pytest.mark.fuzz
def test_no_random_cohort_has_a_subject_in_two_splits_of_a_scheme(schema: Database) -> None:
    for seed in range(scaled(200, 1000)):
        rng = np.random.default_rng(seed)
        subjects = [str(number) for number in rng.integers(0, 40, rng.integers(1, 60))]
        parts = {subject: str(rng.choice(["train", "val", "test", "train_val"])) for subject in subjects}
        listed = [subject for subject in subjects if rng.random() < 0.8]
        official = pl.DataFrame({"subject_id": listed, "split": [parts[subject] for subject in listed]})
        own = official.filter(pl.col("split") != "train_val")
        icu = {subject for subject in subjects if rng.random() < 0.3}
        percents = int(rng.integers(1, 98)), int(rng.integers(1, 98))
        low, high = min(percents), max(percents) + 1
        shares = Shares(low, high - low, 100 - high)
        splits = split_subjects("mimic", subjects, official, icu, own, shares)
        assert splits.group_by("scheme", "subject_id").len()["len"].max() == 1, seed
        assert set(splits["subject_id"]) <= set(subjects), seed
        schema.execute("DELETE FROM split")
        schema.insert("split", splits)


@pytest.mark.parametrize("scheme", ["official", "hash", "icu", "file"])
def test_every_sabotaged_split_is_refused_by_the_schema(scheme: str, schema: Database) -> None:
    for number in range(25):
        schema.execute(f"INSERT INTO split VALUES ('{scheme}', 'p{number}', 'train')")
        with pytest.raises(DataError):
            schema.execute(f"INSERT INTO split VALUES ('{scheme}', 'p{number}', 'test')")


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


def shares_of(splits: pl.DataFrame, scheme: str) -> dict[str, float]:
    chosen = splits.filter(pl.col("scheme") == scheme)
    return {split: num / chosen.height for split, num in chosen["split"].value_counts().iter_rows()}


def test_shares_are_those_that_are_asked_for_and_move_as_few_subjects_as_can_be() -> None:
    subjects = [str(number) for number in range(10_000)]
    usual, other = (split_subjects("nih", subjects, shares=shares) for shares in (Shares(), parse_shares("80, 10,10")))
    assert shares_of(other, "hash") == pytest.approx({"train": 0.8, "val": 0.1, "test": 0.1}, abs=0.015)
    assert set(train_of(usual, "hash")) < set(train_of(other, "hash"))


def train_of(splits: pl.DataFrame, scheme: str) -> list[str]:
    return splits.filter(scheme=scheme, split="train")["subject_id"].to_list()


@pytest.mark.parametrize("text", ["", "70,30", "70,10,30", "100,0,0", "70,10,x", "-10,90,20", "33.3,33.3,33.4"])
def test_shares_that_do_not_make_a_whole_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not shares"):
        parse_shares(text)


def test_icu_split_tests_only_people_with_an_icu_stay_and_nobody_that_hash_trains_on() -> None:
    subjects = [str(number) for number in range(5_000)]
    icu = set(subjects[::4])
    splits = split_subjects("mimic", subjects, icu_subjects=icu)
    own = splits.filter(scheme="icu")
    assert set(own.filter(pl.col("split") != "train")["subject_id"]) <= icu
    among = own.filter(pl.col("subject_id").is_in(icu))
    assert shares_of(among, "icu") == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.04)
    train = own.filter(pl.col("split") == "train")["subject_id"]
    assert set(train) & icu  # the train part is a mixture
    assert not set(own.filter(split="test")["subject_id"]) & set(train_of(splits, "hash"))
    assert "icu" not in split_subjects("nih", subjects)["scheme"]


def films_of(*subjects: str) -> pl.DataFrame:
    """Two films of one study for each subject."""
    rows = [(f"f{s}{k}", f"s{s}", s, f"images/f{s}{k}.png") for s in subjects for k in "ab"]
    return pl.DataFrame(rows, ("image_id", "study_id", "subject_id", "path"), orient="row")


def test_split_file_may_repeat_a_subject_and_says_who_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("dicom_id,subject_id,split\nx,1,train\ny,1,train\nz,2,validate\nw,9,test\n")
    own, remarks = read_split_file(path, films_of("1", "2", "3"))
    splits = split_subjects("mimic", ["1", "2", "3"], own=own).filter(scheme="file")
    assert splits.rows() == [("file", "1", "train"), ("file", "2", "val")]
    assert remarks == ["subjects of own.csv without a film: 1", "subjects that own.csv does not name, in no split: 1"]
    assert set(FILE_SPLITS.values()) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("subject_id,split\n1,train\n1,test\n", LeakageError, "1 subject in two splits of the split file"),
        ("subject_id,split\n1,train\n2,dev\n", DataError, "1 row cannot be used, the first in line 3"),
        ("subject_id,split\n1,train\n,test\n", DataError, "1 row cannot be used"),
        ("subject_id,split\n7,train\n", DataError, "names no subject of this dataset"),
        ("subject,split\n1,train\n", DataError, 'column "subject_id" is missing'),
        ("", DataError, "is empty"),
    ],
)
def test_split_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, error: Any, words: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(error, match=words):
        own, _ = read_split_file(path, films_of("1", "2"))
        split_subjects("mimic", ["1", "2"], own=own)


@pytest.mark.parametrize(
    "text",
    [
        "subject_id,split\n0001,train\n2.0,test\n",
        "study_id,split\ns1,train\ns2,test\n",
        "image_id,split\nf1a,train\nf1b,train\nf2a,test\n",
        "Image Index,split\nf1a.png,train\nf2b.png,test\n",
        "path,split\nimages/f1a.png,train\nimages/f2b.png,test\n",
    ],
)
def test_split_by_subject_study_or_film_is_taken_in_the_spelling_of_the_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.csv").write_text(text)
    own, _ = read_split_file(tmp_path / "own.csv", films_of("1", "2"))
    splits = split_subjects("nih", ["1", "2"], own=own).filter(scheme="file")
    assert splits.rows() == [("file", "1", "train"), ("file", "2", "test")]


def test_split_by_film_that_divides_a_subject_is_a_leak_and_ids_of_two_subjects_are_nobodys(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("image_id,split\nf1a,train\nf1b,test\n")
    own, _ = read_split_file(tmp_path / "own.csv", films_of("1", "2"))
    with pytest.raises(LeakageError, match="1 subject in two splits of the split file"):
        split_subjects("nih", ["1", "2"], own=own)
    (tmp_path / "own.csv").write_text("subject_id,split\n001,train\n01,test\n2,val\n")
    own, remarks = read_split_file(tmp_path / "own.csv", films_of("1", "01", "2"))
    assert own.rows() == [("01", "test"), ("2", "val")]
    assert remarks[0] == "subjects of own.csv without a film: 1"


def test_title_names_the_rule_that_linked_the_films(cohort: Cohort) -> None:
    assert cohort.title == "mimic, linked by time, tolerance 6 h"


@pytest.mark.parametrize("source", DATASETS)
def test_a_feature_that_is_missing_is_hinted_by_options_that_its_dataset_takes(source: str) -> None:
    hint = hint_feature(source, "mine", "labs")
    assert ("--features labs" in hint) == ("features" in find_source(source).OPTIONS)
    assert hint.count("--map MAP") == ("--features" not in hint)
    assert f"cxrssl ingest {source} PATH" in hint
