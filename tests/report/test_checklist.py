"""Checklists: every item answered from records or said not to be, and no number of few people."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.published import read_published
from cxrssl.report.answers import ANSWERS
from cxrssl.report.checklist import NOT_ANSWERED, SEEN, Filled, checklist_names, fill_checklist, read_checklist
from tests.cli.command import run
from tests.records.folders import make_run
from tests.report.test_report import SHAPE, make_evaluation
from tests.world import make_workspace

RUN = "nih-msn+sex-s0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A cohort of 24 patients, a run on it, and two evaluations. Not to be written to."""
    workspace = make_workspace(tmp_path_factory.mktemp("listed"), num_patients=24)
    recipe = load_recipe("demo", ["train.seed=0"], {"ehr": {"features": ["sex"]}}).to_dict()
    make_run(workspace, RUN, recipe=recipe, cohort="nih", dataset="nih", versions={"cxrssl": "0.1.0", "torch": "2.0"})
    about: dict[str, Any] = {"cohort": "nih", "dataset": "nih", "split": "hash"}
    make_evaluation(workspace, RUN, features=("sex",), label="MSN + sex", **about)
    make_evaluation(workspace, "untrained", kind="random-init", label="random", **about)
    return workspace


def fill(workspace: Workspace, name: str = "claim") -> Filled:
    return fill_checklist(read_checklist(name), workspace, read_published(workspace))


def lines_of(filled: Filled, number: str) -> str:
    return "\n".join(next(each.texts for each in filled.items if each.item.number == number))


def test_claim_has_its_42_items_and_tripod_its_27_with_their_parts() -> None:
    claim, tripod = read_checklist("claim"), read_checklist("tripod-ai")
    assert [item.number for item in claim.items] == [str(number) for number in range(1, 43)]
    numbers = [item.number for item in tripod.items]
    assert len(set(numbers)) == len(numbers) == 52
    assert list(dict.fromkeys(re.sub("[a-g]", "", number) for number in numbers)) == [str(n) for n in range(1, 28)]


@pytest.mark.parametrize("name", checklist_names())
def test_a_checklist_says_how_its_items_were_read_and_each_has_a_topic_and_a_known_answer(name: str) -> None:
    checklist = read_checklist(name)
    assert checklist.seen in SEEN
    assert checklist.source
    assert "not read" in checklist.read
    for item in checklist.items:
        assert item.section
        assert item.topic
        assert len(item.topic) <= 70
        assert item.answer in ("", *ANSWERS)


def test_every_answer_is_one_of_an_item() -> None:
    asked = {item.answer for name in checklist_names() for item in read_checklist(name).items}
    assert asked - {""} == set(ANSWERS)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("1", "MSN + sex: deep learning: pretraining without labels by msn, vit-micro [runs/*/run.json]"),
        ("5", "nih: retrospective: films that dataset nih holds"),
        ("7", "nih: dataset nih, 48 films of 24 subjects"),
        ("7", "unverified, source files were not checked"),
        ("8", "48 films seen, 48 accepted; rejected: none"),
        ("9", "films decoded and scaled once to 48 px"),
        ("10", "nih: all films with all findings, no condition"),
        ("11", "sex (known before the film)"),
        ("13", "unknown values of the record enter as mask"),
        ("14", "uncertain = ignore, not mentioned = zeros: Edema, Hernia"),
        ("19", "that these test subjects can show"),
        ("20", "split hash: train "),
        ("21", "no subject is in two splits"),
        ("22", "vit-tiny, patches of 16 px, views of 224 px"),
        ("23", "cxrssl 0.1.0, torch 2.0; device cpu"),
        ("24", "drawn, seed 0"),
        ("25", "num_epochs "),
        ("26", "strength of the probe by mean AUROC on val films"),
        ("28", "AUROC and AUPRC by finding"),
        ("29", "95% percentile bootstrap over subjects"),
        ("33", "flow-nih-hash"),
        ("34", "hash, train: "),
        ("35", "on test films only"),
        ("36", "MSN + sex: test films of nih, macro AUROC 0."),
    ],
)
def test_an_item_is_answered_by_the_line_of_a_record(whole: Workspace, number: str, words: str) -> None:
    assert words in lines_of(fill(whole), number)


