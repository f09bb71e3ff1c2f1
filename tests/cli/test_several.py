"""A run on several cohorts by its commands, from the plan to the export."""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from pathlib import Path

import pytest

from cxrssl.ablate.contract import check_job, make_contract
from cxrssl.ablate.grid import load_grid
from cxrssl.ablate.queue import Place, pretrain_words, probe_words
from cxrssl.ablate.run import plan_study
from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from tests.cli.command import Result, run
from tests.several import SHARED, ingest, make_several
from tests.small_runs import MINUTE, two_layers

__all__ = ["two_layers"]
SETS = [word for each in MINUTE for word in ("--set", each)]
PRETRAIN = ["pretrain", "--recipe", "demo", *SETS, "--device", "cpu", "--ehr", "sex", "--cohort", "whole,covid"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_several(tmp_path_factory.mktemp("several"))


@pytest.fixture(scope="module")
def run_id(workspace: Workspace) -> str:
    result = run(*PRETRAIN, "--where", "view = 'PA'", "--json", workspace=workspace.root)
    assert result.returncode == 0, result.stderr
    return str(json.loads(result.stdout)["run_id"])


def ask(workspace: Workspace, *words: object) -> Result:
    result = run(*words, workspace=workspace.root)
    assert result.returncode == 0, result.stderr
    return result


def test_pretrain_says_what_it_makes_of_several_cohorts(workspace: Workspace, run_id: str) -> None:
    said = ask(workspace, *PRETRAIN, "--where", "view = 'PA'").stderr
    assert "note: train films: " in said
    assert "note: 2 patients with films in several of the cohorts" in said
    assert "note: no training film of cohort covid has a known sex: unknown there, and never zero" in said
    assert "note: only films where view = 'PA': " in said
    assert run_id.startswith("covid+whole-")
    for name in SHARED:
        assert name not in said


def test_runs_show_names_the_cohorts_and_a_command_that_finds_the_run_again(workspace: Workspace, run_id: str) -> None:
    shown = ask(workspace, "runs", "show", run_id).stdout
    assert "covid (covid), split hash, " in shown
    assert "whole (nih), split hash, " in shown
    assert "2 patients in several cohorts" in " ".join(shown.split())
    command = json.loads(ask(workspace, "runs", "show", run_id, "--json").stdout)["command"][0]
    assert "--cohort covid,whole" in command
    assert "--where 'view = '\"'\"'PA'\"'\"''" in command
    again = ask(workspace, *shlex.split(command)[1:], "--device", "cpu").stdout
    assert again.startswith(f"run {run_id}")
    assert "was finished already" in again
    assert f"cxrssl probe {run_id} --workspace" in again
    listed = ask(workspace, "runs", "list", "cohort:covid", "--columns", "run,cohort,dataset").stdout
    assert "covid,whole" in listed


OPTIONS = ["--no-baselines", "--resamples", 50, "--device", "cpu"]


def test_a_run_is_probed_on_each_of_its_cohorts_and_on_those_that_are_named(workspace: Workspace, run_id: str) -> None:
    said = ask(workspace, "probe", run_id, *OPTIONS, "--json")
    assert f"note: run {run_id} was trained on 2 cohorts: it is probed on covid, whole" in said.stderr
    found = [each["settings"] for each in json.loads(said.stdout).values()]
    assert [each["cohort"] for each in found] == ["covid", "whole"]
    assert all(each["label"].endswith(", pretrained on covid, whole") for each in found)
    for names in (["whole"], ["whole", "covid"]):
        said = ask(workspace, "probe", run_id, "--on", ",".join(names), *OPTIONS, "--json")
        assert [each["settings"]["cohort"] for each in json.loads(said.stdout).values()] == names
        assert "was trained on" not in said.stderr
    text = ask(workspace, "probe", run_id, *OPTIONS).stdout
    assert re.findall(r"^On cohort (\w+):$", text, re.M) == ["covid", "whole"]
    assert len(re.findall(r"^next: cxrssl report", text, re.M)) == 1
    listed = ask(workspace, "runs", "list").stdout
    assert re.search(
        rf"^AUROC of {re.escape(run_id)}, by cohort: whole \d\.\d+$", listed, re.M
    )  # of covid none is defined
    (row,) = json.loads(ask(workspace, "runs", "list", "--json").stdout)
    assert "auroc@whole" in row
    assert "auroc" not in row


def test_several_cohorts_to_probe_on_are_refused_where_one_is_meant(workspace: Workspace, run_id: str) -> None:
    for words, what, hint in (
        (["--test-on", "odd"], "2 are probed: covid, whole", "--on covid"),
        (["--on", "whole,whole"], "has an empty name of a cohort, or one twice", "name each cohort once"),
        (["--on", "whole,"], "has an empty name of a cohort, or one twice", "name each cohort once"),
        (["--on", "whole,evn"], 'no cohort "evn"', "even"),
    ):
        refused = run("probe", run_id, *words, workspace=workspace.root)
        assert refused.returncode == 2
        assert what in refused.stderr
        assert hint in refused.stderr


def test_a_cohort_on_which_a_run_is_refused_does_not_keep_the_others_from_being_probed(workspace: Workspace) -> None:
    words = [word for word in PRETRAIN if word not in ("--cohort", "whole,covid")]
    made = ask(workspace, *words, "--cohort", "odd", "--set", "train.rows=all", "--json")
    run_id = json.loads(made.stdout)["run_id"]
    result = run("probe", run_id, "--on", "odd,even", *OPTIONS, "--json", workspace=workspace.root)
    assert result.returncode == 3
    assert "cohort odd: " in result.stderr
    assert [each["settings"]["cohort"] for each in json.loads(result.stdout).values()] == ["even"]
    ask(workspace, "runs", "rm", run_id, "--yes", "--anyway")


def test_the_audit_the_report_and_the_dashboard_know_a_run_on_several_cohorts(
    workspace: Workspace, run_id: str
) -> None:
    audit = run("cohort", "audit", "--json", workspace=workspace.root)
    results = json.loads(audit.stdout)["results"]
    of_run = [each for each in results if each["about"].startswith(f"run {run_id}")]
    assert {each["about"].partition(" on cohort ")[2].partition(",")[0] for each in of_run} >= {"covid", "whole"}
    assert not [each for each in of_run if each["severity"] == "refuse"]
    ask(workspace, "report")
    text = next(workspace.reports.rglob("*.md")).read_text()
    assert "Pretrained together" in text
    assert "patients in several of them" in text
    snapshot = json.loads(ask(workspace, "dashboard", "--json").stdout)
    assert any(each["run_id"] == run_id and each["cohort"] == "covid,whole" for each in snapshot["runs"])


def test_an_export_has_the_terms_of_every_dataset_and_an_archive_no_condition(
    workspace: Workspace, run_id: str, tmp_path: Path
) -> None:
    made = json.loads(ask(workspace, "export", run_id, "--to", "safetensors", "--out", tmp_path / "x", "--json").stdout)
    assert set(made["verdicts"]) == {"nih", "covid"}
    card = (tmp_path / "x" / "README.md").read_text()
    assert "covid, split hash; whole, split hash" in card
    ask(workspace, "runs", "export", run_id, "--safe", "--out", tmp_path / "runs.zip")
    with zipfile.ZipFile(tmp_path / "runs.zip") as archive:
        texts = [archive.read(name) for name in archive.namelist()]
    assert not any(b"view = 'PA'" in text for text in texts)
    assert any(b"(condition 1, which stays inside)" in text for text in texts)


def test_a_run_starts_from_one_on_several_cohorts_and_its_lineage_lists_both(workspace: Workspace, run_id: str) -> None:
    words = ["--recipe", "demo", *SETS, "--device", "cpu", "--init", run_id, "--cohort", "even"]
    found = json.loads(ask(workspace, "pretrain", *words, "--json").stdout)
    options = ["--no-baselines", "--resamples", 50, "--device", "cpu"]
    ask(workspace, "probe", found["run_id"], "--on", "odd", *options)
    settings = json.loads((Path(found["folder"]) / "encoder" / "manifest.json").read_text())["settings"]
    (ancestor,) = settings["ancestors"]
    assert [each["cohort"] for each in ancestor["origin"]["members"]] == ["covid", "whole"]


GRID = """
recipe = "demo"
seeds = [0]
cohorts = ["whole"]
[primary]
arm = "both"
against = "vanilla"
[arms.vanilla]
ehr.features = []
train.batch_size = 8
[arms.both]
ehr.features = []
train.batch_size = 8
pretrain_on = "covid,whole"
"""


def test_an_arm_is_pretrained_on_several_cohorts_and_probed_on_one(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    grid = load_grid(str(path))
    study = plan_study(workspace, grid)
    alone, both = study.jobs
    assert (alone.plan.cohort.name, both.plan.cohort.name) == ("whole", "covid,whole")
    assert (alone.cohort.name, both.cohort.name) == ("whole", "whole")
    assert (alone.scheme, both.scheme) == ("hash", "hash")
    contract = make_contract(grid, "grid", study.jobs, "cpu", 1)
    assert set(contract.data) == {"covid", "whole"}
    assert {facts.cohort for facts in contract.runs.values()} == {"whole"}
    place = Place(workspace, study.folder, contract, ())
    assert "covid,whole" in pretrain_words(place, both)
    assert "--on" not in probe_words(place, alone, grid.settings.probe)
    words = probe_words(place, both, grid.settings.probe)
    assert words[words.index("--on") + 1] == "whole"
    check_job(contract, both)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('cohorts = ["whole"]\n', "", "the grid does not say where it is probed"),
        ('cohorts = ["whole"]', 'cohorts = ["odd,even"]', 'probed on one cohort, and "odd,even" are several'),
        ('pretrain_on = "covid,whole"', "pretrain_on = 3", '"arms.both.pretrain_on" must be a word'),
        ('pretrain_on = "covid,whole"', 'pretrain_on = "whole"', "are the same run"),
    ],
)
def test_a_grid_that_does_not_say_what_is_pretrained_and_probed_is_refused_in_a_sentence(
    workspace: Workspace, tmp_path: Path, old: str, new: str, what: str
) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(GRID.replace(old, new))
    with pytest.raises(UsageError, match=re.escape(what)):
        plan_study(workspace, load_grid(str(path)))


def test_a_probe_is_not_carried_to_films_of_another_size(workspace: Workspace, run_id: str) -> None:
    ingest(workspace, workspace.root.parent / "odd", "small", size_px=32)
    words = ["probe", run_id, "--on", "covid", "--test-on", "small", "--device", "cpu"]
    refused = run(*words, workspace=workspace.root)
    assert refused.returncode == 3
    assert "films of cohort small are packed at 32 px, those of cohort covid at 48" in refused.stderr
    assert "--cohort small --size 48" in refused.stderr
