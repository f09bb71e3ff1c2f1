"""Exports: nothing lost, nothing that is not theirs replaced, MEDS as the standard has it."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cxrssl.cohort.export import export_cohort
from cxrssl.cohort.features import FEATURES
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.meds import KINDS, SCHEMA, number_subjects
from cxrssl.cohort.read import open_cohort
from cxrssl.core.artefact import open_artefact, publish
from cxrssl.core.errors import IntegrityError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.synthetic import HospitalSpec, write_hospital
from tests.cli.command import run
from tests.cohort.conftest import make_world
from tests.world import write_nih


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the little world as a cohort: one timed death, one film in intensive care, one censored age."""
    root, world = tmp_path_factory.mktemp("little"), make_world()
    world.admissions[0] |= {"deathtime": "2151-03-05 11:00:00", "race": "WHITE", "insurance": "Medicare"}
    world.admissions[0] |= {"edregtime": "2151-03-01 04:00:00", "edouttime": "2151-03-01 11:00:00"}
    build_cohort(Workspace(root / "workspace"), IngestOptions("mimic", world.write(root / "data")))
    return root / "workspace"


@pytest.fixture
def mimic(little: Path, tmp_path: Path) -> Workspace:
    """A copy of that workspace."""
    return Workspace(shutil.copytree(little, tmp_path / "workspace"))


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("hospital")
    write_hospital(root / "data", HospitalSpec(num_patients=30, seed=5, film_px=32))
    workspace = Workspace(root / "workspace")
    build_cohort(workspace, IngestOptions("mimic", root / "data"))
    return workspace


def read_events(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted((folder / "data").rglob("*.parquet"))])


def count(workspace: Workspace, sql: str) -> int:
    with open_database(workspace.cohorts / "mimic" / "cohort.duckdb", read_only=True) as database:
        return int(database.rows(sql)[0][0])


def test_parquet_and_csv_hold_every_film_with_all_columns(hospital: Workspace) -> None:
    films = pl.read_parquet(hospital.cohorts / "mimic" / "films.parquet")
    parquet = export_cohort(hospital, "mimic", "parquet")
    text = export_cohort(hospital, "mimic", "csv")
    assert pl.read_parquet(parquet.path / "films.parquet").equals(films)
    back = pl.read_csv(text.path / "films.csv", schema=dict.fromkeys(films.columns, pl.String()))
    assert back.height == films.height == parquet.values["films.parquet"] == text.values["films.csv"]
    for name in films.columns:
        if name == "taken_at":
            assert back[name].str.to_datetime(time_unit="us").equals(films[name])
        else:
            assert back[name].equals(films[name].cast(pl.String)), name


def test_the_codebook_explains_every_column(hospital: Workspace) -> None:
    folder = export_cohort(hospital, "mimic", "csv").path
    codebook = pl.read_csv(folder / "codebook.csv")
    assert codebook["column"].to_list() == pl.read_csv(folder / "films.csv", infer_schema=False).columns
    unexplained = codebook.filter(pl.col("meaning").fill_null("") == "")["column"].to_list()
    assert unexplained == [], "give them a COMMENT ON COLUMN in schemas/2_cohort.sql"
    rows = {row["column"]: row for row in codebook.iter_rows(named=True)}
    assert (rows["mortality"]["role"], rows["mortality"]["known"]) == ("outcome", "after")
    assert rows["sex"]["categories"] == "male | female"
    assert (rows["age_y"]["unit"], rows["gap_h"]["unit"]) == ("years", "hours")
    assert rows["Edema"]["role"] == "label"
    features = {row["column"] for row in rows.values() if row["role"] in ("input", "outcome")}
    assert len(features) <= len(FEATURES)


