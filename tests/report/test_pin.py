"""A report with a pinned baseline subtracts it everywhere, and one without shows nothing of it."""

from __future__ import annotations

import csv
import os
import shlex
import shutil
from pathlib import Path

import pytest

from cxrssl.core.errors import UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.evaluate.averages import name_pinned
from cxrssl.evaluate.groups import compare_groups, group_seeds
from cxrssl.records.group import list_groups
from cxrssl.records.setup import read_setups
from cxrssl.report.choose import Choice
from cxrssl.report.write import Report, write_report
from cxrssl.results.store import refresh_store
from tests.evaluate.test_groups import groups_of, make_arm, make_untrained
from tests.report.test_report import evaluations_of, make_evaluation
from tests.report.test_seed_tables import rows_of

RUN = "shuffled-s1"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("pin") / "ws").create()
    make_arm(workspace, "vanilla", skill=1.0)
    make_arm(workspace, "right", skill=1.5, features=["sex"])
    make_arm(workspace, "shuffled", skill=0.8, features=["sex"], control="shuffled")
    make_untrained(workspace)
    make_evaluation(workspace, "view-only", kind="view-only", features=("view",), skill=0.1)
    make_evaluation(workspace, "elsewhere", cohort="nih", skill=1.0)
    return workspace


@pytest.fixture
def workspace(template: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(shutil.copytree(template.root, tmp_path / "ws"))


def pinned(workspace: Workspace, name: str, has_figures: bool = False) -> Report:
    return write_report(workspace, choice=Choice(baseline=name), has_figures=has_figures)


def test_a_run_that_is_named_stands_for_all_seeds_of_its_setup(workspace: Workspace) -> None:
    report = pinned(workspace, RUN)
    rows, found = rows_of(report, "Means over seeds on cohort mimic"), groups_of(workspace)
    (column,) = [name for name in rows["right"] if name.startswith("AUROC - ")]
    assert column.startswith("AUROC - shuffled")
    expected = compare_groups(found["right"], found["shuffled"]).macro.auroc.interval
    assert rows["right"][column] == expected.to_text(signed=True)
    assert rows["shuffled"][column] == ""
    expected = compare_groups(found["view-only"], found["shuffled"]).macro.auroc.interval
    assert rows["view-only"][column] == expected.to_text(signed=True)


def test_single_evaluations_are_compared_with_the_one_of_their_seed(workspace: Workspace) -> None:
    pinned(workspace, RUN)
    with open(workspace.reports / "latest" / "differences.csv", encoding="utf-8", newline="") as file:
        pairs = {(row["candidate_id"], row["against_id"].partition("-on-")[0]) for row in csv.DictReader(file)}
    assert {(f"right-s{seed}", f"shuffled-s{seed}") for seed in range(3)} <= pairs


def test_forests_show_differences_to_it_alone(workspace: Workspace) -> None:
    report = pinned(workspace, RUN, has_figures=True)
    forests = [figure for figure in report.document.figures if figure.name.startswith("forest-")]
    assert forests
    for figure in forests:
        svg = figure.svg.decode()
        assert "Minus untrained" not in svg
        assert "view-only" not in svg
        assert "shuffled" in svg


def test_the_command_and_the_choice_are_in_the_report(workspace: Workspace) -> None:
    report = pinned(workspace, RUN)
    assert f"- **Command:** `cxrssl report --baseline {RUN} --no-figures`" in report.markdown
    assert "- **Baseline:** shuffled" in report.markdown
    assert "3 seeds; chosen for this report, and not declared before" in report.markdown


def test_tables_of_other_films_say_that_it_was_not_scored_there(workspace: Workspace) -> None:
    report = pinned(workspace, RUN)
    (table,) = [each for each in report.document.tables if each.title.startswith("Probe on cohort nih")]
    assert "The pinned baseline, shuffled" in table.note
    assert not [column for column in table.columns if column.startswith("AUROC - ")]


def test_reports_with_and_without_it_give_the_same_bytes_again(workspace: Workspace) -> None:
    before = files_of(write_report(workspace).folder)
    first = files_of(pinned(workspace, RUN).folder)
    assert first != before
    after = files_of(write_report(workspace).folder)
    assert {name for name in before if before[name] != after[name]} <= {"differences.csv"}  # what is published grew
    made = {path: os.stat(path).st_mtime_ns for path in workspace.groups.iterdir()}
    assert files_of(pinned(workspace, RUN).folder) == first
    assert {path: os.stat(path).st_mtime_ns for path in workspace.groups.iterdir()} == made, "resampled again"


def test_csv_and_store_name_what_was_pinned(workspace: Workspace) -> None:
    report = pinned(workspace, RUN)
    with open(report.folder / "seeds.csv", encoding="utf-8", newline="") as file:
        in_csv = {row["against"] for row in csv.DictReader(file)} - {""}
    assert {name for name in in_csv if name.startswith("baseline")} == {"baseline shuffled (vit-tiny, 3 epochs)"}
    with open_database(refresh_store(workspace), read_only=True) as database:
        in_store = {name for (name,) in database.rows("SELECT DISTINCT against FROM seed_mean WHERE against <> ''")}
    assert in_store == in_csv


def test_baselines_that_are_called_alike_keep_their_ids_in_the_store(workspace: Workspace) -> None:
    make_arm(workspace, "again", skill=0.8, label="shuffled", features=["age"], control="shuffled")
    groups = group_seeds(evaluations_of(workspace), read_setups(workspace))
    assert len({each.name for each in groups}) < len(groups)
    assert len(set(name_pinned(groups).values())) == len(groups)


def test_a_second_pin_keeps_the_first(workspace: Workspace) -> None:
    pinned(workspace, RUN)
    pinned(workspace, "vanilla-s0")
    against = {name for each in list_groups(workspace)[0] for name in each.settings.against}
    assert sum(name.startswith("baseline ") for name in against) == 2


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("nobody", 'no run, arm or setup "nobody" to subtract as the baseline'),
        ("elsewhere", 'baseline "elsewhere" was not scored on the films and labels of this report'),
        ("v", 'baseline "v" is several setups'),
    ],
)
def test_a_name_of_nothing_of_other_films_or_of_several_setups_is_refused(
    workspace: Workspace, name: str, what: str
) -> None:
    with pytest.raises(UsageError) as caught:
        write_report(workspace, choice=Choice(cohort="mimic", baseline=name))
    assert caught.value.what == what
    assert not (workspace.reports / "latest").exists()


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_the_command_of_hostile_names_is_printable_words() -> None:
    words = Choice(runs=("a b", "\x1b[31m"), baseline="$(rm -rf ~) `x` \u202e", cohort="--help").to_words()
    assert all(word.isprintable() for word in words)
    assert [shlex.split(word)[0] for word in words[:3] if "$'" not in word] == ["--runs", "--cohort"]
