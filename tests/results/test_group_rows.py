"""Matched scores and groups of people in the store: every number, of small groups too, and as a rebuild has them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.records.evaluation import open_evaluation, publish_evaluation
from cxrssl.records.subgroups import write_subgroups
from cxrssl.report.write import write_report
from cxrssl.results.store import rebuild_store, refresh_store
from tests.report.test_group_tables import make_groups, number


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_groups(Workspace(tmp_path / "ws").create())


def ask(workspace: Workspace, sql: str) -> list[tuple[Any, ...]]:
    with open_database(refresh_store(workspace), read_only=True) as database:
        return list(database.rows(sql))


def test_matched_scores_are_rows_the_mean_first_and_what_is_vacuous_has_no_number(workspace: Workspace) -> None:
    rows = ask(workspace, "SELECT finding, value, lo, hi, is_vacuous, share_pairs, matched_on FROM matched")
    assert rows == [
        ("macro", 0.61, 0.61 - 0.0512345, 0.66, None, None, "view+age"),
        ("Edema", 0.61, 0.61 - 0.0512345, 0.66, False, 0.31, "view+age"),
        ("Hernia", None, None, None, True, 0.02, "view+age"),
    ]
    (method,) = {each for (each,) in ask(workspace, "SELECT ci_method FROM matched WHERE value IS NOT NULL")}
    assert method.startswith("95% percentile bootstrap over subjects, ")
    assert ask(workspace, "SELECT ci_method, mark FROM matched WHERE value IS NULL") == [("", "not defined")]


def test_groups_are_rows_small_ones_too(workspace: Workspace) -> None:
    rows = ask(workspace, "SELECT attribute, subgroup, finding, metric, value, num_pos_subjects FROM subgroup")
    assert len(rows) == 4 * 2 * 2
    assert [row[:4] for row in rows[:4]] == [
        ("sex", "female", "macro", "auroc"), ("sex", "female", "macro", "gap"),
        ("sex", "female", "Edema", "auroc"), ("sex", "female", "Edema", "gap"),
    ]  # fmt: skip
    assert {row[4] for row in rows if row[3] == "gap"} == {-0.1}
    assert [row[5] for row in rows if row[1:4] == ("asian", "Edema", "auroc")] == [3]


def test_views_show_means_side_by_side(workspace: Workspace) -> None:
    (run,) = [each for each in evaluations(workspace) if each.scores.matched]
    alike, whole = run.scores.findings["Edema"].auroc.value, 0.9
    hernia = replace(run.scores.findings["Hernia"], auroc=number(0.95))  # defined, and not matched
    scores = replace(run.scores, findings={**run.scores.findings, "Hernia": hernia}, macro_auroc=number(whole))
    publish_evaluation(run.path, run.settings, scores, run.predictions(), None, write_subgroups(run.subgroups()))
    columns = "label, auroc, auroc_of_matched, matched, num_matched, num_vacuous"
    assert ask(workspace, f"SELECT {columns} FROM matched_macro") == [("vanilla", whole, alike, 0.61, 1, 1)]
    assert ask(workspace, "SELECT attribute, subgroup, num_subjects, auroc, gap FROM subgroup_gap") == [
        ("race", "asian", 9, 0.7123456, -0.1), ("race", "white", 130, 0.7123456, -0.1),
        ("sex", "female", 120, 0.7123456, -0.1), ("sex", "male", 80, 0.7123456, -0.1),
    ]  # fmt: skip


def test_the_store_says_what_the_files_of_a_report_say_and_what_a_rebuild_says(workspace: Workspace) -> None:
    report = write_report(workspace, small="show")
    with open(report.folder / "subgroups.csv", encoding="utf-8", newline="") as file:
        in_csv = [(row["group"], row["finding"], float(row["gap"])) for row in csv.DictReader(file)]
    assert ask(workspace, "SELECT subgroup, finding, value FROM subgroup WHERE metric = 'gap'") == in_csv
    sql = [f"SELECT * FROM {table}" for table in ("matched", "subgroup", "matched_macro", "subgroup_gap")]
    folded = [ask(workspace, each) for each in sql]
    rebuild_store(workspace)
    assert [ask(workspace, each) for each in sql] == folded


def evaluations(workspace: Workspace) -> list[Any]:
    return [open_evaluation(workspace.evals / name) for name in workspace.eval_ids()]
