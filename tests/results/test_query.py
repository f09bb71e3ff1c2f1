"""Results: what a workspace holds, what of it is damaged, and which evaluation is best; the same from the store."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.report.write import write_report
from cxrssl.results.query import find_best, measure, read_results
from cxrssl.results.rows import METRICS, DifferenceRow, difference_rows
from cxrssl.results.sql import list_damage, run_query
from cxrssl.results.store import is_store_current, refresh_store
from tests.cli.command import run
from tests.records.folders import make_run
from tests.report.test_report import FINDINGS, make_evaluation


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_run(workspace, "vanilla", range(10))
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "with-sex", features=("sex",), skill=3.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    return workspace


def test_everything_published_is_there_and_what_cannot_be_used_is_named(workspace: Workspace) -> None:
    write_report(workspace)
    broken = workspace.comparisons / "someone's"
    broken.mkdir()
    (workspace.runs / "half").mkdir()
    (workspace.runs / "half/run.json").write_text("{")
    results = read_results(workspace)
    assert [each.run_id for each in results.runs] == ["vanilla"]
    assert [each.settings.candidate_id for each in results.evaluations] == ["untrained", "vanilla", "with-sex"]
    assert len(results.comparisons) == 3
    assert [(each.kind, each.name) for each in results.damage] == [("run", "half"), ("comparison", "someone's")]
    assert results.probed == [("mimic", "official")]
    with open_database(refresh_store(workspace), read_only=True) as database:
        assert sorted(list_damage(database)) == sorted(results.damage)
    notes = run("sql", "SELECT 1", "--results", workspace=workspace.root).stderr.splitlines()
    assert [note.removeprefix("cxrssl: note: ") for note in notes] == sorted(each.sentence for each in results.damage)


def test_the_best_evaluation_is_that_of_the_highest_defined_value(workspace: Workspace) -> None:
    evaluations = read_results(workspace).evaluations
    for metric in METRICS:
        best = find_best(evaluations, metric)
        assert best is not None
        assert measure(best, metric).value == max(measure(each, metric).value for each in evaluations)
    edema = find_best(evaluations, "auprc", "Edema")
    assert edema is not None
    assert edema.settings.candidate_id == "with-sex"
    assert find_best(evaluations, finding="Hernia") is None
    assert find_best(evaluations, finding="no such") is None
    assert find_best([]) is None


def test_the_store_holds_every_number_of_every_comparison(workspace: Workspace) -> None:
    write_report(workspace)
    results = read_results(workspace)
    columns = ", ".join(field.name for field in fields(DifferenceRow))
    with open_database(workspace.store, read_only=True) as database:
        names, rows, _ = run_query(database, f"SELECT {columns} FROM comparison")
    stored = [DifferenceRow(**dict(zip(names, row, strict=True))) for row in rows]
    published = [row for each in results.comparisons for row in difference_rows(each)]
    assert stored == published
    assert len(published) == 3 * len(METRICS) * (1 + len(FINDINGS))


def test_the_store_is_made_again_when_a_comparison_was_published(workspace: Workspace) -> None:
    refresh_store(workspace)
    assert is_store_current(workspace)
    write_report(workspace)
    assert is_store_current(workspace)
    (workspace.comparisons / "another").mkdir()
    assert not is_store_current(workspace)


def test_the_table_of_comparisons_is_listed_with_what_its_columns_mean(workspace: Workspace) -> None:
    listing = json.loads(run("sql", "--results", "--tables", "--json", workspace=workspace.root).stdout)["tables"]
    (table,) = [each for each in listing if each["name"] == "comparison"]
    assert table["comment"].startswith("Paired differences")
    assert {column["name"] for column in table["columns"]} == {field.name for field in fields(DifferenceRow)}
