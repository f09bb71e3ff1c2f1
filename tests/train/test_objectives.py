"""DINO, SimCLR, MAE, supervised, and MSN with a record that is predicted: through the loop, stopped and resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.model.encoder import open_encoder, pack_weights
from cxrssl.recipe.load import load_recipe
from cxrssl.records.steps import iter_metrics
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, plan_run
from tests.small_runs import CPU, read_run, run_until, two_layers, watched, weights_of
from tests.world import make_workspace

__all__ = ["two_layers"]
SMALL = ["model.patch_px=8", "model.head_hidden_mult=1", "views.global_px=16"]
SMALL += ["train.batch_size=8", "train.num_epochs=2"]
FOCAL = ["views.focal_px=16", "views.num_focal=1"]
ARMS = {
    "dino": [
        *FOCAL, "objective.num_outputs=16", "objective.bottleneck_dim=8", 'ehr.features=["sex"]', "ehr.branch=both",
    ],
    "simclr": ["objective.projection_dim=8", 'ehr.features=["sex"]', "ehr.fusion=film", "ehr.control=shuffled"],
    "mae": [
        "objective.decoder_width=32", "objective.decoder_depth=1", 'ehr.predict=["sex","view"]',
        "ehr.predict_gate=skill", "train.seed=1",
    ],
    "supervised": ['ehr.predict=["sex"]'],
    "msn": [
        *FOCAL, "objective.num_prototypes=8", 'ehr.features=["sex","age"]', 'ehr.predict=["view"]', "ehr.dropout=0.3",
        "ehr.predict_start=0.4", "ehr.fusion=mlp",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=24)


def plan_of(workspace: Workspace, name: str, label: str) -> RunPlan:
    changes = {"model": {"backbone": "vit-micro"}, "objective": {"name": name}}
    small = [each for each in SMALL if name != "supervised" or "head_hidden" not in each]
    return plan_run(workspace, "nih", load_recipe("strict", [*small, *ARMS[name]], changes), CPU, label)


@pytest.mark.parametrize("name", ARMS)
def test_a_run_that_was_stopped_ends_with_the_weights_of_an_undisturbed_one(
    workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, stopped = (plan_of(workspace, name, label) for label in ("alone", "stopped"))
    pretrain(alone)
    run_until(stopped, 3, monkeypatch)
    assert pretrain(stopped).resumed_from == 3
    assert weights_of(alone) == weights_of(stopped)
    assert read_run(alone.folder).state == "finished"
    steps = list(iter_metrics(alone.folder))
    assert len(steps) == alone.num_steps
    assert ("record_loss" in steps[0]) == bool(alone.recipe.ehr.predict)


def test_the_moving_average_of_a_short_run_is_warned_of_only_where_there_is_one(workspace: Workspace) -> None:
    slow = ["train.ema_horizon=0", "train.ema_start=0.999"]
    changes = {"model": {"backbone": "vit-micro"}}
    plan = plan_run(workspace, "nih", load_recipe("strict", [*SMALL, *FOCAL, *slow], changes), CPU)
    assert any("the target covers 0% of its way" in sentence for sentence in plan.warnings), plan.warnings
    assert not [sentence for sentence in plan_of(workspace, "simclr", "x").warnings if "target" in sentence]


def test_a_folder_says_what_was_given_and_predicted(workspace: Workspace, tmp_path: Path) -> None:
    plan = plan_of(workspace, "msn", "")
    assert plan.run_id.startswith("nih-msn+demo+predict-view-vit-micro-s0-")
    assert plan.recipe.to_dict()["ehr"]["predict"] == ("view",)


@pytest.mark.parametrize("name", ARMS)
def test_the_anchor_is_published_beside_its_target_and_only_where_there_is_one(
    workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(workspace, name, "anchor")
    with watched(monkeypatch) as watch:
        pretrain(plan)
    folder, trained = plan.folder / "encoder", watch.state.model.anchor
    assert (trained is not None) == plan.recipe.objective.has_target == (name in ("msn", "dino"))
    if trained is None:
        assert not (folder / "anchor.safetensors").exists()
        with pytest.raises(DataError, match=f"has no anchor encoder: {name.upper()} trains one encoder"):
            open_encoder(folder, "anchor")
        return
    opened = open_encoder(folder, "anchor")
    assert pack_weights(opened.module) == pack_weights(trained) == (folder / "anchor.safetensors").read_bytes()
    assert opened.weights_sha256 != open_encoder(folder).weights_sha256
