"""The table of an ablation: what is compared with what, what is primary, what is left out, what a reader gets."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrssl.ablate.grid import Grid, load_grid
from cxrssl.ablate.table import make_table
from cxrssl.cli.ablate import describe_table
from cxrssl.core.errors import DataError, IntegrityError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.groups import SeedGroup, compare_groups
from cxrssl.records.ablation import AblationTable, list_ablations, open_ablation, publish_table
from cxrssl.records.evaluation import Evaluation
from tests.ablate.test_contract import BEGAN
from tests.report.test_report import evaluations_of, make_evaluation

GRID = """
question = "Which is best?"
recipe = "demo"
seeds = [7, 2]
cohorts = ["mimic"]
[primary]
arm = "right"
against = "wrong"
[arms.vanilla]
ehr.features = []
[arms.right]
ehr.features = ["sex"]
[arms.wrong]
ehr.features = ["sex"]
ehr.control = "shuffled"
"""
COHORTS = {f"{arm} on mimic": "mimic" for arm in ("vanilla", "right", "wrong")}
Found = dict[tuple[str, int], Evaluation]


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    (tmp_path / "study.toml").write_text(GRID)
    return load_grid(str(tmp_path / "study.toml"))


@pytest.fixture
def found(tmp_path: Path) -> Found:
    workspace = Workspace(tmp_path / "ws").create()
    for arm, skill in (("vanilla", 1.0), ("right", 2.0), ("wrong", 0.5)):
        for seed in (7, 2):
            make_evaluation(workspace, f"{arm}-s{seed}", skill=skill)
    by_name = {each.settings.candidate_id: each for each in evaluations_of(workspace)}
    return {
        (f"{arm} on mimic", seed): by_name[f"{arm}-s{seed}"] for arm in ("vanilla", "right", "wrong") for seed in (7, 2)
    }


def test_the_primary_comparison_is_first_and_every_other_one_is_exploratory(grid: Grid, found: Found) -> None:
    table = make_table(grid, COHORTS, found)
    assert [(each.arm, each.against, each.why) for each in table.differences.values()] == [
        ("right", "wrong", "primary"), ("right", "vanilla", "baseline"), ("wrong", "vanilla", "baseline"),
    ]  # fmt: skip
    assert table.primary is table.differences["0000"]
    lines = describe_table(table)
    assert lines[0] == "Which is best?"
    assert lines[1].startswith("primary comparison, declared beforehand: right - wrong on mimic, macro AUROC +")
    assert sum("right" in line and "wrong" in line for line in lines) == 1
    assert "all others are exploratory:" in lines


def test_folds_and_what_pretraining_saw_stand_beside_the_numbers(grid: Grid, found: Found) -> None:
    assert make_table(grid, COHORTS, found).remarks == ()
    probe = replace(found["vanilla on mimic", 2].settings.probe, folds=5)
    said: dict[str, dict[str, Any]] = {
        "right on mimic": {"transductive": "3 test films"},
        "wrong on mimic": {"leak": "3 test films"},
    }
    changed = {
        (name, seed): replace(each, settings=replace(each.settings, probe=probe, **said.get(name, {})))
        for (name, seed), each in found.items()
    }
    table = make_table(grid, COHORTS, changed)
    assert table.remarks == (
        "every film is scored by a probe of the other folds: 5 folds of cohort mimic",
        "right on mimic is transductive: pretraining saw films that are scored, without their labels",
        "wrong on mimic is no fair test: its evaluation names a leak",
    )
    assert f"note: {table.remarks[1]}" in describe_table(table)


def test_numbers_are_those_of_the_groups_of_seeds(grid: Grid, found: Found) -> None:
    table = make_table(grid, COHORTS, found)
    right, wrong = (
        SeedGroup(arm, tuple(found[f"{arm} on mimic", seed] for seed in (2, 7)), (2, 7)) for arm in ("right", "wrong")
    )
    expected = compare_groups(right, wrong).find("auroc")
    primary = table.differences["0000"].auroc
    assert (primary.value, primary.lo, primary.hi, primary.sd_seeds) == (
        expected.value, expected.lo, expected.hi, expected.sd_seeds,
    )  # fmt: skip
    macro = [found["right on mimic", seed].scores.macro_auroc.value for seed in (2, 7)]
    row = table.rows["0001"]
    assert row.auroc.by_seed == {"2": pytest.approx(macro[0]), "7": pytest.approx(macro[1])}
    assert row.auroc.value == pytest.approx(sum(macro) / 2)
    assert (row.num_films, row.num_subjects, row.num_seeds) == (60, 30, 2)


def test_an_arm_whose_runs_are_not_all_done_is_named_and_compared_with_nothing(grid: Grid, found: Found) -> None:
    del found["right on mimic", 2]
    table = make_table(grid, COHORTS, found)
    assert table.missing == ("right on mimic, seed 2",)
    assert [(each.arm, each.against) for each in table.differences.values()] == [("wrong", "vanilla")]
    assert table.primary is None
    assert table.rows["0001"].num_seeds == 1
    lines = describe_table(table)
    assert "primary comparison: not made, because runs of its arms are missing" in lines
    assert "missing: right on mimic, seed 2" in lines
    assert lines.index("one seed: says nothing about the method") > 0
    right = next(line for line in lines if line.startswith("right"))
    assert right.endswith(f" {table.rows['0001'].auroc.value:.3f} -")
    none = make_table(grid, COHORTS, {})
    assert none.rows["0000"].num_seeds == 0
    assert len(none.missing) == 6
    assert describe_table(none)


def test_the_baseline_is_compared_with_its_untrained_encoders(grid: Grid, found: Found) -> None:
    untrained = {("vanilla on mimic", seed): found["wrong on mimic", seed] for seed in (7, 2)}
    untrained |= {("right on mimic", seed): found["wrong on mimic", seed] for seed in (7, 2)}
    table = make_table(grid, COHORTS, found, untrained)
    assert [row.arm for row in table.rows.values()] == ["vanilla", "right", "wrong", "untrained"]
    assert table.rows["0003"].auroc == table.rows["0002"].auroc
    last = table.differences["0003"]
    assert (last.arm, last.against, last.why) == ("vanilla", "untrained", "untrained")
    assert last.auroc.value == pytest.approx(-table.differences["0002"].auroc.value)


def test_what_is_printed_is_the_metric_of_the_primary_comparison(grid: Grid, found: Found) -> None:
    table = replace(make_table(grid, COHORTS, found), metric="auprc")
    lines = describe_table(table)
    assert any(line.split()[:4] == ["arm", "cohort", "seeds", "AUPRC"] for line in lines)
    assert any(line.split()[:4] == ["arm", "minus", "cohort", "AUPRC"] for line in lines)
    assert any(line.endswith("by seed 7, 2") for line in lines)
    right = table.rows["0001"].auprc
    row = next(line for line in lines if line.startswith("right"))
    assert right.interval.to_text() in row
    assert row.endswith(f"{right.by_seed['7']:.3f} {right.by_seed['2']:.3f}")
    assert "AUROC" not in "".join(lines)


def test_evaluations_on_other_terms_are_not_put_side_by_side(grid: Grid, found: Found) -> None:
    key = "wrong on mimic", 7
    found[key] = replace(found[key], settings=replace(found[key].settings, cohort_sha256="other"))
    with pytest.raises(DataError, match="not made on the same films and labels in the same way"):
        make_table(grid, COHORTS, found)


def test_what_is_published_is_read_back_as_it_was_with_a_csv_of_each_table(
    grid: Grid, found: Found, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "ws")
    folder, table = workspace.ablations / "study", make_table(grid, COHORTS, found)
    publish_table(folder, BEGAN, table)
    ablation = open_ablation(folder)
    assert (ablation.name, ablation.contract, ablation.table) == ("study", BEGAN, table)
    rows = read_csv(folder / "table" / "rows.csv")
    assert [row["arm"] for row in rows] == ["vanilla", "right", "wrong"]
    assert float(rows[1]["auroc_seed_7"]) == table.rows["0001"].auroc.by_seed["7"]
    differences = read_csv(folder / "table" / "differences.csv")
    assert [row["why"] for row in differences] == ["primary", "baseline", "baseline"]
    assert float(differences[0]["auroc_lo"]) == table.differences["0000"].auroc.lo
    assert list_ablations(workspace) == ([ablation], [])


def test_a_table_of_which_nothing_is_defined_is_read_back(grid: Grid, tmp_path: Path) -> None:
    folder = tmp_path / "ws" / "ablations" / "study"
    publish_table(folder, BEGAN, make_table(grid, COHORTS, {}))
    table = open_ablation(folder).table
    assert table.rows["0000"].auroc.interval.to_text() == "not defined"
    assert read_csv(folder / "table" / "rows.csv")[0]["auroc_value"] == ""


def test_a_damaged_table_is_named(grid: Grid, found: Found, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    folder = workspace.ablations / "study"
    publish_table(folder, BEGAN, make_table(grid, COHORTS, found))
    path = folder / "table" / "table.json"
    path.write_bytes(path.read_bytes().replace(b"Which", b"Whose"))
    with pytest.raises(IntegrityError, match=r"table.json is damaged"):
        open_ablation(folder)
    found_ones, (damage,) = list_ablations(workspace)
    assert found_ones == []
    assert damage.sentence.startswith("ablation study: table.json is damaged")


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_a_table_made_by_hand_has_its_primary_comparison_or_none() -> None:
    assert AblationTable("", "auroc", 0.0, (), {}, {}, ()).primary is None