@pytest.mark.parametrize("number", ["3", "12", "15", "16", "37", "38", "40", "42"])
def test_what_no_record_says_is_not_answered_and_for_the_authors(whole: Workspace, number: str) -> None:
    assert lines_of(fill(whole), number) == f"{NOT_ANSWERED}: for the authors"


@pytest.mark.parametrize("number", ["4", "32", "41"])
def test_what_a_record_could_say_and_does_not_is_not_answered(whole: Workspace, number: str) -> None:
    assert lines_of(fill(whole), number) == NOT_ANSWERED


def test_the_headline_counts_the_items_that_are_answered(whole: Workspace) -> None:
    filled = fill(whole)
    num = sum(not each.texts[0].startswith(NOT_ANSWERED) for each in filled.items)
    assert filled.headline == f"{num} of 42 items answered by records of this workspace"
    assert 20 < num < 42


def test_counts_of_few_people_are_hidden(whole: Workspace) -> None:
    texts = [line for name in checklist_names() for each in fill(whole, name).items for line in each.lines]
    small = re.compile(r"(?<![\d.,\w-])[1-9] (?:films?|subjects?|male|female)\b")
    assert not [line for line in texts if small.search(line)]
    assert any("under 10" in line for line in texts)


def test_a_choice_on_test_films_is_said(whole: Workspace, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "copy")
    workspace = Workspace(tmp_path / "copy")
    probe = ProbeSettings(num_resamples=100, protocol="mine", selected_on="test")
    make_evaluation(workspace, "other", label="by mine", cohort="nih", dataset="nih", split="hash", probe=probe)
    assert "by mine: head chosen on test films by protocol mine" in lines_of(fill(workspace), "26")


def test_scores_on_another_dataset_are_the_external_test(whole: Workspace, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "copy")
    workspace = Workspace(tmp_path / "copy")
    make_run(workspace, "mimic-msn-s0", dataset="mimic")
    make_evaluation(
        workspace, "mimic-msn-s0", label="MSN", cohort="nih", dataset="nih", split="hash", shape=replace(SHAPE)
    )
    assert "MSN: pretrained on mimic, probed on nih: macro AUROC 0." in lines_of(fill(workspace), "32")


def test_a_workspace_without_cohorts_and_a_damaged_one_leave_items_unanswered(whole: Workspace, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "copy")
    workspace = Workspace(tmp_path / "copy")
    (workspace.cohorts / "nih" / "films.npz").write_bytes(b"torn")
    assert lines_of(fill(workspace), "7") == NOT_ANSWERED
    shutil.rmtree(workspace.cohorts)
    filled = fill(workspace)
    assert lines_of(filled, "20") == NOT_ANSWERED
    assert "macro AUROC" in lines_of(filled, "36")


def test_a_name_that_is_unknown_gets_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        read_checklist("tripod")
    assert "tripod-ai" in caught.value.hint


def test_the_command_prints_every_item_within_eighty_columns(whole: Workspace, tmp_path: Path) -> None:
    shutil.copytree(whole.root, tmp_path / "copy")
    workspace = Workspace(tmp_path / "copy")
    make_evaluation(workspace, "odd", label="\x1b[31mred\u202e", cohort="nih", dataset="nih", split="hash")
    for name in checklist_names():
        result = run("report", "--checklist", name, workspace=workspace.root)
        assert (result.returncode, result.stderr) == (0, "")
        lines = result.stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert "\x1b" not in result.stdout
        assert "\u202e" not in result.stdout
        for item in read_checklist(name).items:
            assert any(line.startswith(f"  {item.number:<4}") for line in lines)
    values = json.loads(run("report", "--checklist", "claim", "--json", workspace=whole.root).stdout)
    assert [each["number"] for each in values["items"]][:3] == ["1", "2", "3"]
    assert values["seen"] == "text"


def test_the_command_writes_nothing_and_refuses_an_unknown_name(whole: Workspace) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in whole.root.rglob("*"))
    assert run("report", "--checklist", "stard", workspace=whole.root).returncode == 2
    assert run("report", "--checklist", "claim", workspace=whole.root).returncode == 0
    assert sorted((path, path.stat().st_mtime_ns) for path in whole.root.rglob("*")) == before