def test_an_export_names_the_cohort_it_is_of(mimic: Workspace) -> None:
    export = export_cohort(mimic, "", "parquet")
    manifest = open_artefact(export.path, "cohort-export").manifest
    assert manifest["settings"]["cohort_sha256"] == open_cohort(mimic.cohorts / "mimic").content_sha256
    assert manifest["inputs"]["cohort"] == open_artefact(mimic.cohorts / "mimic", "cohort").content_sha256
    notice = (export.path / "NOTICE.txt").read_text()
    assert "Data\nUse Agreement" in notice
    assert "mimic: unverified" in notice
    assert "4 films of 2 subjects" in notice
    for place in (mimic.root.parent, open_cohort(mimic.cohorts / "mimic").root.parent):
        assert str(place) not in notice + json.dumps(manifest)


def test_exporting_twice_does_nothing_twice(mimic: Workspace) -> None:
    first = export_cohort(mimic, "mimic", "meds")
    stamps = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    second = export_cohort(mimic, "mimic", "meds")
    assert (second.was_current, second.values) == (True, first.values)
    assert stamps == {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}


def test_an_older_export_is_replaced_only_by_force(mimic: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_cohort(mimic, "mimic", "csv", out)
    with pytest.raises(UsageError, match="older export"):
        export_cohort(mimic, "mimic", "parquet", out)
    assert (out / "films.csv").is_file()
    export_cohort(mimic, "mimic", "parquet", out, may_replace=True)
    assert sorted(path.name for path in out.iterdir()) == [
        "NOTICE.txt",
        "codebook.csv",
        "films.parquet",
        "manifest.json",
    ]


def test_what_is_no_export_is_never_replaced(mimic: Workspace, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "chapter1.tex").write_text("years of work")
    with publish(tmp_path / "report", "report", {}) as folder:
        (folder / "report.md").write_text("")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("thesis", "report", "file", "link"):
        with pytest.raises(UsageError, match="something other"):
            export_cohort(mimic, "mimic", "csv", tmp_path / name, may_replace=True)
    assert (thesis / "chapter1.tex").read_text() == "years of work"


def test_an_export_lies_neither_in_the_dataset_nor_among_cohorts(mimic: Workspace, tmp_path: Path) -> None:
    dataset = open_cohort(mimic.cohorts / "mimic").root
    for place in (dataset / "x", mimic.cohorts / "x", mimic.root, mimic.root / "exports"):
        with pytest.raises(UsageError):
            export_cohort(mimic, "mimic", "csv", place)
    with pytest.raises(UsageError, match="no format") as caught:
        export_cohort(mimic, "mimic", "parket")
    assert "parquet" in caught.value.hint


def test_a_damaged_cohort_is_not_exported(mimic: Workspace) -> None:
    path = mimic.cohorts / "mimic" / "films.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"films\.parquet is damaged"):
        export_cohort(mimic, "mimic", "parquet")
    assert not (mimic.root / "exports").exists()


@pytest.mark.parametrize("to", ["parquet", "csv", "meds"])
def test_only_the_owner_can_read_an_export(mimic: Workspace, tmp_path: Path, to: str) -> None:
    result = run("cohort", "export", "mimic", "--to", to, "--out", tmp_path / "out", workspace=mimic.root)
    assert (result.returncode, result.stderr) == (0, "")
    assert "NOTICE.txt" in result.stdout
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_events_of_a_little_world(mimic: Workspace) -> None:
    events = read_events(export_cohort(mimic, "mimic", "meds").path)
    first = events.filter(subject_id=10000001)
    at = dt.datetime
    assert first.select("time", "code").rows()[:10] == [
        (None, "GENDER//F"),
        (at(2090, 1, 1), "MEDS_BIRTH"),
        (at(2151, 3, 1, 4), "ED_REGISTRATION"),
        (at(2151, 3, 1, 10), "HOSPITAL_ADMISSION//UNK//UNK"),
        (at(2151, 3, 1, 10), "INSURANCE//Medicare"),
        (at(2151, 3, 1, 10), "RACE//WHITE"),
        (at(2151, 3, 1, 11), "ED_OUT"),
        (at(2151, 3, 2), "ICU_ADMISSION//UNK"),
        (at(2151, 3, 2, 8, 5, 56, 875000), "IMAGE//CXR//PA"),
        (at(2151, 3, 2, 8, 5, 56, 875000), "AGE"),
    ]
    assert first.filter(code="MEDS_DEATH")["time"].to_list() == [at(2151, 3, 5, 11)]
    film = first.filter(code="IMAGE//CXR//PA").row(0, named=True)
    assert film["image_path"] == f"files/p10/p10000001/s50000001/{film['image_id']}.jpg"
    assert (film["hadm_id"], film["stay_id"]) == ("20000001", "30000001")
    second = events.filter(subject_id=10000002)
    assert "MEDS_BIRTH" not in second["code"].to_list(), "anchor_age 91 stands for every age above 89"
    assert "AGE" not in second["code"].to_list()


def test_death_without_a_time_is_at_the_end_of_the_day(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    world.patients[0]["dod"] = "2151-06-01"
    build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data")))
    events = read_events(export_cohort(workspace, "mimic", "meds").path)
    assert events.filter(code="MEDS_DEATH")["time"].to_list() == [dt.datetime(2151, 6, 1, 23, 59, 59)]


def test_no_event_is_lost_and_none_invented(hospital: Workspace) -> None:
    folder = export_cohort(hospital, "mimic", "meds").path
    kinds = dict(read_events(folder).group_by(pl.col("code").str.split("//").list.first()).len().iter_rows())
    ours = "WHERE subject_id IN (SELECT subject_id FROM image)"
    assert kinds["IMAGE"] == count(hospital, "SELECT count(*) FROM image")
    assert kinds["CXR"] == count(hospital, "SELECT count(*) FROM label")
    assert kinds["HOSPITAL_ADMISSION"] == count(hospital, f"SELECT count(*) FROM admission {ours}")
    assert kinds["HOSPITAL_DISCHARGE"] == kinds["HOSPITAL_ADMISSION"]
    assert kinds["ED_OUT"] == count(hospital, f"SELECT count(edouttime) FROM admission {ours}")
    assert kinds["ICU_ADMISSION"] == kinds["ICU_DISCHARGE"] == count(hospital, f"SELECT count(*) FROM icu_stay {ours}")
    assert kinds["AGE"] == count(hospital, "SELECT count(age_y) FROM film WHERE NOT age_is_censored")
    assert kinds["POSITION"] == count(hospital, "SELECT count(position) FROM film")
    assert kinds["GENDER"] == count(hospital, "SELECT count(DISTINCT subject_id) FROM film WHERE sex IS NOT NULL")
    assert kinds["MEDS_BIRTH"] == count(hospital, f"SELECT count_if(anchor_age < 90) FROM patient {ours}")
    assert set(kinds) <= {kind.code for kind in KINDS}
    assert not (folder / "findings.parquet").exists()


def test_files_are_as_the_standard_has_them(hospital: Workspace) -> None:
    folder = export_cohort(hospital, "mimic", "meds").path
    splits = pl.read_parquet(folder / "metadata" / "subject_splits.parquet")
    assert splits.schema == {"subject_id": pl.Int64, "split": pl.String}
    seen: dict[int, str] = {}
    for path in (folder / "data").rglob("*.parquet"):
        events = pl.read_parquet(path)
        assert events.schema == SCHEMA
        assert b"ARROW:schema" not in path.read_bytes(), "text would be read as large_string"
        assert events.equals(events.sort("subject_id", "time", nulls_last=False, maintain_order=True))
        assert events.select(pl.col("subject_id", "code").null_count()).row(0) == (0, 0)
        for subject in events["subject_id"].unique().to_list():
            assert seen.setdefault(subject, path.parent.name) == path.parent.name
    assert seen == dict(splits.iter_rows())
    assert set(seen.values()) == {"train", "tuning", "held_out"}
    cohort = open_cohort(hospital.cohorts / "mimic")
    parts = dict(zip(cohort.subject_id.tolist(), cohort.split_of().tolist(), strict=True))
    assert {str(subject): part for subject, part in seen.items()} == {
        subject: {"train": "train", "val": "tuning", "test": "held_out"}[part] for subject, part in parts.items()
    }
    codes = pl.read_parquet(folder / "metadata" / "codes.parquet")
    assert set(codes["code"]) == set(read_events(folder)["code"])
    assert codes["description"].null_count() == 0


def test_a_finding_is_later_than_every_film_that_shows_it(hospital: Workspace) -> None:
    events = read_events(export_cohort(hospital, "mimic", "meds").path)
    films = events.filter(pl.col("code").str.starts_with("IMAGE//")).group_by("study_id").agg(pl.col("time").max())
    findings = events.filter(pl.col("code").str.starts_with("CXR//")).join(films, "study_id", suffix="_film")
    assert findings.height
    assert (findings["time"] > findings["time_film"]).all()


def test_without_times_findings_stay_out_of_the_events(workspace: Workspace, tmp_path: Path) -> None:
    build_cohort(workspace, IngestOptions("nih", write_nih(tmp_path / "nih", num_patients=6)))
    folder = export_cohort(workspace, "nih", "meds").path
    events = read_events(folder)
    assert events["time"].null_count() == events.height
    assert events["code"].str.starts_with("IMAGE//").sum() == 12
    assert not events["code"].str.starts_with("CXR//").any()
    assert pl.read_parquet(folder / "findings.parquet").height == 12 * 14
    assert sorted(events["subject_id"].unique().to_list()) == [1, 2, 3, 4, 5, 6]
    assert not (folder / "subject_ids.csv").exists()


def test_ids_that_are_no_numbers_get_one_and_a_map(data: Path, workspace: Workspace) -> None:
    build_cohort(workspace, IngestOptions("covid", data / "covid19_cxr"))
    folder = export_cohort(workspace, "covid", "meds").path
    mapping = pl.read_csv(folder / "subject_ids.csv")
    cohort = open_cohort(workspace.cohorts / "covid")
    assert sorted(mapping["source_subject_id"].cast(pl.String).to_list()) == sorted(set(cohort.subject_id.tolist()))
    assert set(mapping["subject_id"]) == set(read_events(folder)["subject_id"])


def test_numbers_of_subjects_are_their_ids_or_stable_hashes() -> None:
    assert number_subjects("a", pl.Series(["7", "12"]))["number"].to_list() == [12, 7]
    padded = number_subjects("a", pl.Series(["007", "7"]))
    assert padded["number"].n_unique() == 2
    assert (padded["number"] > 1 << 32).all()
    again = number_subjects("a", pl.Series(["x", "7", "007"]))
    assert dict(padded.iter_rows()).items() <= dict(again.iter_rows()).items()
    assert number_subjects("b", pl.Series(["7", "007"]))["number"][0] != padded["number"][0]


def test_the_standards_own_package_accepts_every_file(
    hospital: Workspace, workspace: Workspace, tmp_path: Path
) -> None:
    meds = pytest.importorskip("meds", reason="the meds package is not installed: uv run --with meds pytest")
    parquet = pytest.importorskip("pyarrow.parquet")
    build_cohort(workspace, IngestOptions("nih", write_nih(tmp_path / "nih", num_patients=6)))
    for place, name in ((hospital, "mimic"), (workspace, "nih")):
        folder = export_cohort(place, name, "meds").path
        for path in (folder / meds.data_subdirectory).rglob("*.parquet"):
            meds.DataSchema.validate(parquet.read_table(path))
        meds.CodeMetadataSchema.validate(parquet.read_table(folder / meds.code_metadata_filepath))
        meds.SubjectSplitSchema.validate(parquet.read_table(folder / meds.subject_splits_filepath))
        meds.DatasetMetadataSchema.validate(json.loads((folder / meds.dataset_metadata_filepath).read_text()))


def test_a_killed_export_leaves_nothing_under_its_name(mimic: Workspace, tmp_path: Path) -> None:
    words = ["cohort", "export", "mimic", "--to", "meds", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "cxrssl", *words, "--workspace", str(mimic.root)]
    environment = {**os.environ, "CXRSSL_KILL_AT": "publish-before-rename:1"}
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == -9
    assert not (tmp_path / "out").exists()
    assert not export_cohort(mimic, "mimic", "meds", tmp_path / "out").was_current
    assert not list(tmp_path.glob(".building*"))
