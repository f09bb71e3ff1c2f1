"""Small cells: what may be shared shows no count of fewer than ten subjects, and nothing that tells one."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.report.figure import draw_flow
from cxrssl.report.flow import Flow, FlowStep
from cxrssl.report.probe_tables import finding_table, macro_table
from cxrssl.report.small import Count, hide_in_sentence, hide_small, parse_small_cells
from cxrssl.report.write import write_report
from cxrssl.stats.scores import FindingScore
from tests.report.test_report import evaluations_of, make_evaluation


def texts(*counts: Count, rest: tuple[Count, ...] = ()) -> list[str]:
    return [f"{each:,}" for each in hide_small(counts, rest, small="hide")]


def test_small_counts_are_words_and_those_beside_them_in_tens() -> None:
    assert texts(Count(9), Count(1_384), Count(0)) == ["under 10", "about 1,380", "0"]
    assert texts(Count(10), Count(1_384)) == ["10", "1,384"]
    assert texts(Count(40, subjects=9), Count(95)) == ["under 10", "about 100"]
    assert texts(Count(40, subjects=10), Count(95)) == ["40", "95"]
    assert texts(Count(197), Count(200), rest=(Count(3),)) == ["about 200", "about 200"]
    assert hide_small([Count(3), Count(12)], small="show") == [3, 12]


def test_a_hidden_count_is_written_in_no_format_and_stays_a_number() -> None:
    (hidden, about) = hide_small([Count(3), Count(1_384)], small="hide")
    assert [str(hidden), repr(hidden), f"{hidden:,}", f"{-hidden:,}"] == ["under 10"] * 4
    assert f"{-about:,}" == "-about 1,380"
    assert (hidden + about, sum([hidden, about])) == (1_387, 1_387)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("3 test subjects of cohort a took part", "under 10 test subjects of cohort a took part"),
        ("1 study under several subjects", "under 10 studies under several subjects"),
        ("1 film linked to a stay (2 test subjects)", "under 10 films linked to a stay (under 10 test subjects)"),
        ("1,003 films, 13 subjects, 0 films, AUROC 0.9 films", "1,003 films, 13 subjects, 0 films, AUROC 0.9 films"),
        ("step 3 of 9, 2 schemes", "step 3 of 9, 2 schemes"),
    ],
)
def test_sentences_hide_their_small_counts(said: str, shown: str) -> None:
    assert hide_in_sentence(said, "hide") == shown
    assert hide_in_sentence(said, "show") == said


def make_flow() -> Flow:
    steps = FlowStep("rows", 214), FlowStep("films", 205, (("malformed", 9),))
    parts = [(FlowStep("train", 180, subjects=60),), (FlowStep("val", 13, subjects=4),), (FlowStep("test", 12),)]
    return Flow("Films", steps, tuple(parts))


def test_the_noun_of_a_hidden_count_does_not_tell_that_it_is_one() -> None:
    test = FlowStep("test", 1, subjects=1)
    assert test.detail == "1 subject"
    flow = Flow("Films", (FlowStep("films", 1),), ((test,),)).hide_small("hide")
    assert flow.to_table().texts()[-1] == ["test (under 10 subjects)", "under 10"]


def test_a_flow_with_one_small_cell_shows_all_its_numbers_in_tens() -> None:
    flow = make_flow()
    flow.check()
    hidden = flow.hide_small("hide")
    hidden.check()
    rows = [f"{what} {num}" for what, num in hidden.to_table().texts()]
    assert rows == [
        "rows about 210", "without: malformed under 10", "films about 200",
        "train (about 60 subjects) about 180", "val (under 10 subjects) under 10", "test about 10",
    ]  # fmt: skip
    figure = re.findall(r">([^<>]*\d[^<>]*)</text>", draw_flow(hidden))
    assert not {"9", "205", "214", "13", "12", "4 subjects"} & set(figure), figure
    assert flow.hide_small("show") == flow
    assert [step["films"] for step in json.loads(json.dumps(asdict(hidden)))["steps"]] == [214, 205]


def test_a_flow_without_small_cells_is_exact() -> None:
    flow = replace(make_flow(), steps=(FlowStep("rows", 205),), parts=())
    assert flow.hide_small("hide") == flow


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An evaluation on 60 films of nine subjects."""
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", num_subjects=9, leak="3 test subjects of cohort mimic took part")
    return workspace


def test_no_number_of_a_report_on_nine_subjects_is_theirs(workspace: Workspace) -> None:
    report = write_report(workspace)
    assert report.markdown.startswith("No outcome")
    assert "`vanilla`: under 10 test subjects of cohort mimic took part." in report.markdown
    assert "under 10 test films of under 10 subjects scored" in report.markdown
    assert re.search(r"\b9 subjects|(?<!about )\b60 ", report.markdown) is None
    rows = list(csv.DictReader((report.folder / "results.csv").read_text().splitlines()))
    assert {row["num_subjects"] for row in rows} == {"under 10"}
    edema = next(row for row in rows if row["finding"] == "Edema")
    assert (edema["num_pos"], edema["num_pos_subjects"], edema["num_neg_subjects"]) == ("under 10",) * 3
    assert {len(row["value"]) for row in rows} <= {0, 3, 4, 5}
    assert "rounded to ten" in report.markdown


def test_a_report_may_show_them_and_says_so(workspace: Workspace) -> None:
    report = write_report(workspace, small="show")
    assert "60 test films of 9 subjects scored" in report.markdown
    assert "`vanilla`: 3 test subjects of cohort mimic took part." in report.markdown
    assert "must not be shared" in report.markdown
    rows = list(csv.DictReader((report.folder / "results.csv").read_text().splitlines()))
    assert {row["num_subjects"] for row in rows} == {"9"}


def test_the_workspace_keeps_all_numbers(workspace: Workspace) -> None:
    write_report(workspace)
    (evaluation,) = evaluations_of(workspace)
    assert (evaluation.scores.num_films, evaluation.scores.num_subjects) == (60, 9)


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((60, 0, 30, 15, 20), ["30 / 60", "15 / 20"]),
        ((60, 0, 30, 9, 28), ["under 10 / about 60", "under 10 / about 30"]),
        ((60, 0, 30, 28, 9), ["about 30 / about 60", "about 30 / under 10"]),
        ((57, 3, 30, 15, 20), ["about 30 / about 60", "about 20 / about 20"]),
        ((60, 0, 0, 0, 30), ["0 / 60", "0 / 30"]),
    ],
)
def test_what_a_row_leaves_is_hidden_with_it(workspace: Workspace, counts: tuple[int, ...], shown: list[str]) -> None:
    (evaluation,) = evaluations_of(workspace)
    scored, ignored, pos, with_it, without_it = counts
    score = evaluation.scores.findings["Edema"]
    score = FindingScore(score.auroc, score.auprc, scored, ignored, pos, with_it, without_it)
    scores = replace(evaluation.scores, findings={"Edema": score}, num_subjects=30)
    group = [replace(evaluation, scores=scores)]
    assert finding_table(group).texts()[0][1:3] == shown
    assert "60 test films of 30 subjects" in macro_table(group, {}).note


def test_another_word_than_hide_or_show_is_refused() -> None:
    with pytest.raises(UsageError, match='--small-cells is "no"'):
        parse_small_cells("no")
