"""From a dataset folder to a published cohort: done once, the folder untouched, every row accounted for."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from cxrssl.cli.app import app
from cxrssl.cli.ingest import describe_cohort
from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.link import LinkRule, make_link_rule
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.split import Shares
from cxrssl.core.errors import CxrsslError, DataError, LeakageError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.ingest import ingest_dataset
from tests.scale import scaled
from tests.world import write_nih


def test_little_world_becomes_a_cohort(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    summary = build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data")))
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
    first = build_cohort(workspace, IngestOptions("mimic", root))
    stamps = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    second = build_cohort(workspace, IngestOptions("mimic", root))
    assert second.was_current
    assert second.values == first.values
    assert stamps == {path: path.stat().st_mtime_ns for path in first.path.iterdir()}


def test_changed_table_or_new_film_makes_the_cohort_anew(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data", films=False)
    film = world.metadata[0]
    folder = root / "files" / "p10" / f"p{film['subject_id']}" / f"s{film['study_id']}"
    folder.mkdir(parents=True)
    (folder / f"{film['dicom_id']}.jpg").write_bytes(b"x")
    assert build_cohort(workspace, IngestOptions("mimic", root)).values["films"]["rejected"] == {"file missing": 3}
    assert build_cohort(workspace, IngestOptions("mimic", world.write(root))).num_films == 4
    world.patients[0]["gender"] = "M"
    summary = build_cohort(workspace, IngestOptions("mimic", world.write(root)))
    assert not summary.was_current
    assert summary.values["known"]["sex"] == {"male": 4}


def test_cohort_with_other_features_than_are_declared_is_made_anew(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    options = IngestOptions("mimic", world.write(tmp_path / "data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrssl.cohort.plan.FEATURE_NAMES", FEATURE_NAMES[:-1])
        assert build_cohort(workspace, options).values["films"]["accepted"] == 4
    assert not build_cohort(workspace, options).was_current
    assert build_cohort(workspace, options).was_current


def test_moved_dataset_is_found_at_its_new_place_with_equal_content(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    first = open_cohort(build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data"))).path)
    (tmp_path / "data").rename(tmp_path / "moved")
    second = open_cohort(build_cohort(workspace, IngestOptions("mimic", tmp_path / "moved")).path)
    assert second.root == tmp_path / "moved"
    assert second.content_sha256 == first.content_sha256


def test_dataset_folder_is_not_touched(
    world: Any, workspace: Workspace, tmp_path: Path, folder_hash: Callable[[Path], str]
) -> None:
    root = world.write(tmp_path / "data")
    before = folder_hash(root)
    build_cohort(workspace, IngestOptions("mimic", root))
    assert folder_hash(root) == before


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
        rest = {name: "* EXCLUDE (line)" if "line" in database.columns(name) else "*" for name in names}
        return {name: sorted(database.rows(f"SELECT {rest[name]} FROM {name}"), key=str) for name in names}


def test_published_files_agree_with_each_other(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    world.metadata[3]["StudyDate"] = "21529999"
    world.metadata.append({**world.metadata[0], "dicom_id": "no id"})
    folder = build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data"))).path
    films = pl.read_parquet(folder / "films.parquet")
    cohort = open_cohort(folder)
    assert films["image_id"].to_list() == cohort.image_id.tolist()
    rejects = list(csv.reader((folder / "rejects.csv").open()))
    metadata = "mimic-cxr-2.0.0-metadata.csv.gz"
    assert rejects[0] == ["file", "line", "column", "rule", "pseudonym"]
    assert [row[:4] for row in rejects[1:]] == [[metadata, "6", "dicom_id", "malformed"]]
    summary = json.loads((folder / "summary.json").read_text())
    account = summary["tables"][metadata]
    assert (account["rows"], account["accepted"], account["rejected"]) == (5, 4, {"dicom_id: malformed": 1})
    assert summary["link"] == {"bad_time": 1, "in_icu": 1, "in_stay": 1, "post_discharge": 1}
    assert summary["flow"][-1][1] == summary["films"]["accepted"] == 4
    assert str(tmp_path) not in (folder / "summary.json").read_text()
    with open_database(folder / "cohort.duckdb", read_only=True) as database:
        assert database.rows("SELECT sum(rows), sum(accepted + rejected) FROM source_file") == [(17, 17)]
        assert database.rows("SELECT count(*) FROM film") == [(4,)]


def test_a_name_belongs_to_its_dataset_and_folder_until_somebody_insists(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    mimic = IngestOptions("mimic", world.write(tmp_path / "data"), name="mine", may_replace=False)
    world.patients[0]["gender"] = "M"
    other = IngestOptions("mimic", world.write(tmp_path / "other"), name="mine", may_replace=False)
    nih = IngestOptions("nih", write_nih(tmp_path / "nih", num_patients=3), name="mine", may_replace=False)
    first = build_cohort(workspace, mimic).values
    for options in (nih, other):
        with pytest.raises(
            UsageError, match=f"cohort mine is of dataset mimic in {tmp_path / 'data'}, not of"
        ) as error:
            build_cohort(workspace, options)
        assert "--cohort" in error.value.hint
        assert "--replace" in error.value.hint
        assert build_cohort(workspace, mimic).values == first
    for options in (nih, other, mimic):
        insisting = replace(options, may_replace=True)
        assert build_cohort(workspace, insisting).values["dataset"] == options.dataset
        assert build_cohort(workspace, options).was_current


def test_a_cohort_that_cannot_be_read_is_made_again_under_its_name(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    options = IngestOptions("mimic", world.write(tmp_path / "data"))
    (build_cohort(workspace, options).path / "manifest.json").write_text("{")
    assert not build_cohort(workspace, options).was_current


def test_a_second_process_that_makes_the_same_cohort_is_refused(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    options = IngestOptions("mimic", world.write(tmp_path / "data"), may_pack=False)
    lock = workspace.root / ".lock-cohort-mimic"
    with hold_lock(lock, UsageError("")), pytest.raises(UsageError, match="is being made by another process"):
        ingest_dataset(workspace, options)
    ingest_dataset(workspace, options)
    assert not lock.exists()


@pytest.mark.parametrize("dataset", ["mimic", "nih", "covid"])
def test_empty_folder_names_what_was_looked_for(dataset: str, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError) as caught:
        build_cohort(workspace, IngestOptions(dataset, tmp_path / "data"))
    assert caught.value.what.startswith("no ")
    assert ".csv" in caught.value.hint
    assert not workspace.cohorts.exists()


def test_wrong_path_wrong_dataset_and_wrong_name_are_usage_errors(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    root = world.write(tmp_path / "data")
    with pytest.raises(UsageError, match="no such folder"):
        build_cohort(workspace, IngestOptions("mimic", tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="must be a folder"):
        build_cohort(workspace, IngestOptions("mimic", root / "mimic-cxr-2.0.0-split.csv.gz"))
    with pytest.raises(UsageError) as caught:
        build_cohort(workspace, IngestOptions("mimik", root))
    assert caught.value.hint == 'nearest is "mimic"'
    with pytest.raises(UsageError):
        build_cohort(workspace, IngestOptions("mimic", root, name="../x"))
    with pytest.raises(DataError) as wrong:
        build_cohort(workspace, IngestOptions("nih", root))
    assert "this looks like mimic" in wrong.value.hint


@pytest.mark.parametrize(
    "file",
    ["hosp/patients", "hosp/admissions", "icu/icustays", *(f"mimic-cxr-2.0.0-{n}" for n in ("metadata", "split"))],
)
def test_missing_table_is_named(file: str, world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    (root / f"{file}.csv.gz").unlink()
    with pytest.raises(DataError, match=rf"{file}\.csv\.gz is missing"):
        build_cohort(workspace, IngestOptions("mimic", root))


def test_no_film_on_the_disk_is_an_error(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no film .* can be used: file missing 4"):
        build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data", films=False)))


def test_parts_are_found_deep_and_apart(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    world.write(deep / "physionet" / "mimic-cxr-jpg-2.1.0", ehr_root=deep / "physionet" / "mimic-iv-3.1")
    summary = build_cohort(workspace, IngestOptions("mimic", deep, name="deep"))
    assert open_cohort(summary.path).root == deep / "physionet" / "mimic-cxr-jpg-2.1.0"
    world.write(tmp_path / "cxr", ehr_root=tmp_path / "ehr")
    apart = build_cohort(workspace, IngestOptions("mimic", tmp_path / "cxr", ehr=tmp_path / "ehr", name="apart"))
    assert open_cohort(apart.path).content_sha256 == open_cohort(summary.path).content_sha256
    with pytest.raises(DataError) as caught:
        build_cohort(workspace, IngestOptions("mimic", tmp_path / "cxr", name="x"))
    assert "--ehr" in caught.value.hint


def test_wget_mirror_of_physionet_is_searched(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    files = tmp_path / "data" / "physionet.org" / "files"
    world.write(files / "mimic-cxr-jpg" / "2.1.0", ehr_root=files / "mimiciv" / "3.1")
    assert build_cohort(workspace, IngestOptions("mimic", tmp_path / "data")).num_films == 4


def test_workspace_inside_the_dataset_is_refused(world: Any, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    with pytest.raises(UsageError, match="inside the dataset folder"):
        build_cohort(Workspace(root / "cxrssl-workspace"), IngestOptions("mimic", root))


def test_two_candidates_are_listed(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    world.write(tmp_path / "data" / "cxr", ehr_root=tmp_path / "data" / "mimic-iv-2.2")
    shutil.copytree(tmp_path / "data" / "mimic-iv-2.2", tmp_path / "data" / "mimic-iv-3.1")
    with pytest.raises(UsageError) as caught:
        build_cohort(workspace, IngestOptions("mimic", tmp_path / "data"))
    assert "mimic-iv-2.2" in caught.value.what
    assert "mimic-iv-3.1" in caught.value.what


def test_subject_in_two_official_splits_is_refused(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    world.split[1]["split"] = "test"
    with pytest.raises(LeakageError, match="1 subject in two official splits"):
        build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data")))
    assert workspace.cohort_names() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folder_that_cannot_be_read_is_an_error(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    root = world.write(tmp_path / "data")
    (root / "files").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        build_cohort(workspace, IngestOptions("mimic", root))
    (root / "files").chmod(0o700)


def add_again(world: Any) -> None:
    world.metadata.append(dict(world.metadata[0]))


def give_to_another(world: Any) -> None:
    world.metadata.append({**world.metadata[0], "subject_id": world.patients[1]["subject_id"], "study_id": "59999999"})


def describe_otherwise(world: Any) -> None:
    world.metadata.append({**world.metadata[0], "ViewPosition": "LL"})


def share_a_study(world: Any) -> None:
    world.metadata[3]["study_id"] = world.metadata[0]["study_id"]


def forget_a_patient(world: Any) -> None:
    world.patients.pop()


def orphan_an_icu_stay(world: Any) -> None:
    world.add_icu(world.patients[0]["subject_id"], "29999999", 9, "2151-03-02 00:00:00", "2151-03-03 00:00:00")


def give_an_icu_stay_to_another(world: Any) -> None:
    hadm_id = world.admissions[0]["hadm_id"]
    world.add_icu(world.patients[1]["subject_id"], hadm_id, 9, "2151-03-02 00:00:00", "2151-03-03 00:00:00")


def admit_a_stranger(world: Any) -> None:
    world.add_admission("19999999", 9, "2151-03-02 00:00:00", "2151-03-03 00:00:00")


def discharge_before_admission(world: Any) -> None:
    world.add_admission(world.patients[0]["subject_id"], 9, "2151-03-04 00:00:00", "2151-03-03 00:00:00")


METADATA, ICU, ADMISSIONS = "mimic-cxr-2.0.0-metadata.csv.gz", "icu/icustays.csv.gz", "hosp/admissions.csv.gz"


@pytest.mark.parametrize(
    ("break_world", "file", "rejected", "num_films"),
    [
        (add_again, METADATA, {"dicom_id: the same row again": 1}, 4),
        (describe_otherwise, METADATA, {"dicom_id: the same key with different content": 2}, 3),
        (give_to_another, METADATA, {"dicom_id: the same key with different content": 2}, 3),
        (share_a_study, METADATA, {"study under two subjects": 2}, 2),
        (forget_a_patient, METADATA, {"subject not in patients": 1}, 3),
        (give_an_icu_stay_to_another, ICU, {"hadm_id belongs to another subject": 1}, 4),
        (admit_a_stranger, ADMISSIONS, {"subject not in patients": 1}, 4),
        (discharge_before_admission, ADMISSIONS, {"dischtime before admittime": 1}, 4),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_rule_about_ids_rejects_and_counts(
    break_world: Any, file: str, rejected: Any, num_films: int, world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    break_world(world)
    summary = build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data")))
    assert summary.values["tables"][file]["rejected"] == rejected
    assert summary.num_films == num_films
    with open_database(summary.path / "cohort.duckdb", read_only=True) as database:
        counted = database.rows("SELECT sum(rows) FROM reject_count WHERE file = ?", [file])
    assert counted == [(sum(rejected.values()),)]


def test_icu_stay_without_a_row_of_its_admission_took_place(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    orphan_an_icu_stay(world)
    account = build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data"))).values["tables"][ICU]
    assert (account["accepted"], account["made_unknown"]) == (2, {"hadm_id: not in admissions": 1})


@pytest.mark.fuzz
def test_order_of_the_rows_does_not_matter(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    subject = world.patients[0]["subject_id"]
    world.add_admission(subject, 2, "2151-03-01 10:00:00", "2151-03-05 12:00:00")  # ties that order must not decide
    hadm_id = world.add_admission(subject, 3, "2151-03-02 00:00:00", "2151-03-09 00:00:00", race="WHITE")
    world.add_icu(subject, hadm_id, 2, "2151-03-02 00:00:00", "2151-03-03 00:00:00")
    seed, hashes = 20, set()
    expected: dict[str, list[Any]] = {}
    rng = random.Random(seed)
    for number in range(scaled(3, 100)):
        root = world.write(tmp_path / f"data{number}")
        path = build_cohort(workspace, IngestOptions("mimic", root, name="mimic")).path
        hashes.add(open_cohort(path).content_sha256)
        expected = expected or dump(path / "cohort.duckdb")
        assert dump(path / "cohort.duckdb") == expected, seed
        shutil.rmtree(root)
        for table in (world.patients, world.admissions, world.icustays, world.metadata, world.chexpert, world.split):
            rng.shuffle(table)
    assert len(hashes) == 1, seed


def test_rule_shares_and_split_file_are_part_of_the_key_and_of_what_is_shown(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    root = world.write(tmp_path / "data")
    own = tmp_path / "own.csv"
    own.write_text("subject_id,split\n10000001,test\n10000002,train\n")
    others: list[dict[str, Any]] = [
        {"rule": make_link_rule("day")},
        {"rule": LinkRule("time", 24)},
        {"shares": Shares(50, 25, 25)},
        {"split_path": own},
    ]
    usual = build_cohort(workspace, IngestOptions("mimic", root))
    assert usual.values["link_rule"] == "linked by time, tolerance 6 h"
    assert usual.values["link_rule"] in describe_cohort(usual.values)[0]
    assert "split hash 70/10/20" in describe_cohort(usual.values)
    for other in others:
        assert not build_cohort(workspace, IngestOptions("mimic", root, **other)).was_current
        assert build_cohort(workspace, IngestOptions("mimic", root, **other)).was_current
    cohort = open_cohort(workspace.cohorts / "mimic")
    assert cohort.default_split == "file"
    assert cohort.schemes == ("official", "hash", "icu", "file")
    assert cohort.split_file.tolist() == ["test"] * 3 + ["train"]
    own.write_text("subject_id,split\n10000001,val\n10000002,train\n")
    assert not build_cohort(workspace, IngestOptions("mimic", root, split_path=own)).was_current


def test_dataset_without_stays_refuses_a_rule_for_them(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nih has no hospital stays"):
        build_cohort(workspace, IngestOptions("nih", tmp_path, rule=LinkRule()))


def test_day_rule_links_a_film_whose_time_cannot_be_read(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    for row, time in zip(world.metadata, ["", "250000.0", "120000.0", "0.0"], strict=True):
        row["StudyTime"] = time
    root = world.write(tmp_path / "data")
    by_time = open_cohort(build_cohort(workspace, IngestOptions("mimic", root, name="time")).path)
    by_day = open_cohort(
        build_cohort(workspace, IngestOptions("mimic", root, name="day", rule=make_link_rule("day"))).path
    )
    assert by_time.link_status.tolist() == ["bad_time", "bad_time", "post_discharge", "no_admission"]
    assert by_day.link_status.tolist() == ["in_icu", "in_stay", "post_discharge", "no_admission"]
    assert by_day.link == "linked by day, as published"


def test_earlier_studies_are_counted_whether_or_not_their_films_are_here(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    subject = world.patients[0]["subject_id"]
    world.add_film(subject, 9, "21510302", "90000.0")
    world.metadata[-1]["study_id"] = world.metadata[0]["study_id"]  # a second film of the first study
    world.add_film(world.patients[1]["subject_id"], 10, "", "", split="validate")
    root = world.write(tmp_path / "data")
    next((root / "files").rglob(f"{world.metadata[1]['dicom_id']}.jpg")).unlink()
    cohort = open_cohort(build_cohort(workspace, IngestOptions("mimic", root)).path)
    column = cohort.feature_names.tolist().index("prior")
    prior = dict(zip(cohort.image_id.tolist(), cohort.ehr_values[:, column].tolist(), strict=True))
    found = [prior[world.metadata[number]["dicom_id"]] for number in (0, 2, 4)]
    assert found == [0, 2, 0]  # the study between is counted, the last film is of the first study
    # A study without a time may come before or after any other of the person.
    assert all(np.isnan(prior[world.metadata[number]["dicom_id"]]) for number in (3, 5))


def test_odd_stays_and_strange_words_are_counted(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    subject, hadm_id = world.patients[0]["subject_id"], world.admissions[0]["hadm_id"]
    world.add_icu(subject, hadm_id, 2, "2151-02-28 00:00:00", "2151-03-09 00:00:00")
    world.admissions[0] |= {"race": "MARTIAN", "insurance": " medicare", "language": "?", "marital_status": "SINGLE"}
    summary = build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data")))
    assert {
        "ICU stays that begin before their admission: 1",
        "ICU stays that end after their admission: 1",
        "admissions without emergency times: 1",
    } <= set(summary.values["remarks"])
    assert summary.values["strange_words"] == {"race": {"aaaaaaa": 1}}
    assert summary.values["unknown"]["race"] == summary.values["unknown"]["language"] == 4
    assert summary.values["known"]["marital_status"] == {"single": 3}
    assert any("words of race that no category is declared for" in line for line in describe_cohort(summary.values))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--link", "dya"], 2, 'there is no link rule "dya"'),
        (["--link", "day", "--tolerance", "6"], 2, "--tolerance has no effect with --link day"),
        (["--tolerance", "1000"], 2, "--tolerance is 1000 h"),
        (["--shares", "70,30"], 2, '"70,30" are not shares'),
        (["--split-file", "nowhere.csv"], 3, "nowhere.csv"),
        (["--link", "day", "--shares", "60,20,20"], 0, ""),
        (["--tolerance", "0"], 0, ""),
    ],
)
def test_options_of_ingest_are_checked(
    options: list[str], code: int, words: str, world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    root = world.write(tmp_path / "data")
    place = ["--no-pack", "--json", "--workspace", str(workspace.root)]
    result = CliRunner().invoke(app, ["ingest", "mimic", str(root), *place, *options])
    error = result.exception
    if code:
        assert isinstance(error, CxrsslError)
        assert (error.exit_code, words in str(error)) == (code, True)
    else:
        assert result.exit_code == 0, error
        shown = json.loads(result.stdout)["cohort"]
        rule = make_link_rule("day") if "day" in options else LinkRule("time", 0)
        assert shown["link_rule"] == rule.describe()
        assert shown["shares"] == ([60, 20, 20] if "--shares" in options else [70, 10, 20])
