"""Every cell and every row of the CSV files of a report, held against the records: text as well as numbers."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.records.eval_settings import CandidateSettings, ProbeSettings
from cxrssl.records.published import read_published
from cxrssl.report.choose import Choice
from cxrssl.report.conditions import conditions_as
from cxrssl.report.verify_numbers import KEYS, ByFile, ReportOf, find_wrong_numbers, list_known
from cxrssl.report.write import write_report
from tests.evaluate.test_groups import make_arm
from tests.records.ablations import make_ablation
from tests.report.test_group_tables import make_groups
from tests.report.test_report import make_evaluation

Cells = list[list[str]]
Made = tuple[Path, list[ByFile], ReportOf]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report with every file that has numbers, and the records that it is held against. Not to be written to."""
    workspace = Workspace(tmp_path_factory.mktemp("cells") / "ws").create()
    make_groups(workspace)
    make_ablation(workspace, "one")
    make_arm(workspace, "right", skill=1.5, features=["sex"])
    curve: dict[str, Any] = {"label": "share", "candidate": CandidateSettings(()), "candidate_id": "share"}
    make_evaluation(workspace, "all", **curve)
    for draw in range(2):
        probe = ProbeSettings(num_resamples=100, fraction=0.1, draw=draw)
        make_evaluation(workspace, f"share-{draw}", skill=0.5 + draw, probe=probe, **curve)
    write_report(workspace, choice=Choice(baseline="right-s0"))
    return hold(workspace)


def hold(workspace: Workspace) -> Made:
    """Return the report of a workspace and what it is held against."""
    published = read_published(workspace)
    with conditions_as("hide"):
        known = list_known(workspace, published, "hide")
    return workspace.reports / "latest", known, ReportOf({each.eval_id for each in published.evaluations})


def read(path: Path) -> Cells:
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


def find(made: Made, folder: Path, file: str, cells: Cells) -> list[str]:
    """Return what is wrong of a report in which one file has these cells."""
    with (folder / file).open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened, lineterminator="\n").writerows(cells)
    return find_wrong_numbers(folder, made[1], made[2])


def list_passed(made: Made, folder: Path) -> list[str]:
    """Return the changes of one cell, or of the number of rows, that are not named; `folder` is for copies."""
    passed: list[str] = []
    for file in sorted({each.name for each in made[0].glob("*.csv")} & set(KEYS)):
        shutil.copytree(made[0], folder / file)
        good = read(folder / file / file)
        if "control" in good[0]:  # which is not known of what no run is there of
            good[1:] = sorted(good[1:], key=lambda row: not row[good[0].index("control")])
        changes = {f"column {name}": [good[0], odd(good[1], at), *good[2:]] for at, name in enumerate(good[0])}
        changes["a row less"] = [*good[:1], *good[2:]] if len(good) > 2 else [good[0], odd(good[1], 0)]
        changes["a row twice"] = [*good, good[1]]
        for what, cells in changes.items():
            named = find(made, folder / file, file, cells)
            if len(named) != 1 or not named[0].startswith(file):
                passed.append(f"{file}: {what}: {named}")
        assert find(made, folder / file, file, good) == []
    return passed


def odd(row: list[str], at: int) -> list[str]:
    return [*row[:at], "odd", *row[at + 1 :]]


def test_no_cell_and_no_row_is_changed_unseen(made: Made, tmp_path: Path) -> None:
    files = {each.name for each in made[0].glob("*.csv")}
    assert {"results.csv", "matched.csv", "subgroups.csv", "differences.csv", "seeds.csv", "learning.csv"} <= files
    assert find_wrong_numbers(*made) == []
    assert list_passed(made, tmp_path) == []


def test_the_sentences_name_the_cell_or_the_row(made: Made, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made[0], tmp_path / "copy"))
    good = read(folder / "results.csv")
    eval_id, finding, metric = (good[1][good[0].index(name)] for name in KEYS["results.csv"])
    label = good[0].index("label")
    assert find(made, folder, "results.csv", [good[0], odd(good[1], label), *good[2:]]) == [
        f"results.csv, line 2, says label odd, its record {good[1][label]}"
    ]
    row = f"eval_id {eval_id}, finding {finding}, metric {metric}"
    assert find(made, folder, "results.csv", [good[0], *good[2:]]) == [f"results.csv lacks a row of {row}"]
    assert find(made, folder, "results.csv", [*good, good[1]]) == [f"results.csv has 2 rows of {row}, its record 1"]
    without = [each for each in good if each[good[0].index("eval_id")] != eval_id]
    assert find(made, folder, "results.csv", without) == [f"results.csv lacks a row of {row}"]
    other = odd(good[1], good[0].index("eval_id"))
    assert find(made, folder, "results.csv", [good[0], other, *good[2:]]) == [
        "results.csv, line 2, is of evaluation odd, which the report is not of"
    ]


def test_a_report_of_an_older_version_is_not_wrong_for_columns_and_files_that_it_lacks(
    made: Made, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made[0], tmp_path / "copy"))
    (folder / "matched.csv").unlink()
    for file in ("results.csv", "seeds.csv", "differences.csv"):
        cells = read(folder / file)
        left_out = {cells[0].index(name) for name in ("ci_method", "num_resamples", "mark")}
        kept = [[cell for at, cell in enumerate(row) if at not in left_out] for row in cells]
        assert find(made, folder, file, kept) == []


def test_what_a_later_baseline_adds_to_a_record_is_not_missing(made: Made, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made[0], tmp_path / "copy"))
    cells = read(folder / "seeds.csv")
    at = cells[0].index("against")
    pinned = {row[at] for row in cells[1:] if row[at]}
    assert pinned
    assert find(made, folder, "seeds.csv", [cells[0], *(row for row in cells[1:] if not row[at])]) == []
