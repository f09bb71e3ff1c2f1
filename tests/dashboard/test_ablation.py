"""An ablation on the screen: differences to a pinned arm, by finding, as a forest plot."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.once import read_once
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.screens.ablation import AblationScreen
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.study import PAIRED, SEEDS_ONLY, Study
from cxrssl.dashboard.text.forest import fit_forest
from cxrssl.dashboard.text.study import findings_sheet, forest_sheet, key_sheet
from cxrssl.dashboard.view import View
from cxrssl.records.ablation import ArmRow
from cxrssl.records.run import DESCRIPTION
from tests.dashboard.screen import drive, press, text_of
from tests.records.ablations import make_ablation, make_number
from tests.records.folders import make_evaluation, make_run


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    make_ablation(workspace, "study")
    for arm, mean in (("vanilla", 0.71875), ("right", 0.75)):
        for seed, value in (("7", mean + 1 / 64), ("2", mean - 1 / 64)):
            make_run(workspace, f"{arm}-{seed}", range(5), end="finish", num_steps=5)
            make_evaluation(workspace, f"{arm}-{seed}", "run", value)
    return workspace


def read(workspace: Workspace, pinned: str = "", metric: str = "") -> Study:
    return Reader(workspace).read_study("study", pinned, metric)


def test_arms_are_compared_with_the_baseline_and_the_primary_comparison_is_named(workspace: Workspace) -> None:
    study = read(workspace)
    assert (study.pinned, study.num_finished, study.arms) == ("vanilla", 4, ("vanilla", "right", "wrong"))
    right, wrong = study.rows[1:]
    assert right.difference is not None
    assert (right.difference.value, right.kind, right.num_paired, right.is_primary) == (0.03125, PAIRED, 2, False)
    assert not math.isnan(right.p_holm)
    assert wrong.difference is not None
    assert wrong.difference.value == -0.03125
    assert study.rows[0].difference is None


def test_a_pinned_arm_turns_published_differences_round_and_pairs_seeds_where_there_is_none(
    workspace: Workspace,
) -> None:
    study = read(workspace, "right")
    vanilla, _, wrong = study.rows
    assert vanilla.difference is not None
    assert (vanilla.difference.value, vanilla.kind) == (-0.03125, PAIRED)
    assert (vanilla.difference.lo, vanilla.difference.hi) == (-0.03125 - 0.0625, -0.03125 + 0.0625)
    assert wrong.is_primary
    make_ablation(workspace, "other", differences={})
    vanilla, _, wrong = Reader(workspace).read_study("other", "right").rows
    assert vanilla.difference is not None
    # Both seeds differ by the same, so the interval for other seeds has no width.
    assert (vanilla.difference.value, vanilla.difference.lo, vanilla.kind) == (-0.03125, -0.03125, SEEDS_ONLY)
    texts = forest_sheet(Reader(workspace).read_study("other", "right")).texts()
    assert texts[1][3].endswith("°")


def test_an_arm_by_finding_has_its_seeds_and_their_paired_difference(workspace: Workspace) -> None:
    study = read(workspace)
    mean, difference = study.by_finding("right", "mimic")["Edema"]
    assert (mean[0], mean[3]) == (0.75, 2)
    assert difference == (0.03125, 0.03125, 0.03125, 2)
    assert "Fracture" not in study.by_finding("right", "mimic"), "a finding that is not defined has no number"
    row = findings_sheet(study, "right", "mimic").texts()[1]
    assert row == ["Atelectasis", "0.750", "0.766 0.734", "+0.031 [+0.031, +0.031]"]


def with_recipes(workspace: Workspace, recipes: dict[str, dict[str, object]]) -> Study:
    """Return the study with keys in the recipes of its arms."""
    for arm, section in recipes.items():
        for seed in ("7", "2"):
            path = workspace.runs / f"{arm}-{seed}" / DESCRIPTION
            values = json.loads(path.read_text())
            values["recipe"]["views"] = section
            path.write_text(json.dumps(values))
    return read(workspace)


def test_the_metric_is_shown_by_a_recipe_key_in_which_arms_differ(workspace: Workspace) -> None:
    study = with_recipes(workspace, {"vanilla": {"num_focal": 10}, "right": {"num_focal": 2}})
    assert study.keys == ("views.num_focal",)
    low, high = study.by_key("views.num_focal")
    assert (low.value, low.arms, low.number.value, low.kind) == ("2", ("right",), 0.75, PAIRED)
    assert (high.value, high.number.lo, high.number.hi) == ("10", 0.65625, 0.78125)
    sheet = key_sheet(study, "views.num_focal", width=120)
    assert sheet.texts()[1][:3] == ["2", "mimic", "0.750 [0.688, 0.812]"]
    assert "●" in sheet.texts()[1][-1]
    assert "┊" not in sheet.texts()[1][-1]


def test_arms_that_share_a_value_are_a_mean_by_seed_and_keys_that_differ_too_are_named(workspace: Workspace) -> None:
    rows = {
        "0": ArmRow("vanilla", "mimic", 2, make_number(0.5), make_number(0.25), 10, 10),
        "1": ArmRow("right", "mimic", 2, make_number(0.75), make_number(0.25), 10, 10),
    }
    make_ablation(workspace, "study", rows=rows, differences={})
    study = with_recipes(workspace, {"vanilla": {"px": 2, "a": 1}, "right": {"px": 2, "a": 3}})
    assert study.keys == ("views.a",)
    shared = replace(study, settings={arm: {"views.px": "2", "views.a": arm} for arm in study.arms})
    (point,) = shared.by_key("views.px")
    assert point.seeds == {"7": 0.640625, "2": 0.609375}
    assert (point.arms, point.number.value, point.kind) == (("vanilla", "right"), 0.625, SEEDS_ONLY)
    assert "these arms differ in views.a too" in key_sheet(shared, "views.px").notes


def test_evaluations_of_another_protocol_are_not_mixed_in(workspace: Workspace) -> None:
    make_evaluation(workspace, "right-7", "run", 0.9)
    assert list(read(workspace).findings["right", "mimic"]["Edema"]) == ["2"]


def test_a_forest_has_one_scale_with_zero_in_it() -> None:
    scale = fit_forest([(0.1, 0.0, 0.2), (math.nan, math.nan, math.nan)], 21)
    assert scale.draw((0.1, 0.0, 0.2)) == " ├────────●────────┤ "
    assert scale.draw((math.nan,) * 3).strip() == "┊"
    assert scale.draw((0.1, -9.0, 9.0))[0] == "◄"
    assert scale.draw((0.1, -9.0, 9.0))[-1] == "►"
    assert len(scale.axis()) == 21


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_screen_pins_drills_and_changes_its_shape(workspace: Workspace, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "3")
        opened = pilot.app.screen
        assert isinstance(opened, AblationScreen)
        text = text_of(pilot)
        assert "declared beforehand: right - wrong" in text
        assert "●" in text
        await press(pilot, screen, "j", "enter")
        assert "right on mimic, by finding" in text_of(pilot)
        await press(pilot, screen, "escape", "j", "p")
        assert opened.state is not None
        assert opened.state.pinned == "right"
        await press(pilot, screen, "m", "tab")
        assert "AUPRC" in text_of(pilot)
        await pilot.press("x")
        await pilot.pause(0.05)
        assert "differ in no recipe key" in [each.message for each in pilot.app._notifications][-1]
        assert dict(opened.list_copies())["table as LaTeX"].startswith("% ")

    drive(workspace, steps, size)


def test_once_prints_the_forest_and_json_gives_the_rows(workspace: Workspace) -> None:
    shown = read_once(workspace, "ablation", View())
    text = shown.text(100)
    assert "primary comparison, declared beforehand: right - wrong on mimic" in text
    assert max(map(len, text.splitlines())) <= 160
    rows = shown.values()["rows"]
    assert (rows[1]["arm"], rows[1]["difference"]["value"], rows[1]["kind"]) == ("right", 0.03125, "paired")


def test_a_workspace_without_an_ablation_says_what_makes_one(tmp_path: Path) -> None:
    assert "cxrssl ablate" in read_once(Workspace(tmp_path), "ablation", View()).text(80)
