"""Reports on alike films and groups: what is vacuous is said, small groups are left out, small counts hidden."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import group_evaluations, list_pairs, publish_comparisons
from cxrssl.records.evaluation import Evaluation, publish_evaluation
from cxrssl.records.subgroups import Subgroup, write_subgroups
from cxrssl.report.group_tables import matched_table, subgroup_table
from cxrssl.report.probe_tables import macro_table
from cxrssl.report.write import write_report
from cxrssl.stats.matched import Matched
from cxrssl.stats.resample import Interval
from cxrssl.stats.subgroups import SubgroupScore
from tests.report.test_report import evaluations_of, make_evaluation

NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def number(value: float) -> Interval:
    return Interval(value, value - 0.0512345, value + 0.05, 100, 100, 40)


def score(finding: str, num_subjects: int, num_pos: int | None) -> SubgroupScore:
    without = None if num_pos is None else num_subjects - num_pos
    return SubgroupScore(finding, number(0.7123456), number(-0.1), num_subjects, num_subjects, num_pos, without)


def group_of(attribute: str, group: str, num_subjects: int, num_pos: int) -> Subgroup:
    return Subgroup(attribute, group, (score("macro", num_subjects, None), score("Edema", num_subjects, num_pos)))


def make_groups(workspace: Workspace) -> Workspace:
    """Publish a run of which Hernia is vacuous, 120 women, 80 men, 130 white, 9 Asian patients; and an older one."""
    make_evaluation(workspace, "vanilla")
    make_evaluation(workspace, "older")
    run = next(each for each in evaluations_of(workspace) if each.settings.candidate_id == "vanilla")
    scores = replace(
        run.scores,
        is_matched=True,
        matched_on=("view", "age"),
        matched={"Edema": Matched(number(0.61), 0.31, 0.9), "Hernia": Matched(NOTHING, 0.02, 0.1)},
        macro_matched=number(0.61),
    )
    groups = [group_of("sex", "female", 120, 30), group_of("sex", "male", 80, 9)]
    groups += [group_of("race", "white", 130, 40), group_of("race", "asian", 9, 3)]
    publish_evaluation(run.path, run.settings, scores, run.predictions(), None, write_subgroups(groups))
    return workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_groups(Workspace(tmp_path / "ws").create())


def rows_of(workspace: Workspace, file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((workspace.reports / "latest" / file).read_text())))


def only_group(workspace: Workspace) -> list[Evaluation]:
    (group,) = group_evaluations(evaluations_of(workspace))
    return group


def test_the_matched_mean_stands_beside_the_auroc_with_its_vacuous_findings(workspace: Workspace) -> None:
    group = only_group(workspace)
    table = macro_table(group, publish_comparisons(workspace, list_pairs(group)))
    rows = {row[0].split(" (")[0]: row for row in table.texts()}
    column = list(table.columns).index("AUROC matched")
    assert rows["vanilla"][column] == "0.610 [0.559, 0.660] 1 vacuous"
    assert rows["older"][column] == ""
    assert "Matched: over pairs of films alike in view, age (bands of 20 years);" in table.note


def test_findings_are_matched_or_vacuous_with_the_share_of_pairs(workspace: Workspace) -> None:
    table = matched_table(only_group(workspace))
    assert table.title.startswith("AUROC matched on view, age by finding: cohort mimic")
    assert [list(row) for row in table.texts()] == [
        ["Edema", "31%", "0.610 [0.559, 0.660]"],
        ["Hernia", "2%", "vacuous, 2% of pairs"],
    ]


def test_a_group_of_fewer_than_ten_is_left_out_and_cannot_be_subtracted(workspace: Workspace) -> None:
    table = subgroup_table(only_group(workspace), "hide")
    rows = {row[1]: row for row in table.texts()}
    assert list(rows) == ["sex: female", "sex: male", "race: white"]
    assert [row[2] for row in rows.values()] == ["120", "80", "about 130"]
    assert rows["sex: male"][3:] == ["0.712 [0.661, 0.762]", "-0.100 [-0.151, -0.050]"]
    assert table.note.endswith("Groups of fewer than 10 test subjects are left out.")
    assert "race: asian" in [row[1] for row in subgroup_table(only_group(workspace), "show").texts()]


def test_the_files_beside_a_report_hold_every_number_but_those_of_small_groups(workspace: Workspace) -> None:
    report = write_report(workspace)
    assert "AUROC by group" in report.markdown
    assert "asian" not in report.markdown
    matched = rows_of(workspace, "matched.csv")
    assert [(row["finding"], row["is_vacuous"]) for row in matched] == [
        ("macro", ""), ("Edema", "false"), ("Hernia", "true"),
    ]  # fmt: skip
    assert (matched[1]["value"], matched[2]["value"], matched[2]["share_pairs"]) == ("0.61", "", "0.02")
    assert {row["matched_on"] for row in matched} == {"view+age"}
    rows = rows_of(workspace, "subgroups.csv")
    assert [(row["group"], row["finding"]) for row in rows] == [
        (group, finding) for group in ("female", "male", "white") for finding in ("macro", "Edema")
    ]
    by_group = {row["group"]: row for row in rows if row["finding"] == "Edema"}
    female, male = by_group["female"], by_group["male"]
    assert (female["num_subjects"], female["num_pos_subjects"], female["auroc"]) == ("120", "30", "0.712"), (
        "in full it would tell how many men have it"
    )
    assert (male["num_subjects"], male["num_pos_subjects"], male["auroc"]) == ("about 80", "under 10", "0.712")
    write_report(workspace, small="show")
    shown = {row["group"]: row for row in rows_of(workspace, "subgroups.csv") if row["finding"] == "Edema"}
    assert (shown["asian"]["num_subjects"], shown["male"]["num_pos_subjects"]) == ("9", "9")


def test_a_report_on_evaluations_without_them_has_no_such_table_and_no_such_file(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "older")
    assert "matched" not in write_report(workspace).markdown
    files = {path.name for path in (workspace.reports / "latest").iterdir()}
    pages = {"report.html", "report.md", "report.tex"}
    assert files == {*pages, "results.csv", "published.csv", "tables", "manifest.json"}
