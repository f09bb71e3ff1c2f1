"""Runs that start from weights that are there: the same function of the film, and a lineage that the audit knows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from cxrssl.audit.pretraining import audit_pretraining
from cxrssl.audit.seen import read_pretraining
from cxrssl.core.errors import CxrsslError, DataError, IntegrityError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.export.lineage import trace_lineage
from cxrssl.model.encoder import open_encoder
from cxrssl.model.external import ExternalChoices, open_external
from cxrssl.recipe.load import load_recipe
from cxrssl.records.encoder import NOWHERE, open_record, read_films
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.report.write import write_report
from cxrssl.train import start
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, plan_run, with_seed
from cxrssl.train.pooled import open_films
from cxrssl.train.record import load_record
from cxrssl.train.start import FileOptions, find_shape, find_start, load_weights
from cxrssl.train.state import init_state
from tests.cli.command import run
from tests.small_runs import CPU, MINUTE, run_until, two_layers, watched, weights_of
from tests.world import make_workspace

__all__ = ["two_layers"]
PIXELS = FileOptions((0.5,), (0.25,))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=60)


@pytest.fixture(scope="module")
def source(workspace: Workspace) -> str:
    """A run with a record, on the split by hash."""
    return pretrain(plan_of(workspace, "msn", ehr=["sex", "mortality"])).run_id


def plan_of(
    workspace: Workspace, objective: str, *overrides: str, init: str = "", ehr: list[str] | None = None
) -> RunPlan:
    changes: dict[str, Any] = {"model": {"backbone": "vit-micro"}, "objective": {"name": objective}}
    changes["ehr"] = {"features": ehr, "may_use_outcomes": True} if ehr else {}
    if init:
        changes["model"]["init"] = init
    known = ["model.patch_px", "views.global_px", "train.batch_size", "train.num_epochs"]
    small = [each for each in MINUTE if objective == "msn" or each.partition("=")[0] in known]
    recipe = load_recipe("strict", [*small, "train.split=hash", *overrides], changes)
    return plan_run(workspace, "nih", recipe, CPU)


def first_state(plan: RunPlan) -> Any:
    """Return the model of a run before its first step."""
    state = init_state(plan.recipe, load_record(plan).columns, torch.device("cpu"))
    assert plan.start is not None
    load_weights(plan.start, plan.recipe, state.model)
    return state.model


def encode(workspace: Workspace, module: Any, recipe: Any) -> torch.Tensor:
    """Return the features of four films."""
    from cxrssl.model.encoder import Encoder

    _, images = open_films(workspace, "nih")
    films = torch.from_numpy(images.read_rows(np.arange(4)))
    boxes = torch.from_numpy(images.box_N4[:4].astype(np.float32))
    return Encoder(module.eval(), recipe, "", NOWHERE).encode_films(films, boxes)


@pytest.mark.parametrize("which", ["target", "anchor"])
@pytest.mark.parametrize("objective", ["msn", "dino", "mae", "simclr", "finetune"])
def test_before_the_first_step_features_are_those_of_the_run_it_starts_from_to_the_last_bit(
    workspace: Workspace, source: str, objective: str, which: Any
) -> None:
    plan = plan_of(workspace, objective, init=source if which == "target" else f"{source}:anchor")
    model = first_state(plan)
    known = open_encoder(workspace.runs / source / "encoder", which)
    wanted = encode(workspace, known.module, known.recipe)
    for module in (model.published, model.anchor or model.published):
        assert torch.equal(encode(workspace, module, plan.recipe), wanted)
    assert plan.recipe.model.init == f"{source}{'' if which == 'target' else ':anchor'}@{known.weights_sha256[:16]}"


def test_a_recipe_without_a_backbone_takes_that_of_the_run_it_starts_from(workspace: Workspace, source: str) -> None:
    model: Any = open_record(workspace.runs / source / "encoder").recipe["model"]
    shape = {"backbone": "vit-micro", "patch_px": model["patch_px"]}
    assert [find_shape(workspace, f"{source}{end}") for end in ("", ":anchor", "@00")] == [shape] * 3
    assert find_shape(workspace, "./files") == {}
    words = ["pretrain", "--init", source, "--set", "train.split=hash", "--set", "train.batch_size=4", "--gpus", "3"]
    assert "a batch of 4 films cannot be shared evenly" in run(*words, workspace=workspace.root).stderr
    refused = run(*words, "--backbone", "vit-tiny", workspace=workspace.root)
    assert 'has model.backbone "vit-micro", and the recipe "vit-tiny"' in refused.stderr


def test_other_pixels_and_another_grid_leave_the_function_of_the_film_as_it_was(
    workspace: Workspace, source: str
) -> None:
    plan = plan_of(workspace, "simclr", "views.pixel_mean=0.3", "views.pixel_std=0.5", init=source)
    known = open_encoder(workspace.runs / source / "encoder")
    wanted = encode(workspace, known.module, known.recipe)
    torch.testing.assert_close(
        encode(workspace, first_state(plan).published, plan.recipe), wanted, rtol=1e-5, atol=1e-5
    )
    larger = plan_of(workspace, "simclr", "views.global_px=32", init=source)
    assert any("views of 16 px, resampled to 32 px" in sentence for sentence in larger.warnings)
    views = dataclasses.replace(known.recipe.views, global_px=32)
    wanted = encode(workspace, known.module, dataclasses.replace(known.recipe, views=views))
    assert torch.equal(encode(workspace, first_state(larger).published, larger.recipe), wanted)


def test_the_same_weights_make_the_same_run_and_other_weights_another_one(workspace: Workspace, source: str) -> None:
    plan = plan_of(workspace, "simclr", init=source)
    assert plan_of(workspace, "simclr", init=source[:-3]).run_id == plan.run_id
    assert plan_of(workspace, "simclr", init=plan.recipe.model.init).run_id == plan.run_id
    assert len({plan.run_id, plan_of(workspace, "simclr").run_id}) == 2
    assert plan_of(workspace, "simclr", init=f"{source}:anchor").run_id != plan.run_id
    assert "init" not in plan_of(workspace, "simclr").recipe.to_dict()["model"]
    assert with_seed(plan, 1).start == plan.start


def test_a_run_resumes_from_its_checkpoint_and_not_from_its_start(
    workspace: Workspace, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(workspace, "simclr", "train.seed=5", init=source)
    with watched(monkeypatch) as watch:
        pretrain(plan)
    assert watch.num_steps == plan.num_steps
    undisturbed = weights_of(plan)
    again = plan_run(workspace, "nih", plan.recipe, CPU, "again")
    run_until(again, 3, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(start, "load_weights", lambda *args: pytest.fail("the start was loaded again"))
        pretrain(plan_run(workspace, "nih", plan.recipe, CPU, "again"))
    assert weights_of(again) == undisturbed


def test_a_run_says_what_it_descends_from_and_from_which_films(workspace: Workspace, source: str) -> None:
    first = pretrain(plan_of(workspace, "simclr", init=source)).run_id
    second = pretrain(plan_of(workspace, "finetune", init=first)).run_id
    record = open_record(workspace.runs / second / "encoder")
    assert [each.name for each in record.ancestors] == [first, source]
    assert [each.learnt_labels for each in record.ancestors] == [False, False]
    assert record.learnt_labels
    assert record.ancestors[1].ehr.features == ("sex", "mortality")
    assert record.taught == ("sex", "mortality")
    own = open_record(workspace.runs / source / "encoder")
    assert (record.ancestors[1].origin, record.ancestors[1].weights_sha256) == (own.origin, own.weights_sha256)
    films = read_films(record.folder / record.ancestors[1].films)
    assert films.image_id.tolist() == own.films().image_id.tolist()
    assert not own.ancestors
    assert "ancestors" not in json.loads((own.folder / "manifest.json").read_text())["settings"]
    evaluation = probe_run(workspace, second, "", "", ProbeSettings(num_resamples=20))[0]
    assert evaluation.settings.label == f"finetune, from {first}"
    assert evaluation.settings.is_outcome_used
    assert evaluation.settings.candidate.taught_before == ("sex", "mortality")
    assert "An outcome (in-hospital mortality) was a pretraining input" in write_report(workspace).markdown
    assert trace_lineage(workspace, record, "target").taught_outcome


def test_a_run_is_refused_where_what_it_started_from_has_seen_the_test_films(workspace: Workspace, source: str) -> None:
    everything = pretrain(plan_of(workspace, "simclr", "train.rows=all")).run_id
    plan = plan_of(workspace, "finetune", init=everything)
    assert any(f"{everything}, which it starts from: " in sentence for sentence in plan.warnings)
    run = pretrain(plan).run_id
    with pytest.raises(LeakageError, match=f"before, in {everything}: .* took part in pretraining"):
        probe_run(workspace, run, "", "", ProbeSettings(num_resamples=20))
    choices = ProbeChoices(may_overlap=True, baselines=False)
    (said,) = probe_run(workspace, run, "", "", ProbeSettings(num_resamples=20), choices)
    assert f"before, in {everything}" in said.settings.leak
    cohort, images = open_films(workspace, "nih")
    results = audit_pretraining(read_pretraining(workspace, run), cohort, images, "hash")
    assert all(result.finding.startswith(f"before, in {everything}") for result in results if result.finding)
    assert not [each for each in plan_of(workspace, "finetune", init=source).warnings if "refuse" in each]


def test_a_target_that_the_start_was_given_is_named(workspace: Workspace, source: str) -> None:
    run = pretrain(plan_of(workspace, "simclr", init=source)).run_id
    cohort, images = open_films(workspace, "nih")
    results = audit_pretraining(read_pretraining(workspace, run), cohort, images, "hash", ("sex",))
    assert [each.finding for each in results if each.code == "target-was-input" and each.finding] == [
        f"before, in {source}: sex was a pretraining input"
    ]


# ---- files of others


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT-tiny of timm for colour, with random weights, in a file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("files") / "tiny@home.safetensors"
    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), path)
    return path


def recipe_of(path: Path, *overrides: str, backbone: str = "timm:vit_tiny_patch16_224", px: int = 224) -> Any:
    changes = {"model": {"backbone": backbone, "init": str(path)}, "objective": {"name": "simclr"}}
    return load_recipe("strict", [f"views.global_px={px}", "train.batch_size=8", *overrides], changes)


def test_a_file_of_timm_gives_the_features_that_it_gives_as_an_external_encoder(
    workspace: Workspace, tiny: Path
) -> None:
    known, _ = open_external(ExternalChoices(tiny, "vit_tiny_patch16_224", pixel_mean=(0.5,), pixel_std=(0.25,)))
    recipe = recipe_of(tiny)
    plan = plan_run(workspace, "nih", recipe, CPU, start=find_start(workspace, recipe, PIXELS))
    assert plan.recipe.model.init == f"tiny-home@{known.weights_sha256[:16]}"
    assert str(tiny.parent) not in json.dumps(plan.recipe.to_dict())
    found = encode(workspace, first_state(plan).published, plan.recipe)
    torch.testing.assert_close(found, encode(workspace, known.module, known.recipe), rtol=1e-4, atol=1e-5)
    assert "the films that shaped tiny-home are unknown: every evaluation says so" in plan.warnings
    assert "the run starts from all 150 tensors of tiny-home" in plan.warnings


def test_an_unknown_start_is_said_in_every_evaluation_report_and_licence(workspace: Workspace, tiny: Path) -> None:
    recipe = recipe_of(tiny, "train.num_epochs=1", "train.batch_size=32", "views.flip_prob=0", px=32)
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, split="hash"))
    plan = plan_run(workspace, "nih", recipe, CPU, start=find_start(workspace, recipe, PIXELS))
    run = pretrain(plan).run_id
    record = open_record(workspace.runs / run / "encoder")
    (ancestor,) = record.ancestors
    assert (ancestor.films, ancestor.external is not None) == ("", True)
    (evaluation,) = probe_run(workspace, run, "", "", ProbeSettings(num_resamples=20), ProbeChoices(baselines=False))
    assert evaluation.settings.label == "SIMCLR, from tiny-home; tiny-home saw the test films: unknown"
    assert evaluation.settings.candidate.unlisted == ("tiny-home",)
    markdown = write_report(workspace).markdown
    assert "started from tiny-home; whether that saw the test films is unknown" in markdown.splitlines()[0]
    lineage = trace_lineage(workspace, record, "target")
    assert {each.dataset: each.verdict for each in lineage.terms}["unknown films of tiny-home"] == "unknown"
    cohort, images = open_films(workspace, "nih")
    results = audit_pretraining(read_pretraining(workspace, run), cohort, images, "hash")
    assert [each.code for each in results if each.finding] == ["start-films-unknown"]
    assert read_pretraining(workspace, run).before == ()


def test_files_that_changed_since_the_plan_are_not_loaded(workspace: Workspace, tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(tiny.read_bytes())
    recipe = recipe_of(path)
    plan = plan_run(workspace, "nih", recipe, CPU, start=find_start(workspace, recipe, PIXELS))
    tensors = load_file(path)
    tensors["cls_token"] += 1
    save_file(tensors, path)
    with pytest.raises(IntegrityError, match="were changed since the run was planned"):
        first_state(plan)


# ---- what is refused


@pytest.mark.parametrize(
    ("init", "overrides", "what"),
    [
        ("nowhere", (), 'model.init: no run "nowhere" in this workspace'),
        ("SOURCE", ("model.patch_px=4",), 'has model.patch_px "8", and the recipe "4"'),
        ("SOURCE", ("model.backbone=vit-tiny",), 'has model.backbone "vit-micro", and the recipe "vit-tiny"'),
        ("SOURCE@0123456789abcdef", (), "are not those that the recipe names"),
    ],
)  # fmt: skip
def test_a_start_that_does_not_fit_gets_one_sentence(
    workspace: Workspace, source: str, init: str, overrides: tuple[str, ...], what: str
) -> None:
    with pytest.raises(CxrsslError) as caught:
        plan_of(workspace, "simclr", *overrides, init=init.replace("SOURCE", source))
    assert what in caught.value.what


def test_a_run_that_is_not_finished_or_has_no_anchor_cannot_be_a_start(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(workspace, "simclr", "train.seed=9")
    run_until(plan, 2, monkeypatch)
    with pytest.raises(DataError, match="is not finished"):
        plan_of(workspace, "simclr", init=plan.run_id)
    pretrain(plan)
    with pytest.raises(DataError, match="has no anchor encoder"):
        plan_of(workspace, "simclr", init=f"{plan.run_id}:anchor")


@pytest.mark.parametrize(
    ("backbone", "overrides", "what"),
    [
        ("vit-tiny-6h", (), "heads"),
        ("timm:vit_small_patch16_224", (), "another shape"),
        ("timm:vit_tiny_patch16_224", ("model.patch_px=8",), "patches of 16 px"),
    ],
)  # fmt: skip
def test_files_of_another_architecture_are_refused(
    workspace: Workspace, tiny: Path, backbone: str, overrides: tuple[str, ...], what: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(tiny.read_bytes())
    path = folder if "heads" in what else folder / "model.safetensors"
    (folder / "config.json").write_text(json.dumps({"architecture": "vit_tiny_patch16_224"}))
    with pytest.raises(CxrsslError) as caught:
        find_start(workspace, recipe_of(path, *overrides, backbone=backbone), PIXELS)
    assert what in caught.value.what


def test_pixels_of_a_run_are_not_for_the_user_to_say(workspace: Workspace, source: str) -> None:
    recipe = plan_of(workspace, "simclr", init=source).recipe
    with pytest.raises(UsageError, match="is a run: its recipe says its pixels"):
        find_start(workspace, recipe, PIXELS)
