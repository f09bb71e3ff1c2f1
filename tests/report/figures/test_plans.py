"""Figures of a workspace: which there are, what they show, what they hide, and when they change."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.groups import SeedGroup
from cxrssl.records.imported import Imported
from cxrssl.records.subgroups import SUBGROUPS, Subgroup, write_subgroups
from cxrssl.report.figures.forest import ForestRow
from cxrssl.report.figures.list import plan_figures
from cxrssl.report.figures.plan import Material, Plan, explain_missing, is_installed
from cxrssl.report.figures.plan_forests import explain, plan_forests
from cxrssl.report.figures.plan_gaps import plan_gaps
from cxrssl.report.figures.plan_roc import plan_roc
from cxrssl.report.figures.roc import RocFigure
from cxrssl.report.figures.series import name_series, pick_series
from cxrssl.report.figures.terms import count_subjects
from cxrssl.stats.metrics import auroc
from cxrssl.stats.resample import Interval
from cxrssl.stats.subgroups import MACRO, SubgroupScore
from tests.evaluate.test_groups import make_arm, make_untrained
from tests.report.figures.material import make_material
from tests.report.figures.svg import check_layout, texts_of
from tests.report.test_report import make_evaluation


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("figures") / "ws").create()
    make_arm(workspace, "vanilla", skill=1.0)
    make_arm(workspace, "right", skill=1.5, features=["sex"])
    make_arm(workspace, "shuffled", skill=0.8, features=["sex"], control="shuffled")
    make_untrained(workspace)
    make_evaluation(workspace, "view-only", kind="view-only", features=("view",), skill=0.1)
    return workspace


@pytest.fixture(scope="module")
def material(seeds: Workspace) -> Material:
    return make_material(seeds)


SIZES = (("sex", "male", 25), ("sex", "female", 26), ("age", "20-39", 7), ("age", "80+", 44))
"""Attribute, group and subjects."""


def find(plans: list[Plan], beginning: str) -> Plan:
    (plan,) = [plan for plan in plans if plan.name.startswith(beginning)]
    return plan


def test_forest_has_a_section_for_each_reference_and_the_numbers_of_the_groups(material: Material) -> None:
    plan = find(plan_forests(material), "forest-mimic")
    svg = plan.make(["svg"]).svg
    check_layout(svg)
    shown = texts_of(svg)
    assert {"Minus untrained", "Minus vanilla", "Minus shuffled record"} <= set(shown)
    (table,) = material.tables
    right = next(group for group in table if group.label == "right")
    record = material.averages[right.group_id]
    assert not isinstance(record, str)
    for name in ("untrained", "vanilla", "shuffled"):
        wanted = record.numbers.differences[name].macro.auroc.interval.to_text(signed=True)
        assert wanted.replace("-", "−") in shown
        assert wanted in plan.alt
    assert shown.count("3") == 6  # seeds


def test_forest_by_finding_has_the_mean_and_the_findings_that_are_defined(material: Material) -> None:
    plans = [plan for plan in plan_forests(material) if plan.name.startswith("forest-findings")]
    titles = [plan.title for plan in plans]
    assert any("vanilla (vit-tiny, 3 epochs, 3 seeds) minus untrained" in title for title in titles)
    assert any("right (vit-tiny, 3 epochs, 3 seeds) minus vanilla" in title for title in titles)
    shown = texts_of(plans[0].make(["svg"]).svg)
    assert {"Mean over findings", "Edema", "subjects with / without"} <= set(shown)
    assert any("Not defined: " in text for text in shown)


def test_roc_shows_means_over_seeds_whose_area_is_the_mean_auroc(material: Material) -> None:
    plan, _ = plan_roc(material)
    check_layout(plan.make(["svg"]).svg)
    figure = plan.collect()
    assert isinstance(figure, RocFigure)
    (panel,) = figure.panels
    group = pick_series(material.tables[0], [])[0]
    assert panel.lines[0] is not None
    area = np.trapezoid(panel.lines[0].y, figure.x)
    wanted = np.mean([_auroc(group, k) for k in range(3)])
    assert area == pytest.approx(wanted, abs=0.01)
    assert panel.lines[0].interval.value == pytest.approx(wanted, abs=5e-4)
    first, second = panel.lines[:2]
    assert first is not None
    assert second is not None
    assert all(low <= y <= high for low, y, high in zip(first.low, first.y, first.high, strict=True))
    assert second.low == ()


def _auroc(group: SeedGroup, place: int) -> float:
    predictions = group.evaluations[place].predictions()
    return auroc(predictions.logits[:, 0], predictions.labels[:, 0])


def test_series_are_chosen_by_the_order_of_the_table_with_what_they_must_beat(material: Material) -> None:
    picked = pick_series(material.tables[0], [])
    assert [group.label for group in picked] == ["vanilla", "right", "random vit-tiny"]


def test_findings_with_a_small_cell_have_no_curve_and_are_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "run")
    shown = make_material(workspace)
    table = [list(map(_with_few, group)) for group in shown.tables]
    few = replace(shown, tables=table)
    assert len(plan_roc(few)) == 2
    assert plan_roc(replace(few, small="hide")) == []
    score = table[0][0].evaluations[0].scores.findings["Edema"]
    assert count_subjects(score, "hide") == "under 10 / about 20"


def _with_few(group: SeedGroup) -> SeedGroup:
    (evaluation,) = group.evaluations
    findings = {name: replace(score, num_pos_subjects=7) for name, score in evaluation.scores.findings.items()}
    return replace(group, evaluations=(replace(evaluation, scores=replace(evaluation.scores, findings=findings)),))


def test_gaps_have_a_section_for_each_attribute_and_leave_out_small_groups(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "run")
    material = make_material(workspace)
    groups = [
        Subgroup(attribute, name, (SubgroupScore(MACRO, Interval(0.7, 0.6, 0.8, 10), gap, 60, num),))
        for attribute, name, num in (
            ("sex", "male", 25),
            ("sex", "female", 26),
            ("age", "20-39", 7),
            ("age", "80+", 44),
        )
        for gap in [Interval(num / 1000, num / 1000 - 0.1, num / 1000 + 0.1, 10)]
    ]
    path = material.tables[0][0].evaluations[0].path
    (path / SUBGROUPS).write_bytes(write_subgroups(groups)[SUBGROUPS])
    (hidden,), (shown,) = plan_gaps(replace(material, small="hide")), plan_gaps(material)
    texts = texts_of(hidden.make(["svg"]).svg)
    assert {"Sex", "Age", "male", "female", "80+", "25, 0.700", "about 40, 0.700"} <= set(texts)
    assert "+0.025 [−0.075, +0.125]" in texts
    assert "20-39" not in texts
    assert "Groups of fewer than 10 test subjects are left out" in " ".join(texts)
    everything = texts_of(shown.make(["svg"]).svg)
    assert {"20-39", "7, 0.700", "44, 0.700"} <= set(everything)
    assert "are left out" not in " ".join(everything)


def test_setups_that_are_of_an_ablation_are_called_by_their_arms(material: Material) -> None:
    arms = {f"vanilla-s{seed}": "base" for seed in range(3)}
    table = material.tables[0]
    assert [name_series(group, arms) for group in table[:2]] == [
        "base: vanilla (vit-tiny, 3 epochs, 3 seeds)",
        "right (vit-tiny, 3 epochs, 3 seeds)",
    ]


def test_keys_are_equal_for_equal_figures_and_change_with_what_is_shown(seeds: Workspace, material: Material) -> None:
    first, again = plan_figures(material), plan_figures(make_material(seeds))
    assert [(plan.name, plan.key) for plan in first] == [(plan.name, plan.key) for plan in again]
    assert len({plan.key for plan in first}) == len(first)
    hidden = {plan.name: plan.key for plan in plan_figures(replace(material, small="hide"))}
    roc = find(first, "roc")
    assert hidden[roc.name] != roc.key


def test_without_anything_probed_there_is_no_figure() -> None:
    assert plan_figures(Material([], {}, {}, (), "hide")) == []


def test_imported_evaluations_have_forests_and_no_curves(material: Material) -> None:
    tables = [[_import(group) for group in table] for table in material.tables]
    plans = plan_figures(replace(material, tables=tables))
    assert {plan.name.partition("-")[0] for plan in plans} == {"forest", "training"}


def _import(group: SeedGroup) -> SeedGroup:
    evaluations = tuple(replace(each, imported=Imported("0" * 64)) for each in group.evaluations)
    return replace(group, evaluations=evaluations)


def test_nothing_is_imported_until_a_figure_is_drawn() -> None:
    script = "import sys, cxrssl.report.figures.list; sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_the_sentence_without_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not is_installed()
    assert "cxrssl[report]" in explain_missing()


@pytest.mark.parametrize(
    ("bounds", "said"), [((10,), "under 10 subjects"), ((150, 30), "under 30 subjects or under 150 subjects")]
)
def test_open_marks_are_explained_by_the_bounds_of_the_intervals_shown(bounds: tuple[int, ...], said: str) -> None:
    few = [ForestRow("a", Interval(0.1, 0.0, 0.2, 9, 9, 5, few_below=bound)) for bound in bounds]
    none = ForestRow("b", Interval(0.1, float("nan"), float("nan"), 9, 9, 1))
    full = ForestRow("c", Interval(0.1, 0.0, 0.2, 9, 9, 200, few_below=150))
    assert explain([[*few, full]])[0].endswith(f" Open marks: {said}.")
    assert explain([[*few, none]])[0].endswith(f" Open marks: {said} or no interval.")
    assert explain([[none]])[0].endswith(" Open marks: no interval.")
    assert explain([[full]]) == ()
