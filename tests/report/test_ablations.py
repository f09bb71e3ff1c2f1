"""What a report says of ablations: the primary comparison first, arms, exploratory differences, and all as CSV."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from cxrssl.cli.ablate import describe_table
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.records.ablation import DIFFERENCES_CSV, PRIMARY, TABLE, DifferenceRow, open_ablation, place_name
from cxrssl.report.small import SmallCells
from cxrssl.report.write import Report, write_report
from cxrssl.results.store import is_store_current, refresh_store
from cxrssl.stats.holm import adjust
from tests.records.ablations import NOTHING, make_ablation, make_number
from tests.report.test_report import make_evaluation


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "view-only", kind="view-only", features=("view",))
    return workspace


def section_of(report: Report) -> list[str]:
    """Return the lines of the section, cells without what pads them."""
    text = report.markdown.partition("## Ablations\n")[2].partition("\n## ")[0]
    return ["|".join(cell.strip() for cell in line.split("|")) for line in text.splitlines()]


def rows_of(report: Report) -> list[dict[str, str]]:
    with open(report.folder / "ablations.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_without_an_ablation_nothing_is_said_of_them(workspace: Workspace) -> None:
    report = write_report(workspace)
    assert "blation" not in report.markdown
    assert not (report.folder / "ablations.csv").exists()


def test_the_primary_comparison_stands_before_the_arms_and_those_before_what_is_exploratory(
    workspace: Workspace,
) -> None:
    make_ablation(workspace, "study", remarks=("right on mimic is transductive",))
    lines = section_of(write_report(workspace))
    wanted = [
        "### Ablation study",
        "Which is best?",
        "**Primary comparison, declared beforehand: right - wrong on mimic, macro AUROC +0.062 \\[+0.000, +0.125\\]**",
        "Seeds: 7, 2. Smallest difference that would matter: 0.01.",
        "#### Arms of ablation study",
        "|Arm|Cohort|Seeds|AUROC|SD|Films|Subjects|",
        "|right|mimic|2|**0.750 [0.688, 0.812]**|0.022|206|103|",
        "#### Exploratory differences of ablation study",
        "|Arm|Minus|Cohort|Minus is|AUROC|SD|Seeds|",
        "|right|vanilla|mimic|baseline|+0.031 [-0.031, +0.094]|0.022|2|",
        "- note: right on mimic is transductive",
    ]
    assert [line for line in lines if line in wanted] == wanted
    assert sum(line.startswith("|right|wrong|") for line in lines) == 0


def test_every_number_is_in_the_csv_and_primary_is_only_the_metric_that_was_declared(workspace: Workspace) -> None:
    for name in ("first", "second"):
        make_ablation(workspace, name)
    rows = rows_of(write_report(workspace))
    assert [row["ablation"] for row in rows] == ["first"] * 12 + ["second"] * 12
    assert [(row["arm"], row["against"], row["metric"], row["why"]) for row in rows[4:8]] == [
        ("wrong", "", "auroc", ""), ("wrong", "", "auprc", ""),
        ("right", "wrong", "auroc", "primary"), ("right", "wrong", "auprc", "exploratory"),
    ]  # fmt: skip
    primary, number = rows[6], make_number(0.0625)
    assert [float(primary[key]) for key in ("value", "lo", "hi", "sd_seeds")] == [0.0625, 0.0, 0.125, number.sd_seeds]
    assert (primary["num_seeds"], primary["seeds"]) == ("2", "7,2")
    assert [float(each) for each in primary["by_seed"].split(",")] == [number.by_seed["7"], number.by_seed["2"]]
    assert (primary["num_films"], primary["num_subjects"]) == ("206", "103")


def test_all_differences_but_the_primary_comparison_are_adjusted_for_their_number(workspace: Workspace) -> None:
    sure, unsure, primary = (replace(make_number(value), freedom=2.0) for value in (0.5, 1 / 64, 0.0625))
    rows = [DifferenceRow("right", "wrong", "mimic", PRIMARY, primary, primary)]
    rows += [DifferenceRow(arm, "vanilla", "mimic", "baseline", each, each) for arm, each in
             (("right", sure), ("wrong", unsure))]  # fmt: skip
    folder = make_ablation(workspace, "study", differences={place_name(place): row for place, row in enumerate(rows)})
    report = write_report(workspace)
    found = {(row["arm"], row["against"], row["metric"]): row for row in rows_of(report) if row["against"]}
    declared, other = (found["right", "wrong", metric] for metric in ("auroc", "auprc"))
    assert float(declared["p"]) == pytest.approx(0.05, rel=1e-4)
    assert declared["p_holm"] == ""
    family = [found[arm, "vanilla", "auroc"] for arm in ("right", "wrong")]
    assert [float(row["p_holm"]) for row in family] == adjust([float(row["p"]) for row in family])
    three = [other, *(found[arm, "vanilla", "auprc"] for arm in ("right", "wrong"))]
    assert [float(row["p_holm"]) for row in three] == adjust([float(row["p"]) for row in three])
    assert {(row["p"], row["p_holm"]) for row in rows_of(report) if not row["against"]} == {("", "")}
    lines = section_of(report)
    assert "|right|vanilla|mimic|baseline|+0.500 [+0.438, +0.562]^|0.022|2|" in lines
    assert "|wrong|vanilla|mimic|baseline|+0.016 [-0.047, +0.078]|0.022|2|" in lines
    legend = "^: differs at 0.05 when p is adjusted for the number of differences that are not primary (Holm 1979)."
    assert f"- {legend}" in lines
    printed = describe_table(open_ablation(folder).table)
    assert legend in printed
    assert sum("]^" in line for line in printed) == 1
    with open(folder / "table" / DIFFERENCES_CSV) as file:
        own = {(row["arm"], row["against"]): row for row in csv.DictReader(file)}
    assert own["right", "vanilla"]["auroc_p_holm"] == found["right", "vanilla", "auroc"]["p_holm"]
    assert own["right", "wrong"]["auroc_p_holm"] == ""


def test_an_ablation_with_missing_runs_says_which_and_makes_no_primary_comparison(workspace: Workspace) -> None:
    other = DifferenceRow("right", "vanilla", "mimic", "baseline", make_number(0.1), NOTHING)
    make_ablation(workspace, "study", differences={"0000": other}, missing=("wrong on mimic, seed 2",))
    report = write_report(workspace)
    lines = section_of(report)
    assert "**Primary comparison: not made, because runs of its arms are missing**" in lines
    assert "- missing: wrong on mimic, seed 2" in lines
    rows = rows_of(report)
    assert PRIMARY not in {row["why"] for row in rows}
    assert [(row["value"], row["mark"], row["by_seed"]) for row in rows[-1:]] == [("", "not defined", "")]


def test_an_ablation_without_a_table_and_one_that_is_damaged_are_named_and_left_out(workspace: Workspace) -> None:
    make_ablation(workspace, "good")
    (workspace.ablations / "begun").mkdir()
    path = make_ablation(workspace, "bad") / "table" / TABLE
    path.write_bytes(path.read_bytes().replace(b"0.75", b"0.95"))
    report = write_report(workspace)
    lines = section_of(report)
    assert "Left out, as there is no table of them yet: begun." in lines
    assert [line for line in lines if line.startswith("### ")] == ["### Ablation good"]
    assert [each.sentence for each in report.damage] == [
        "ablation bad: table.json is damaged: its SHA-256 does not match the manifest"
    ]
    assert "- ablation bad: table.json is damaged" in report.markdown
    assert {row["ablation"] for row in rows_of(report)} == {"good"}


def test_a_table_of_another_metric_is_damage(workspace: Workspace) -> None:
    make_ablation(workspace, "study", metric="name")
    (damage,) = write_report(workspace).damage
    assert damage.sentence == 'ablation study: table.json has no known word in "metric"'


@pytest.mark.parametrize(("small", "subjects", "value"), [("hide", "under 10", "0.688"), ("show", "9", "0.6875")])
def test_small_cells_and_digits_that_tell_them_are_hidden(
    workspace: Workspace, small: SmallCells, subjects: str, value: str
) -> None:
    make_ablation(workspace, "study", num_subjects=9)
    report = write_report(workspace, small=small)
    (arm,) = [line for line in section_of(report) if line.startswith("|wrong|mimic|")]
    assert arm.split("|")[-2] == subjects
    rows = rows_of(report)
    assert {row["num_subjects"] for row in rows} == {subjects}
    assert [row["value"] for row in rows if (row["arm"], row["against"], row["metric"]) == ("wrong", "", "auroc")] == [
        value
    ]
    assert (rows[4]["by_seed"] == "0.703125,0.671875") == (small == "show")


def test_words_of_a_grid_break_no_table_and_become_no_markup(workspace: Workspace) -> None:
    make_ablation(workspace, "study", question="# *Which*\n| is <b>best</b>?", remarks=("=1+1 [x](http://y)",))
    text = write_report(workspace).markdown
    assert r"\# \*Which\*" in text
    assert "<b>" not in text
    assert r"- note: =1+1 \[x\](http\://y)" in text


def test_an_ablation_that_was_published_since_makes_the_store_anew_with_its_damage(workspace: Workspace) -> None:
    refresh_store(workspace)
    (make_ablation(workspace, "study") / "table" / TABLE).write_bytes(b"{}")
    assert not is_store_current(workspace)
    with open_database(refresh_store(workspace), read_only=True) as database:
        assert database.rows("SELECT kind, name FROM damage") == [("ablation", "study")]
