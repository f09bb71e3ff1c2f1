"""What a report is about when runs, a cohort or an ablation are named, and when unfinished runs are left out."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from cxrssl.core.errors import CxrsslError, DataError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.records.published import read_published
from cxrssl.report.choose import Choice, describe_choice, narrow
from cxrssl.report.facts import format_time
from cxrssl.report.write import Report, write_report
from tests.evaluate.test_groups import make_arm, make_untrained
from tests.records.folders import make_run
from tests.report.test_report import make_evaluation


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    for name, end in (("right", "finish"), ("wrong", "fail"), ("begun", "")):
        make_run(workspace, name, range(2), end=end)
    make_evaluation(workspace, "right", skill=2.0)
    make_evaluation(workspace, "wrong", skill=1.0)
    make_evaluation(workspace, "elsewhere", cohort="nih", skill=1.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    make_evaluation(workspace, "pixels", kind="pixels", skill=0.5, cohort="nih")
    (workspace.runs / "torn").mkdir()
    (workspace.runs / "torn" / "run.json").write_text("{")
    return workspace


def scored(report: Report) -> set[str]:
    with open(report.folder / "results.csv", encoding="utf-8", newline="") as file:
        return {row["candidate_id"] for row in csv.DictReader(file)}


def runs_of(report: Report) -> set[str]:
    return {row[0] for table in report.document.tables if table.title == "Runs" for row in table.texts()}


def test_runs_that_are_named_stand_beside_the_baselines_on_their_films(workspace: Workspace) -> None:
    report = write_report(workspace, choice=Choice(runs=("righ",)))
    assert scored(report) == {"right", "untrained"}
    assert runs_of(report) == {"right"}
    assert "- **Reported:** runs righ" in report.markdown
    assert "wrong" not in report.markdown


def test_a_cohort_that_is_named_is_reported_alone(workspace: Workspace) -> None:
    report = write_report(workspace, choice=Choice(cohort="nih"))
    assert scored(report) == {"elsewhere", "pixels"}
    assert runs_of(report) == set()
    assert report.document.title == "Report on cohort nih"


def test_runs_that_did_not_finish_are_left_out_and_counted(workspace: Workspace) -> None:
    whole = write_report(workspace)
    assert {"right", "wrong", "begun"} == runs_of(whole)
    assert "run torn: run.json is not JSON" in whole.markdown
    report = write_report(workspace, choice=Choice(is_finished=True))
    assert runs_of(report) == {"right"}
    assert scored(report) == {"right", "elsewhere", "untrained", "pixels"}
    assert "without 3 runs that did not finish" in report.markdown
    assert "torn" not in report.markdown


@pytest.mark.parametrize(
    ("choice", "kind", "what"),
    [
        (Choice(runs=("rihgt",)), UsageError, 'no run "rihgt" in this workspace'),
        (Choice(cohort="nhi"), UsageError, 'nothing is published of cohort "nhi"'),
        (Choice(ablation="x"), UsageError, 'no ablation "x" with a table in this workspace'),
        (Choice(runs=("begun",)), DataError, "nothing of what was chosen was probed yet"),
    ],
)
def test_what_is_not_there_is_refused(workspace: Workspace, choice: Choice, kind: type[CxrsslError], what: str) -> None:
    with pytest.raises(kind, match=what):
        write_report(workspace, choice=choice)


def test_a_mean_is_over_all_seeds_whichever_run_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_arm(workspace, "vanilla", seeds=(0, 1, 2))
    make_untrained(workspace, seeds=(0, 1, 2))
    published = read_published(workspace)
    run = next(each.settings.run_id for each in published.evaluations if each.settings.kind == "run")
    report = write_report(workspace, choice=Choice(runs=(run,)))
    (means,) = [table for table in report.document.tables if table.title.startswith("Means over seeds")]
    assert means.texts()[0][1] == "0, 1, 2"
    (single,) = [table for table in report.document.tables if table.title.startswith("Probe on")]
    assert sum(row[0].startswith("vanilla") for row in single.texts()) == 1


def test_all_is_all(workspace: Workspace) -> None:
    published = read_published(workspace)
    assert narrow(published, Choice()) is published
    assert describe_choice(published, Choice()) == "all that is published"
    assert Choice(("a",), "b").to_dict() == {"runs": ["a"], "cohort": "b"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (196, "3 min 16 s"), (3900, "1 h 05 min")]
)
def test_times_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert format_time(seconds) == text
