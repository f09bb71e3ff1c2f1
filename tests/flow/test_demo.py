"""The whole chain as a user runs it: the demo on a small synthetic hospital, and the same commands on real films."""

import csv
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cxrssl.db import open_database
from tests.cli import command


def run(*words: object, workspace: Path) -> str:
    result = command.run(*words, workspace=workspace)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_the_demo_runs_from_nothing_to_a_report_and_a_second_time_does_nothing_twice(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    words = ["demo", "--patients", "60", "--epochs", "2"]
    first = [sys.executable, "-m", "cxrssl", *words, "--workspace", str(workspace)]
    text = subprocess.run(first, check=True, stdout=subprocess.PIPE, text=True, umask=0o022).stdout
    for part in (
        "linked by status",
        "random vit-micro, seed 0",
        "record alone: demo, meta",
        "view alone",
        "Edema",
    ):
        assert part in " ".join(text.split()), "lines of a report are wrapped"
    report = (workspace / "reports/latest/report.md").read_text()
    assert report.splitlines()[0] in text

    # ---- every film is accounted for, every test film is scored, for every candidate
    summary = json.loads((workspace / "cohorts/demo/summary.json").read_text())
    films = summary["films"]
    assert films["seen"] == films["accepted"] + sum(films["rejected"].values())
    scores = [json.loads(path.read_text()) for path in (workspace / "evals").glob("*/scores.json")]
    assert len(scores) == 8
    assert {score["num_films"] for score in scores} == {summary["splits"]["official"]["test"]["films"]}

    # ---- the store and the CSV say the same
    with open(workspace / "reports/latest/results.csv") as file:
        rows = list(csv.DictReader(file))
    with open_database(workspace / "experiments.duckdb", read_only=True) as store:
        assert store.rows("SELECT count(*) FROM eval_result") == [(len(rows),)]
        assert store.rows("SELECT state, count(*) FROM run GROUP BY state") == [("finished", 3)]
        ((num_losses, num_steps),) = store.rows(
            "SELECT (SELECT count(*) FROM metric WHERE key = 'loss'), (SELECT sum(num_steps) FROM run)"
        )
        assert num_losses == num_steps

    # ---- files are their owner's alone
    modes = {stat.S_IMODE(os.stat(path).st_mode) & 0o077 for path in workspace.rglob("*")}
    assert modes == {0}

    # ---- twice does nothing twice
    heavy = ("cohorts", "images", "runs", "evals", "features", "synthetic-hospital-60-s0")
    before = {p: p.stat().st_mtime_ns for name in heavy for p in (workspace / name).rglob("*") if p.is_file()}
    assert run(*words, workspace=workspace).count("were packed already") == 1
    after = {p: p.stat().st_mtime_ns for name in heavy for p in (workspace / name).rglob("*") if p.is_file()}
    assert {p.name for p in before if before[p] != after.get(p)} <= {"run.lock", ".seen-demo.json"}
    assert set(before) == set(after)


@pytest.mark.slow
def test_a_world_of_the_record_is_a_cohort_of_its_own_and_may_be_made_without_training(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    run("demo", "--patients", "40", "--record", "disease", "--no-train", workspace=workspace)
    assert [path.name for path in (workspace / "cohorts").iterdir() if path.is_dir()] == ["demo-disease"]
    assert [path.name for path in (workspace / "images").iterdir() if path.is_dir()] == ["demo-disease"]
    assert not (workspace / "runs").exists()
    with open(workspace / "synthetic-hospital-40-s0-disease" / "answers.csv") as file:
        assert len({row["illness"] for row in csv.DictReader(file)}) > 1


def pretrain_on(workspace: Path, dataset: str, folder: Path, num_films: int, ehr: str) -> Path:
    ingested = run("ingest", dataset, folder, "--size", "64", "--json", workspace=workspace)
    assert json.loads(ingested)["packed"]["num_packed"] == num_films
    changes = ["--set", "train.num_epochs=1", "--set", "train.split=hash"]
    run("pretrain", "--recipe", "demo", *changes, "--ehr", ehr, workspace=workspace)
    return workspace


def probe_and_report(workspace: Path, dataset: str) -> None:
    probed = json.loads(run("probe", dataset, "--json", "--resamples", "50", workspace=workspace))
    kinds = [evaluation["settings"]["kind"] for evaluation in probed.values()]
    assert kinds == ["run", "random-init", "ehr-only", "ehr-only", "view-only", "pixels"]
    assert "macro" in run("report", workspace=workspace)


@pytest.fixture(scope="module")
def nih(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run on the train films of NIH's own hash split."""
    workspace = tmp_path_factory.mktemp("nih") / "ws"
    return pretrain_on(workspace, "nih", real_data / "nih_chestxray14", 1000, "sex,view")


@pytest.mark.slow
@pytest.mark.xdist_group("nih")
def test_real_films_without_stays_go_through_the_whole_chain(nih: Path) -> None:
    probe_and_report(nih, "nih")


@pytest.mark.slow
def test_real_films_with_stays_go_through_the_whole_chain(real_data: Path, tmp_path: Path) -> None:
    workspace = pretrain_on(tmp_path / "ws", "covid", real_data / "covid19_cxr", 354, "demo,meta,stay")
    probe_and_report(workspace, "covid")


@pytest.mark.slow
@pytest.mark.xdist_group("nih")
def test_a_probe_on_patients_that_were_pretrained_on_is_refused_unless_asked_for(nih: Path) -> None:
    words = ["probe", "nih", "--split", "official", "--resamples", "20"]
    refused = command.run(*words, workspace=nih)
    assert refused.returncode == 3
    assert "took part in pretraining" in refused.stderr
    run(*words, "--allow-overlap", workspace=nih)
    first = run("report", workspace=nih).split("\n\n")[0]
    assert "took part in pretraining" in " ".join(first.split())
