"""What a run may be shown: outcomes only by the user's word, unknown values as the recipe says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.cli.pretrain import recipe_changes
from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import FEATURE_NAMES, FEATURES, PAPER_FEATURES, is_outcome_used
from cxrssl.cohort.ingest import IngestOptions
from cxrssl.core.errors import ConfigError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.ingest import ingest_dataset
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.train.plan import RunPlan, plan_run
from tests.world import TINY, make_workspace, write_nih

MACHINE = Machine("cpu", 1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=20)


def plan(workspace: Workspace, name: str = "demo", /, **changes: Any) -> RunPlan:
    return plan_run(workspace, "nih", load_recipe(name, TINY, changes), MACHINE)


def plan_with(workspace: Workspace, ehr: str, missing: str) -> RunPlan:
    changes = recipe_changes(ehr=ehr)
    return plan(workspace, **changes | {"ehr": {**changes.get("ehr", {}), "missing": missing}})


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_an_outcome_is_pretrained_on_only_if_somebody_says_so(workspace: Workspace, feature: Feature) -> None:
    unsaid = {"features": [feature.name]}
    if feature.role == "outcome":
        with pytest.raises(LeakageError, match=r"outcome-undeclared: .* undeclared") as error:
            plan(workspace, ehr=unsaid)
        assert "may_use_outcomes = true" in error.value.hint
    else:
        assert not plan(workspace, ehr=unsaid).recipe.ehr.may_use_outcomes
    said = plan(workspace, ehr={**unsaid, "may_use_outcomes": True})
    named = plan(workspace, **recipe_changes(ehr=feature.name))
    assert said.run_id == named.run_id
    assert is_outcome_used(said.recipe.ehr.features) == said.recipe.ehr.may_use_outcomes == (feature.role == "outcome")


@pytest.mark.parametrize("features", ["stay", "mortality", "discharge", "demo,meta,stay"])
def test_a_recipe_file_that_holds_an_outcome_must_say_so(workspace: Workspace, tmp_path: Path, features: str) -> None:
    path = tmp_path / "mine.toml"
    words = ", ".join(f'"{word}"' for word in features.split(","))
    path.write_text(f"[ehr]\nfeatures = [{words}]\n")
    with pytest.raises(LeakageError, match="outcome-undeclared"):
        plan(workspace, str(path))
    path.write_text(f"[ehr]\nfeatures = [{words}]\nmay_use_outcomes = true\n")
    assert plan(workspace, str(path)).recipe.ehr.may_use_outcomes


def test_the_word_without_an_outcome_makes_no_other_run(workspace: Workspace) -> None:
    ehr = {"features": ["sex"]}
    assert plan(workspace, ehr=ehr).run_id == plan(workspace, ehr={**ehr, "may_use_outcomes": True}).run_id
    assert plan(workspace, **recipe_changes(ehr="demo")).recipe.ehr.may_use_outcomes is False


def test_a_feature_that_no_training_film_has_is_named(workspace: Workspace) -> None:
    sentence = "no training film has a known position: the run learns nothing of it"
    assert sentence in plan(workspace, ehr={"features": ["sex", "position"]}).warnings
    assert not any("known" in said for said in plan(workspace, ehr={"features": ["sex", "view"]}).warnings)


def test_width_of_the_record_follows_features_and_policy(workspace: Workspace) -> None:
    for policy, width in {"mask": 20, "zero": 18, "paper": 18}.items():
        assert len(plan_with(workspace, "demo,age5", policy).ehr_columns) == width


def test_the_paper_policy_leaves_out_films_without_sex_and_says_that_it_imputes(tmp_path: Path) -> None:
    root = write_nih(tmp_path / "nih", num_patients=20)
    table = root / "Data_Entry_2017.csv"
    lines = table.read_text().splitlines()
    for number in range(1, 11):
        cells = lines[number].split(",")
        cells[5] = ""
        lines[number] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    workspace = Workspace(tmp_path / "workspace").create()
    ingest_dataset(workspace, IngestOptions("nih", root, size_px=48, num_workers=1))
    mask, paper = (plan_with(workspace, "demo,meta", policy) for policy in ("mask", "paper"))
    has_sex = paper.cohort.ehr_known[:, FEATURE_NAMES.index("sex")]
    assert np.array_equal(paper.rows, mask.rows[has_sex[mask.rows]])
    assert paper.num_without_sex == len(mask.rows) - len(paper.rows) > 0
    said = " ".join(paper.warnings)
    assert f"{paper.num_without_sex} films of unknown sex left out, as published" in said
    assert "imputed from the films of all splits" in said
    assert "imputed" not in " ".join(mask.warnings)
    assert np.array_equal(plan(workspace).rows, mask.rows)  # vanilla takes all films


def test_policies_that_cannot_be_are_refused(workspace: Workspace) -> None:
    with pytest.raises(ConfigError, match=r"ehr\.missing"):
        plan_with(workspace, "demo", "guess")
    with pytest.raises(ConfigError, match=r'"ehr\.features" is empty'):
        plan_with(workspace, "", "paper")
    with pytest.raises(UsageError, match="what an unknown race becomes"):
        plan_with(workspace, "race", "paper")
    for name in PAPER_FEATURES:
        assert plan_with(workspace, name, "paper").ehr_columns
