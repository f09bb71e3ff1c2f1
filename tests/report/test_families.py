"""Differences by finding: a number that is left after Holm's adjustment has its mark, in Markdown, CSV and store."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import group_evaluations, list_pairs, publish_comparisons
from cxrssl.report.cells import Estimate
from cxrssl.report.difference_tables import difference_table
from cxrssl.report.formats.csv import write_csv
from cxrssl.report.tables import ReportTable
from cxrssl.report.write import write_report
from cxrssl.stats.holm import adjust, p_of_interval
from cxrssl.stats.scores import Comparison, compare_predictions
from tests.evaluate.test_groups import groups_of, make_arm, make_untrained
from tests.report.test_report import evaluations_of, make_evaluation


def compare_two() -> Comparison:
    """Return a difference of two findings, of which the first alone differs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (300, 2))
    good, bad = labels + rng.normal(size=labels.shape), rng.normal(size=labels.shape)
    good[:, 1] = bad[:, 1] + 0.01 * rng.normal(size=300)
    return compare_predictions(good, bad, labels, np.arange(300), ["Edema", "Mass"], num_resamples=200)


def test_findings_that_differ_after_holm_have_the_mark_at_their_number(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    (group,) = group_evaluations(evaluations_of(workspace))
    (pair,) = publish_comparisons(workspace, list_pairs(group))
    made = compare_two()
    table = difference_table(group, {pair: made})
    assert list(table.columns) == ["Finding", "vanilla (vit-tiny, 3 epochs, seed 0, vanilla) - untrained"]
    (edema_name, edema), (mass_name, mass) = table.texts()
    assert (edema_name, mass_name) == ("Edema", "Mass")
    assert edema == made.findings["Edema"].auroc.to_text(signed=True) + "^"
    assert mass == made.findings["Mass"].auroc.to_text(signed=True)
    assert table.note == "^: differs at 0.05 when p is adjusted for the number of findings of its column (Holm 1979)."
    rows = list(csv.DictReader(write_csv(table).splitlines()))
    p_values = [p_of_interval(each.auroc) for each in made.findings.values()]
    assert [float(row[f"{table.columns[1]} p_holm"]) for row in rows] == adjust(p_values)


def test_a_table_without_a_difference_is_left_out(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "view-only", kind="view-only", features=("view",))
    report = write_report(workspace)
    assert "Differences in AUROC by finding" not in report.markdown
    assert not (report.folder / "differences.csv").exists()


def test_every_paired_difference_is_in_a_csv_with_both_p_values(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    report = write_report(workspace)
    with open(report.folder / "differences.csv") as file:
        rows = {(row["finding"], row["metric"]): row for row in csv.DictReader(file)}
    assert set(rows) == {(name, metric) for name in ("macro", "Edema", "Hernia") for metric in ("auroc", "auprc")}
    macro, edema, hernia = (rows[name, "auroc"] for name in ("macro", "Edema", "Hernia"))
    assert (macro["p_holm"], hernia["p"], hernia["p_holm"], hernia["ci_method"]) == ("", "", "", "")
    assert edema["p"] == edema["p_holm"]  # the only one of its family
    assert (float(edema["p"]) < 0.05) == (float(edema["lo"]) > 0)


def test_means_over_seeds_have_p_values_of_students_t(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_arm(workspace, "vanilla", seeds=(0, 1), skill=2.0)
    make_untrained(workspace, seeds=(0, 1))
    report = write_report(workspace)
    assert "## Differences in AUROC by finding, means over seeds" in report.markdown
    with open(report.folder / "seeds.csv") as file:
        rows = [row for row in csv.DictReader(file) if (row["label"], row["finding"]) == ("vanilla", "Edema")]
    score, difference = (next(row for row in rows if row["against"] == name) for name in ("", "untrained"))
    assert (score["p"], score["p_holm"]) == ("", "")
    assert float(difference["p"]) == float(difference["p_holm"]) > 0
    assert (float(difference["p"]) < 0.05) == (float(difference["lo"]) > 0)
    assert groups_of(workspace)["vanilla"].num_seeds == 2


@pytest.mark.parametrize(("p_holm", "columns"), [(math.nan, 4), (0.2, 5)])
def test_a_csv_has_a_column_of_p_values_where_there_is_one(p_holm: float, columns: int) -> None:
    cell = Estimate(compare_two().macro_auroc, is_difference=True, p_holm=p_holm)
    lines = write_csv(ReportTable("T", ["a", "b"], [["x", cell]])).splitlines()
    assert {len(line.split(",")) for line in lines} == {columns}
